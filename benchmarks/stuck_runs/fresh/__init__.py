"""The split `fresh`: everyday runs and everyday mistakes, by an author who had not read the detectors; scored once."""

from __future__ import annotations

from benchmarks.stuck_runs.fresh.healthy import HEALTHY
from benchmarks.stuck_runs.fresh.stuck import STUCK

FRESH = (*HEALTHY, *STUCK)
