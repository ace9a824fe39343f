"""All configurations by split and name."""

from __future__ import annotations

from benchmarks.stuck_runs.open_healthy import HEALTHY
from benchmarks.stuck_runs.open_stuck import STUCK
from benchmarks.stuck_runs.problem import Configuration

SPLITS: dict[str, tuple[Configuration, ...]] = {
    "open": (*HEALTHY, *STUCK),
}
"""``open`` is for developing the verdicts; nobody may tune on ``held_out``"""
CONFIGURATIONS = {configuration.name: configuration for split in SPLITS.values() for configuration in split}
