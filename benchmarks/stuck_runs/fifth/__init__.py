"""The split `fifth`: most of its stuck runs learn something first; by an author who had not read the detectors."""

from __future__ import annotations

from benchmarks.stuck_runs.fifth.from_the_start import FROM_THE_START
from benchmarks.stuck_runs.fifth.healthy import HEALTHY
from benchmarks.stuck_runs.fifth.longer import LONGER
from benchmarks.stuck_runs.fifth.settled import SETTLED
from benchmarks.stuck_runs.fifth.spoiled import SPOILED
from benchmarks.stuck_runs.fifth.stalled import STALLED

FIFTH = (*HEALTHY, *SETTLED, *FROM_THE_START, *STALLED, *SPOILED, *LONGER)
