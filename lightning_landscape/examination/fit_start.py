"""The loss at which the training of a module began, which may have been in an earlier fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from lightning_landscape.evidence import LossLevel

CLEARLY_LOWER = 0.1
"""share of the height of a start by which a later fit must begin below it to count as its continuation"""


@dataclass
class FitStart:
    """Where the loss of a fit began, and that of the earlier fits which it may continue."""

    first: float | None = None
    """the loss before the first step of this fit; None before it"""
    earlier: float | None = None
    """the largest such loss of earlier fits of this module in this process; None if there were none"""
    known: bool = True
    """False if steps were taken before this fit and no monitor of this process has watched them"""

    @classmethod
    def of(cls, module: nn.Module, step: int) -> FitStart:
        """Return the start of a fit of this module that begins at this step, and remember it for the next fit."""
        before = _latest.get(module, cls())
        losses = [loss for loss in (before.first, before.earlier) if loss is not None]
        _latest[module] = start = cls(earlier=max(losses, default=None), known=bool(losses) or step == 0)
        return start

    def enter(self, loss: float | None) -> None:
        """Add the loss of a step; only the first one counts."""
        self.first = loss if self.first is None else self.first

    def loss(self, level: LossLevel | None) -> float | None:
        """Return the loss at which training began; None if it is unknown.

        The first steps of this fit may have raised the loss, so its start is the lower one of two losses.
        """
        if level is None or self.first is None or not self.known:
            return None
        begun = min(self.first, level.start)
        return begun if self.earlier is None else max(begun, self.earlier)

    def added_to(self, level: LossLevel) -> LossLevel:
        """Return the levels of the loss with the first loss of this fit, and whether it continues an earlier one."""
        begun = self.loss(level)
        own = level.start if self.first is None else min(self.first, level.start)
        lower = begun is not None and begun - own > CLEARLY_LOWER * abs(begun - level.floor)
        return replace(level, first=self.first, earlier=begun if lower else None, continues=lower or not self.known)

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        return asdict(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        losses = (
            state["first"],
            state.get("earlier"),
        )  # a damaged state raises an error now, and not at the next check
        self.first, self.earlier = (None if loss is None else float(loss) for loss in losses)
        self.known = bool(state.get("known", True))


_latest: WeakKeyDictionary[nn.Module, FitStart] = WeakKeyDictionary()
"""the start of the latest fit of each module that still exists"""
