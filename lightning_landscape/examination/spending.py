"""What the probes of one check may compute, in gradients of one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_landscape.evidence import Evidence
from lightning_landscape.examination.account import BESIDE, Account, ProbeReason
from lightning_landscape.examination.stopwatch import Brake
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.meter import Meter

SCHEDULED_BATCHES = 4
"""most batches of a scheduled measurement, which shows a trend and decides nothing"""
FEWEST_BATCHES = 4
"""least batches of a diagnosis; the shortest trials on them take less than `effort.FEWEST_GRADIENTS`"""
WORK_PER_BATCH = 30
"""gradients of a diagnosis for each of its batches; most of them are for optimizer steps on single batches"""
LEAST_MEASUREMENT = 5
"""gradients of the shortest measurement: opening the surface and one line on a single batch"""
MEASUREMENT_PER_BATCH = 14
"""gradients of a whole scheduled measurement for each batch: opening the surface, three lines and a noise scale"""
SAMPLES = 512
"""samples after which a diagnosis needs no further batches"""


@dataclass
class Budget:
    """The gradients that probes may compute, and those they have computed.

    Args:
        gradients: gradients of one batch that may be computed; None for no limit.
        spent: gradients computed so far.
    """

    gradients: int | None = None
    spent: float = 0.0

    @property
    def left(self) -> int | None:
        """Gradients that may still be computed; None for no limit."""
        return None if self.gradients is None else max(0, int(self.gradients - self.spent))

    def to_dict(self) -> dict[str, Any]:
        """Return builtins only, for the checkpoint."""
        return {"gradients": self.gradients, "spent": self.spent}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Budget:
        """Return the budget from what `to_dict` returned."""
        gradients = data["gradients"]
        return cls(None if gradients is None else int(gradients), float(data["spent"]))


@dataclass(frozen=True)
class Underway:
    """A diagnosis that continues at the next check."""

    budget: Budget
    done: int
    """number of its probes that have run or were left out"""
    readings: tuple[object, ...]
    probes: tuple[str, ...]
    """names of all its probes; a run that resumes with other probes begins the diagnosis anew"""
    needs: float = 0.0
    """gradients of one batch that its next probe needs; until a check may compute as many, nothing is evaluated"""

    def to_dict(self) -> dict[str, Any]:
        """Return builtins only, for the checkpoint."""
        readings = Evidence(*self.readings).to_dict()
        known = {"done": self.done, "probes": list(self.probes), "needs": self.needs}
        return {"budget": self.budget.to_dict(), "readings": readings, **known}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Underway:
        """Return the diagnosis from what `to_dict` returned."""
        readings = tuple(Evidence.from_dict(data["readings"]))
        names, needs = tuple(map(str, data["probes"])), float(data.get("needs", 0.0))
        return cls(Budget.from_dict(data["budget"]), int(data["done"]), readings, names, needs)


class Spending:
    """The budget of one check, and what its probes have computed.

    Args:
        account: of the run.
        reason: why the probes run.
        steps: optimizer steps so far.
        meter: counts the evaluations.
        brake: ends probes that take far too long.
        budget: the rest of a budget with which a diagnosis began at an earlier check; None for a new one.
        unlimited: whether the account limits nothing.
    """

    def __init__(
        self,
        account: Account,
        reason: ProbeReason,
        steps: int,
        meter: Meter,
        brake: Brake,
        *,
        budget: Budget | None = None,
        unlimited: bool = False,
    ) -> None:
        self.meter, self.budget = meter, budget or Budget(None if unlimited else account.allowance(reason, steps))
        self._account, self._reason, self._steps, self._brake = account, reason, steps, brake
        self._follow_up: Budget | None = None
        unsliced = reason in (ProbeReason.SCHEDULE, ProbeReason.STALL_TEST, ProbeReason.REMEDY, *BESIDE)
        self._slice = None if unsliced else account.slice(steps)
        self._charged = meter.gradients

    def left(self, *, follow_up: bool = False) -> int | None:
        """Return the gradients that may still be computed at this check; None for no limit.

        Args:
            follow_up: whether they are for a probe that follows a diagnosis, not for one that decides it.
        """
        budget = self._budget(follow_up=follow_up)
        slice_ = None if self._slice is None else max(0, int(self._slice - self.meter.gradients))
        limits = [limit for limit in (budget.left, slice_, self._by_clock()) if limit is not None]
        return min(limits, default=None)

    def waits(self, price: float, *, follow_up: bool = False) -> bool:
        """Return whether a probe at this price is too expensive for this check but not for a later one."""
        left = self._budget(follow_up=follow_up).left
        sliced = self._slice is not None and self._slice - self.meter.gradients < price
        return sliced and left is not None and price <= left and self._by_clock() != 0

    def charge(self, *, follow_up: bool = False) -> None:
        """Charge the gradients that were computed since the last call."""
        gradients, self._charged = self.meter.gradients - self._charged, self.meter.gradients
        self._budget(follow_up=follow_up).spent += gradients
        self._account.spend(ProbeReason.FOLLOW_UP if follow_up else self._reason, gradients)

    def why_left_out(self, price: float | None, left: int) -> tuple[str, str]:
        """Return why a probe is left out, and the setting with which it would run."""
        by_clock = self._by_clock()
        if by_clock is not None and by_clock <= left:
            return self._brake.reason(self.meter, self.budget.gradients)
        needs = "" if price is None else f"needs {price:.0f} gradient{'s' * (round(price) != 1)} of one batch, "
        setting = "every_n_steps=..." if self._reason is ProbeReason.SCHEDULE else self._account.larger_effort
        return f"{needs}{left} {'is' if left == 1 else 'are'} left", setting

    def _by_clock(self) -> int | None:
        if self._reason in (ProbeReason.FIRST_LOOK, ProbeReason.REMEDY):
            return None
        first = self._reason in (ProbeReason.DIAGNOSIS, ProbeReason.DIVERGENCE)
        return self._brake.left(self.meter, self.budget.gradients, first=first)

    def _budget(self, *, follow_up: bool) -> Budget:
        if not follow_up:
            return self.budget
        if self._follow_up is None:
            self._follow_up = Budget(self._account.allowance(ProbeReason.FOLLOW_UP, self._steps))
        return self._follow_up


def batches_for(budget: Budget, captured: ProbeSet, *, diagnosing: bool) -> ProbeSet:
    """Return the latest of the captured batches, as many as the budget is enough for."""
    most, gradients = captured.max_batches, budget.gradients
    if not diagnosing:
        measured = SCHEDULED_BATCHES // 2 if gradients is None else max(1, gradients // MEASUREMENT_PER_BATCH)
        return captured.latest(min(most, SCHEDULED_BATCHES, 2 * measured))
    if gradients is not None:
        most = min(most, max(FEWEST_BATCHES, gradients // WORK_PER_BATCH))
    return captured.latest(most, SAMPLES)


def checked_price(price: float | None) -> float | None:
    """Return the price.

    Raises:
        ValueError: if it is not a finite number of gradients.
    """
    if price is not None and not 0 <= price < math.inf:
        raise ValueError(f"cost must return a number of gradients, 0 or more, got {price!r}")
    return price
