"""Hide a signal from the monitor, to measure how much worse it is without this signal on the same runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lightning_landscape.diagnosis import restart_order
from lightning_landscape.evidence import Evidence
from lightning_landscape.examination.run_state import RunState

HIDDEN_READINGS: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "shuffled inputs": ("InputUse",),
    "trials": ("Trials",),
    "restarts from new and from initial weights": ("Restart",),
    "curvature": ("Curvature",),
    "trials, restart and curvature": ("Trials", "Restart", "Curvature"),
    "loss of the initial weights": ("StartingPoint",),
    "dead, saturated and duplicate units": ("Activity", "Symmetry"),
    "gradient by layer": ("GradientScale",),
    "size of the updates": ("UpdateStatistics",),
    "learning-rate schedule": ("Schedule",),
    "earlier weights": ("BeforeAndAfter", "WeightHistory", "LostGradients"),
    "parts of the model": ("Parts",),
    "outputs and the best constant": ("Outputs",),
}
"""signals, with the names of the reading classes that are left out of the evidence"""


def _order_without(*kinds: str) -> Callable[[Evidence], tuple[str, ...]]:
    """Return `restart_order` without these kinds of restarts."""
    return lambda evidence: tuple(kind for kind in restart_order(evidence) if kind not in kinds)


REPLACED_PARTS: Mapping[str, tuple[str, str, Any]] = {
    "initial weights at a smaller rate": (
        *("examination.examination", "restart_order"),
        _order_without("tenth", "hundredth"),
    ),
    "present weights at the usual rate": ("examination.examination", "restart_order", _order_without("usual_rate")),
    "comparisons on the same batches": ("examination.stall_test", "COPIES", 10**9),
    "lowest possible loss": ("module_surface.during_fit", "lowest_loss", lambda measured, point: 0.0),
    "standard error of the trend": ("functional.trend", "STANDARD_ERRORS", 0.0),
    "first-order bound on the decrease": ("functional.trend", "FEWEST_PREDICTIONS", 10**9),
    "test for a jump of the loss": ("functional.plateau", "has_shifted_up", lambda blocks, floor: False),
}
"""parts of the restarts and of the stall test: the module, the name of what is in it, and the replacement"""
ABLATIONS = (*HIDDEN_READINGS, *REPLACED_PARTS)


@contextmanager
def hide(signal: str) -> Iterator[None]:
    """Hide a signal, one of `ABLATIONS`, from every monitor of this process."""
    owner: Any
    if signal in REPLACED_PARTS:
        module, name, replacement = REPLACED_PARTS[signal]
        owner = importlib.import_module(f"lightning_landscape.{module}")
    else:
        classes, complete_evidence = HIDDEN_READINGS[signal], RunState.evidence

        def evidence(self: RunState, readings: Sequence[object] = ()) -> Evidence:
            return Evidence(*(r for r in complete_evidence(self, readings) if type(r).__name__ not in classes))

        owner, name, replacement = RunState, "evidence", evidence
    original = getattr(owner, name)
    setattr(owner, name, replacement)
    try:
        yield
    finally:
        setattr(owner, name, original)
