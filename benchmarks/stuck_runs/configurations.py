"""All configurations by split and name."""

from __future__ import annotations

from benchmarks.stuck_runs import held_out_healthy, held_out_stuck, open_healthy, open_stuck
from benchmarks.stuck_runs.problem import Configuration

SPLITS: dict[str, tuple[Configuration, ...]] = {
    "open": (*open_healthy.HEALTHY, *open_stuck.STUCK),
    "held_out": (*held_out_healthy.HEALTHY, *held_out_stuck.STUCK),
}
"""`open` is for developing the verdicts; nothing may be tuned on `held_out`"""
CONFIGURATIONS = {configuration.name: configuration for split in SPLITS.values() for configuration in split}
