"""Count the forward passes, backward passes and Hessian-vector products that probes take."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.errors import OverBudgetError

MAX_OVER_MEDIAN = 20.0
"""one evaluation counts as at most this many times the median evaluation, in case the clock jumps"""


class Meter:
    """Counts evaluations in gradients of one batch: a forward pass is 1/3, a Hessian-vector product 2.

    Args:
        clock: times the evaluations, for `seconds`.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limit: float | None = None
        """value of `gradients` above which an evaluation is refused; None for no limit"""
        self._at_start_of_limit, self._limit_name = 0.0, ""
        self._clock = clock
        self._thirds = 0
        self._durations: list[float] = []
        self._last = clock.now()

    @property
    def gradients(self) -> float:
        """The work so far, in gradients of one batch."""
        return self._thirds / 3

    @property
    def seconds(self) -> float:
        """The time that all evaluations took, in which a jump of the clock counts as one slow evaluation."""
        if not self._durations:
            return 0.0
        longest = MAX_OVER_MEDIAN * statistics.median(self._durations)
        return sum(min(duration, longest) for duration in self._durations)

    @contextmanager
    def limited(self, gradients: float | None, announced: str) -> Iterator[None]:
        """Refuse further evaluations once those inside this context have taken `gradients` gradients.

        Args:
            gradients: of one batch; None for no limit.
            announced: the limit in words, for the error message.
        """
        self._at_start_of_limit, self._limit_name = self.gradients, announced
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
            taken = self.gradients - self._at_start_of_limit
            raise OverBudgetError(f"it was stopped after {taken:.0f} gradients of one batch, of {self._limit_name}")
        now = self._clock.now()
        self._durations.append(max(0.0, now - self._last))
        self._thirds, self._last = self._thirds + thirds, now
