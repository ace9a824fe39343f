"""Hiding a signal from the monitor, to see on the same runs what it is worth."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

HIDDEN: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "shuffled inputs": ("InputUse",),
    "trials on a copy": ("Trials",),
    "restart from a re-draw": ("Restart",),
    "curvature": ("Curvature",),
    "trials, restart and curvature": ("Trials", "Restart", "Curvature"),
    "loss of the initial weights": ("StartingPoint",),
    "dead, saturated and twin units": ("Activity", "Symmetry"),
    "gradient by layer": ("GradientScale",),
    "movement of the weights": ("UpdateStatistics",),
    "learning-rate schedule": ("Schedule",),
}
"""what is hidden, and the kinds of readings that go with it"""
UNTESTED: Mapping[str, tuple[str, str, Any]] = {
    "error bar of the trend": ("functional.trend", "STANDARD_ERRORS", 0.0),
    "first-order bound on the decrease": ("functional.trend", "FEWEST_PREDICTIONS", 10**9),
    "hold while the loss is solved or shifts": ("functional.plateau", "has_shifted_up", lambda blocks: False),
}
"""parts of the test for a stall: module, name, and what takes its place"""
ABLATIONS = (*HIDDEN, *UNTESTED)


@contextmanager
def hidden(what: str) -> Iterator[None]:
    """Hide a signal from every monitor of this process."""
    from lightning_landscape.evidence import Evidence
    from lightning_landscape.examination.run_state import RunState

    if what in UNTESTED:
        room, name, replacement = UNTESTED[what]
        holder: Any = importlib.import_module(f"lightning_landscape.{room}")
    else:
        kinds, told = HIDDEN[what], RunState.evidence

        def evidence(self: RunState, readings: Sequence[object] = ()) -> Evidence:
            return Evidence(*(r for r in told(self, readings) if type(r).__name__ not in kinds))

        holder, name, replacement = RunState, "evidence", evidence
    before = getattr(holder, name)
    setattr(holder, name, replacement)
    try:
        yield
    finally:
        setattr(holder, name, before)
