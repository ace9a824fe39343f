"""The reading of the loss along the checkpoints of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_landscape._text import percent
from lightning_landscape.evidence.short_repr import short_repr

PAID = 0.95
"""share of the whole fall of the loss after which the rest of the run no longer pays"""


@dataclass(frozen=True)
class RunPath:
    """The loss at the checkpoints of a run in their order, and on the straight lines between two of them in a row."""

    checkpoints: tuple[str, ...]
    """names, such as paths, shape (n,)"""
    steps: tuple[int, ...]
    """optimizer step of each checkpoint, in ascending order, shape (n,)"""
    lines: tuple[tuple[float, ...], ...]
    """loss at evenly spaced positions on each line, both ends included, shape (n - 1, points); may hold NaN and inf"""
    rises: tuple[float, ...]
    """largest rise of the loss above the lowest one before it on each line, in units of the loss, shape (n - 1,)"""
    samples: int = 0
    """number of samples that the loss averages over; 0 if it is unknown"""
    notes: tuple[str, ...] = ()
    """limits of the measurement, in sentences"""

    __repr__ = short_repr

    @property
    def losses(self) -> tuple[float, ...]:
        """The loss at each checkpoint, shape (n,)."""
        return (self.lines[0][0], *(line[-1] for line in self.lines))

    @property
    def monotone(self) -> tuple[bool, ...]:
        """Whether the loss never rises on each line; False where a loss is not finite."""
        return tuple(rise == 0 for rise in self.rises)

    @property
    def paid_until(self) -> int | None:
        """Index of the checkpoint at which 95% of the whole fall of the loss was reached; None if it never fell.

        The whole fall is that from the first checkpoint to the lowest loss of any.
        """
        finite = [loss for loss in self.losses if math.isfinite(loss)]
        if not math.isfinite(self.losses[0]) or not finite or not min(finite) < self.losses[0]:
            return None
        enough = self.losses[0] - PAID * (self.losses[0] - min(finite))
        return next(i for i, loss in enumerate(self.losses) if loss <= enough)

    def sentence(self) -> str:
        """Return where training stopped paying, and whether there are barriers."""
        return f"{self._paying()} {self._barriers()}"

    def _paying(self) -> str:
        first, last = self.steps[0], self.steps[-1]
        if (paid := self.paid_until) is None:
            return f"The loss did not fall from step {first:,} to step {last:,}."
        share = (last - self.steps[paid]) / max(1, last - first)
        if paid == len(self.steps) - 1:
            return f"Training paid up to the last checkpoint, of step {last:,}."
        return (
            f"Training stopped paying at step {self.steps[paid]:,}: {PAID:.0%} of the fall of the loss was reached "
            f"there, and the other {percent(share)} of the steps brought the rest."
        )

    def _barriers(self) -> str:
        between = [f"steps {a:,} and {b:,}" for a, b in zip(self.steps, self.steps[1:], strict=False)]
        rising = [place for place, monotone in zip(between, self.monotone, strict=True) if not monotone]
        if not rising:
            return "The loss never rises on the straight lines between the checkpoints."
        shown = "; ".join(rising[:3]) + (f"; and {len(rising) - 3} more" if len(rising) > 3 else "")
        return f"On the straight line it rises between {shown}."
