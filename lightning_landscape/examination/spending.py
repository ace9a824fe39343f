"""What the probes of one check may take, in gradients of one batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_landscape.evidence import Evidence
from lightning_landscape.examination.account import Account, ProbeReason
from lightning_landscape.examination.stopwatch import Brake
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.meter import Meter

GLANCE = 4
"""batches of a scheduled look, which shows a trend and decides nothing"""
FEWEST_BATCHES = 4
"""batches of a diagnosis, however small its allowance: the shortest trials on them fit into `effort.FEWEST`"""
WORK_PER_BATCH = 30
"""gradients that a diagnosis may take, for each batch that it sees: most of them are for steps on single batches"""
LEAST_LOOK = 5
"""gradients that the shortest look takes: one line on a single batch, and opening the surface"""
LOOK_AT_A_BATCH = 14
"""gradients that a whole look takes for each batch: three lines, a noise scale, and opening the surface"""
SAMPLES = 512
"""samples after which a diagnosis needs no further batches"""


@dataclass
class Purse:
    """What is left of an allowance.

    Args:
        allowance: gradients of one batch; None for no limit.
        spent: gradients taken of it so far.
    """

    allowance: int | None = None
    spent: float = 0.0

    @property
    def left(self) -> int | None:
        """Gradients of one batch; None for no limit."""
        return None if self.allowance is None else max(0, int(self.allowance - self.spent))

    def to_dict(self) -> dict[str, Any]:
        """Return builtins only, for the checkpoint."""
        return {"allowance": self.allowance, "spent": self.spent}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Purse:
        """Return the purse that `to_dict` was taken of."""
        allowance = data["allowance"]
        return cls(None if allowance is None else int(allowance), float(data["spent"]))


@dataclass(frozen=True)
class Underway:
    """A diagnosis that goes on at the next check."""

    purse: Purse
    done: int
    """how many of its probes were run or passed over"""
    readings: tuple[object, ...]
    probes: tuple[str, ...]
    """the names of all its probes: a run that resumes with others begins the diagnosis anew"""

    def to_dict(self) -> dict[str, Any]:
        """Return builtins only, for the checkpoint."""
        readings = Evidence(*self.readings).to_dict()
        return {"purse": self.purse.to_dict(), "done": self.done, "readings": readings, "probes": list(self.probes)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Underway:
        """Return the diagnosis that `to_dict` was taken of."""
        readings = tuple(Evidence.from_dict(data["readings"]))
        return cls(Purse.from_dict(data["purse"]), int(data["done"]), readings, tuple(map(str, data["probes"])))


class Spending:
    """One check: what its probes may take from the account of the run, and what they have taken.

    Args:
        account: of the run.
        occasion: what the probes are run for.
        steps: optimizer steps so far.
        meter: counts what is evaluated.
        brake: ends what takes far too long.
        purse: for this occasion, where it began at an earlier check; None for a new one.
        unlimited: whether the account limits nothing.
    """

    def __init__(
        self,
        account: Account,
        occasion: ProbeReason,
        steps: int,
        meter: Meter,
        brake: Brake,
        *,
        purse: Purse | None = None,
        unlimited: bool = False,
    ) -> None:
        self.meter, self.purse = meter, purse or Purse(None if unlimited else account.allowance(occasion, steps))
        self._account, self._occasion, self._steps, self._brake = account, occasion, steps, brake
        self._following: Purse | None = None
        self._slice = None if occasion in (ProbeReason.LOOK, ProbeReason.ASKED) else account.slice(steps)
        self._billed = meter.gradients

    def left(self, *, follows: bool = False) -> int | None:
        """Return the gradients that may be taken at this check; None for no limit.

        Args:
            follows: by a probe that follows a diagnosis, in place of one that decides it.
        """
        purse = self._purse(follows=follows)
        slice_ = None if self._slice is None else max(0, int(self._slice - self.meter.gradients))
        limits = [limit for limit in (purse.left, slice_, self._by_clock()) if limit is not None]
        return min(limits, default=None)

    def waits(self, price: float, *, follows: bool = False) -> bool:
        """Return whether a probe at this price is too much for this check and not for a later one."""
        left = self._purse(follows=follows).left
        sliced = self._slice is not None and self._slice - self.meter.gradients < price
        return sliced and left is not None and price <= left and self._by_clock() != 0

    def charge(self, *, follows: bool = False) -> None:
        """Enter what has been evaluated since the last charge."""
        taken, self._billed = self.meter.gradients - self._billed, self.meter.gradients
        self._purse(follows=follows).spent += taken
        self._account.spend(ProbeReason.FOLLOW_UP if follows else self._occasion, taken)

    def reason(self, price: float | None, left: int) -> tuple[str, str]:
        """Return why a probe is left out, and the setting with which it would be included."""
        by_clock = self._by_clock()
        if by_clock is not None and by_clock <= left:
            return self._brake.reason(self.meter, self.purse.allowance)
        needs = "" if price is None else f"needs {price:.0f} gradients of one batch, "
        setting = "every_n_steps=..." if self._occasion is ProbeReason.LOOK else self._account.larger_effort
        return f"{needs}{left} {'is' if left == 1 else 'are'} left", setting

    def _by_clock(self) -> int | None:
        if self._occasion is ProbeReason.ASKED:
            return None
        first = self._occasion is ProbeReason.DIAGNOSIS
        return self._brake.left(self.meter, self.purse.allowance, first=first)

    def _purse(self, *, follows: bool) -> Purse:
        if not follows:
            return self.purse
        if self._following is None:
            self._following = Purse(self._account.allowance(ProbeReason.FOLLOW_UP, self._steps))
        return self._following


def batches_for(purse: Purse, kept: ProbeSet, *, diagnosing: bool) -> ProbeSet:
    """Return those of the batches that were kept on which this much work is spent."""
    most, allowance = kept.max_batches, purse.allowance
    if not diagnosing:
        measured = GLANCE // 2 if allowance is None else max(1, allowance // LOOK_AT_A_BATCH)
        return kept.latest(min(most, GLANCE, 2 * measured))
    if allowance is not None:
        most = min(most, max(FEWEST_BATCHES, allowance // WORK_PER_BATCH))
    return kept.latest(most, SAMPLES)
