"""The split that judges: nothing may be tuned on these configurations."""

from __future__ import annotations

from benchmarks.stuck_runs.problem import Configuration

HELD_OUT: tuple[Configuration, ...] = ()
