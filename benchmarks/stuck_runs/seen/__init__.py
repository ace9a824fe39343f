"""The split `seen`, also for development: it was held out for the first scoring, and has been inspected since."""

from __future__ import annotations

from benchmarks.stuck_runs.seen.broken import BROKEN
from benchmarks.stuck_runs.seen.flats import FLAT
from benchmarks.stuck_runs.seen.healthy import HEALTHY
from benchmarks.stuck_runs.seen.poor_minima import POOR_MINIMA
from benchmarks.stuck_runs.seen.rates import TOO_LARGE, TOO_SMALL
from benchmarks.stuck_runs.seen.saddles import SADDLES

SEEN = (*HEALTHY, *SADDLES, *FLAT, *TOO_SMALL, *TOO_LARGE, *BROKEN, *POOR_MINIMA)
