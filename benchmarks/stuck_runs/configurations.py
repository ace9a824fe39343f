"""All configurations by split and name."""

from __future__ import annotations

from benchmarks.stuck_runs.fifth import FIFTH
from benchmarks.stuck_runs.fresh import FRESH
from benchmarks.stuck_runs.held_out import HELD_OUT
from benchmarks.stuck_runs.midway import MIDWAY
from benchmarks.stuck_runs.open_split import OPEN
from benchmarks.stuck_runs.problem import Configuration
from benchmarks.stuck_runs.second import SECOND
from benchmarks.stuck_runs.seen import SEEN

SPLITS: dict[str, tuple[Configuration, ...]] = {
    "open": OPEN,
    "seen": SEEN,
    "second": SECOND,
    "held_out": HELD_OUT,
    "fresh": FRESH,
    "midway": MIDWAY,
    "fifth": FIFTH,
}
"""`open`, `seen`, `second`, `held_out` and `midway` are for developing the verdicts.

Nothing may be tuned on `fresh` and `fifth`.
"""
CONFIGURATIONS = {configuration.name: configuration for split in SPLITS.values() for configuration in split}
