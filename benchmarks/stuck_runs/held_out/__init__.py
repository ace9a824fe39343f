"""The split that judges: nothing may be tuned on these configurations."""

from __future__ import annotations

from benchmarks.stuck_runs.held_out.broken import BROKEN
from benchmarks.stuck_runs.held_out.flats import FLAT
from benchmarks.stuck_runs.held_out.healthy import HEALTHY
from benchmarks.stuck_runs.held_out.poor_minima import POOR_MINIMA
from benchmarks.stuck_runs.held_out.rates import TOO_LARGE, TOO_SMALL
from benchmarks.stuck_runs.held_out.saddles import SADDLES

HELD_OUT = (*HEALTHY, *SADDLES, *FLAT, *TOO_SMALL, *TOO_LARGE, *BROKEN, *POOR_MINIMA)
