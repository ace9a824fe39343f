"""The split that nobody looked at before its one scoring: everyday runs, and everyday mistakes."""

from __future__ import annotations

from benchmarks.stuck_runs.fresh.healthy import HEALTHY
from benchmarks.stuck_runs.fresh.stuck import STUCK

FRESH = (*HEALTHY, *STUCK)
