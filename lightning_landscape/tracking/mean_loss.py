"""The mean of the training losses since it was last reset."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any


class MeanLoss:
    """The mean of the finite losses since the last reset.

    >>> losses = MeanLoss()
    >>> losses.add(1.0), losses.add(3.0), losses.add(float("nan"))
    (None, None, None)
    >>> losses.mean
    2.0
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new mean."""
        self._sum, self._count = 0.0, 0

    def add(self, loss: float | None) -> None:
        """Add one loss; one that is unknown or not finite is ignored."""
        if loss is not None and isfinite(loss):
            self._sum += loss
            self._count += 1

    @property
    def mean(self) -> float | None:
        """The mean, in units of the loss; None without a loss."""
        return self._sum / self._count if self._count else None

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins."""
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._sum, self._count = float(state["sum"]), int(state["count"])
