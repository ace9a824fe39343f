"""The split `midway`: half of its stuck runs learn something first; by an author who had not read the detectors."""

from __future__ import annotations

from benchmarks.stuck_runs.midway.from_the_start import FROM_THE_START
from benchmarks.stuck_runs.midway.healthy import HEALTHY
from benchmarks.stuck_runs.midway.longer import LONGER
from benchmarks.stuck_runs.midway.stalled import STALLED

MIDWAY = (*HEALTHY, *FROM_THE_START, *STALLED, *LONGER)
