"""The split `open`, on which the verdicts are developed."""

from __future__ import annotations

from benchmarks.stuck_runs.open_split.healthy import HEALTHY
from benchmarks.stuck_runs.open_split.stuck import STUCK

OPEN = (*HEALTHY, *STUCK)
