"""Count the work of a surface: forward passes, gradients and Hessian-vector products of one batch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.errors import OverBudgetError

LONGEST_TICK = 20.0
"""a single evaluation counts as at most this many times the median one: a clock that jumps ends nothing"""


class Meter:
    """Counts what is evaluated: a forward pass is a third of a gradient, a Hessian-vector product two gradients.

    Args:
        clock: times the evaluations, for `seconds`.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limit: float | None = None
        """gradients beyond which an evaluation is refused; None for no limit"""
        self._since, self._announced = 0.0, ""
        self._clock = clock
        self._thirds = 0
        self._ticks: list[float] = []
        self._last = clock.now()

    @property
    def gradients(self) -> float:
        """Work so far, in gradients of one batch."""
        return self._thirds / 3

    @property
    def seconds(self) -> float:
        """Time that the evaluations took, in which a jump of the clock counts as one slow evaluation."""
        if not self._ticks:
            return 0.0
        longest = LONGEST_TICK * statistics.median(self._ticks)
        return sum(min(tick, longest) for tick in self._ticks)

    @contextmanager
    def limited(self, gradients: float | None, announced: str) -> Iterator[None]:
        """Refuse evaluations beyond this many gradients inside; None for no limit.

        Args:
            gradients: of one batch, from now on.
            announced: what the limit is, for the message.
        """
        self._since, self._announced = self.gradients, announced
        self.limit = None if gradients is None else self.gradients + gradients
        try:
            yield
        finally:
            self.limit = None

    def forward(self) -> None:
        """Count the forward pass of one batch."""
        self._count(1)

    def backward(self) -> None:
        """Count the backward pass of one batch."""
        self._count(2)

    def product(self) -> None:
        """Count a Hessian-vector product on one batch."""
        self._count(6)

    def _count(self, thirds: int) -> None:
        if self.limit is not None and self.gradients + thirds / 3 > self.limit:
            taken = self.gradients - self._since
            raise OverBudgetError(f"it was stopped after {taken:.0f} gradients of one batch, of {self._announced}")
        now = self._clock.now()
        self._ticks.append(max(0.0, now - self._last))
        self._thirds, self._last = self._thirds + thirds, now
