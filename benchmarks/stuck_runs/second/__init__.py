"""The split `second`, by another author: it was held out for one scoring, and is for development since."""

from __future__ import annotations

from benchmarks.stuck_runs.second.broken import BROKEN
from benchmarks.stuck_runs.second.falling import FALLING
from benchmarks.stuck_runs.second.flats import FLAT
from benchmarks.stuck_runs.second.floors import AT_A_FLOOR
from benchmarks.stuck_runs.second.rates import TOO_LARGE, TOO_SMALL
from benchmarks.stuck_runs.second.saddles import SADDLES
from benchmarks.stuck_runs.second.scheduled import SCHEDULED

SECOND = (*FALLING, *SCHEDULED, *AT_A_FLOOR, *SADDLES, *FLAT, *TOO_SMALL, *TOO_LARGE, *BROKEN)
