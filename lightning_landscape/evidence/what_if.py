"""The reading of a what-if: the loss if a run goes on as it is, and if it goes on with other settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lightning_landscape._text import percent
from lightning_landscape.evidence.short_repr import short_repr
from lightning_landscape.evidence.trend import STANDARD_ERRORS


@dataclass(frozen=True)
class Course:
    """The loss on held-out batches while a copy of a run is trained."""

    settings: str
    """in words"""
    steps: tuple[int, ...]
    """numbers of optimizer steps after which the loss was measured, the first 0, shape (n,)"""
    losses: tuple[float, ...]
    """shape (n,); may hold NaN and inf"""
    last: tuple[float, ...]
    """loss of each batch after the last step, shape (batches,)"""

    __repr__ = short_repr


@dataclass(frozen=True)
class WhatIf:
    """Two copies of a run, trained for equally many steps from one checkpoint and evaluated on the same batches."""

    as_it_is: Course
    changed: Course
    step: int
    """optimizer step of the checkpoint"""

    __repr__ = short_repr

    @property
    def advantage(self) -> float:
        """By how much the loss is lower with the change, in units of the loss; NaN if a loss is not finite."""
        return self.as_it_is.losses[-1] - self.changed.losses[-1]

    @property
    def margin(self) -> float:
        """2.5 standard errors of `advantage`, from the differences on single batches; inf of fewer than two batches."""
        pairs = [a - b for a, b in zip(self.as_it_is.last, self.changed.last, strict=True)]
        if len(pairs) < 2:
            return math.inf
        mean = sum(pairs) / len(pairs)
        variance = sum((pair - mean) ** 2 for pair in pairs) / (len(pairs) - 1)
        return STANDARD_ERRORS * math.sqrt(variance / len(pairs))

    def sentence(self) -> str:
        """Return whether the change helps, beyond the noise of the batches."""
        own, other = self.as_it_is.losses[-1], self.changed.losses[-1]
        after = f"after {self.as_it_is.steps[-1]} steps"
        if not (math.isfinite(own) and math.isfinite(other)):
            courses = (self.as_it_is, self.changed)
            broken = [course.settings for course in courses if not math.isfinite(course.losses[-1])]
            return f"The held-out loss is not finite {after}: {' and '.join(broken)}."
        if abs(self.advantage) <= self.margin:
            return f"With {self.changed.settings}, the held-out loss is the same {after}, within its noise."
        share = percent(abs(self.advantage) / abs(own)) if own else f"{abs(self.advantage):.3g}"
        lower = "lower" if self.advantage > 0 else "higher"
        return f"With {self.changed.settings}, the held-out loss is {share} {lower} {after} than without the change."
