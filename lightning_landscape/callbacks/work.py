"""Count the work of probes and decide how much more they may do; the unit is one gradient of one batch."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum, auto
from typing import Any

from lightning_landscape.callbacks.effort import FEWEST, GRADIENTS, Effort
from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.errors import OverBudgetError

SHARE = 0.02
"""gradients that a run earns with each step, for everything beyond its diagnoses"""
DIAGNOSES = 2
"""all diagnoses of a run together may take this many times what the first one may"""
LONGEST_TICK = 20.0
"""a single evaluation counts as at most this many times the median one: a clock that jumps ends nothing"""


class Occasion(Enum):
    """What probes are run for."""

    LOOK = auto()
    """a scheduled measurement; it can wait"""
    DIAGNOSIS = auto()
    """the first one of a plateau; it is made in any case, with what is left"""
    RECHECK = auto()
    """a later diagnosis of the same plateau; it can wait"""
    FOLLOW_UP = auto()
    """what shows an alarm or would help, once the cause is known"""
    ASKED = auto()
    """what a remedy needs, which the user has asked for: it is neither limited nor charged"""


class Account:
    """How many gradients of one batch a run has spent on probes, and how many more it may spend.

    - The first diagnosis of a run may take `Effort.gradients`; the limit for all of them together is twice that.
    - Each later diagnosis, and what follows an alarm, may use half of what then remains.
    - Scheduled looks may take 2% of the steps taken so far. Diagnoses may also use what looks did not use of it.

    Without an effort nothing is limited.
    """

    def __init__(self) -> None:
        self.effort: Effort | None = None
        self._diagnoses = self._looks = 0.0

    def allowance(self, occasion: Occasion, steps: int) -> int | None:
        """Return the gradients that probes may take now, after this many optimizer steps; None for no limit."""
        if self.effort is None or occasion is Occasion.ASKED:
            return None
        first = self.effort.gradients
        whole = DIAGNOSES * first
        earned = SHARE * steps - self._looks - max(0.0, self._diagnoses - whole)
        if occasion is Occasion.LOOK:
            return max(0, int(earned))
        if not self._diagnoses:
            return first
        return max(0, int(max((whole - self._diagnoses) / 2, min(first, earned))))

    def covers(self, occasion: Occasion, steps: int, price: int) -> bool:
        """Return whether probes at this price may begin now; a first diagnosis always may."""
        allowance = self.allowance(occasion, steps)
        if allowance is None or occasion is Occasion.DIAGNOSIS:
            return True
        return allowance >= (FEWEST if occasion is Occasion.RECHECK else price)

    def slice(self, steps: int) -> int | None:
        """Return the gradients that one check of a diagnosis may take; None where it need not be sliced."""
        return steps // 4 if self.effort is not None and self.effort.sliced else None

    def spend(self, occasion: Occasion, gradients: float) -> None:
        """Enter what probes have taken."""
        if occasion is Occasion.LOOK:
            self._looks += gradients
        elif occasion is not Occasion.ASKED:
            self._diagnoses += gradients

    @property
    def larger_effort(self) -> str:
        """The setting that allows more work; empty where there is none."""
        if self.effort is None or self.effort.setting == "thorough":
            return ""
        return "effort='thorough'" if self.effort.gradients >= GRADIENTS["standard"] else "effort='standard'"

    @property
    def spent(self) -> float:
        """Gradients taken so far."""
        return self._looks + self._diagnoses

    def notes(self) -> list[str]:
        """Return what the effort is, and what was taken; nothing where nothing is limited."""
        if self.effort is None:
            return []
        taken = f"; this run has computed {self.spent:.0f}" if self.effort.gradients else ""
        return [f"{self.effort.sentence()}{taken}"]

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        effort = None if self.effort is None else self.effort.to_dict()
        return {"effort": effort, "diagnoses": self._diagnoses, "looks": self._looks}

    def load_state_dict(self, state: Mapping[str, Any], setting: str | None) -> None:
        """Go on from there; an effort that was chosen for another setting than this run's is chosen anew."""
        self._diagnoses, self._looks = float(state["diagnoses"]), float(state["looks"])
        stored = state["effort"]
        if stored is not None and stored["setting"] == setting:
            self.effort = Effort.from_dict(stored)


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
