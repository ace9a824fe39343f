"""Count the work of probes and decide how much more they may do; the unit is one gradient of one batch."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from lightning_landscape.examination.effort import FEWEST, GRADIENTS, Effort

SHARE = 0.02
"""gradients that a run earns with each step, for everything beyond its diagnoses"""
DIAGNOSES = 2
"""all diagnoses of a run together may take this many times what the first one may"""


class ProbeReason(Enum):
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

    def allowance(self, occasion: ProbeReason, steps: int) -> int | None:
        """Return the gradients that probes may take now, after this many optimizer steps; None for no limit."""
        if self.effort is None or occasion is ProbeReason.ASKED:
            return None
        first = self.effort.gradients
        whole = DIAGNOSES * first
        earned = SHARE * steps - self._looks - max(0.0, self._diagnoses - whole)
        if occasion is ProbeReason.LOOK:
            return max(0, int(earned))
        if not self._diagnoses:
            return first
        return max(0, int(max((whole - self._diagnoses) / 2, min(first, earned))))

    def covers(self, occasion: ProbeReason, steps: int, price: int) -> bool:
        """Return whether probes at this price may begin now; a first diagnosis always may."""
        allowance = self.allowance(occasion, steps)
        if allowance is None or occasion is ProbeReason.DIAGNOSIS:
            return True
        return allowance >= (FEWEST if occasion is ProbeReason.RECHECK else price)

    def slice(self, steps: int) -> int | None:
        """Return the gradients that one check of a diagnosis may take; None where it need not be sliced."""
        return steps // 4 if self.effort is not None and self.effort.sliced else None

    def spend(self, occasion: ProbeReason, gradients: float) -> None:
        """Enter what probes have taken."""
        if occasion is ProbeReason.LOOK:
            self._looks += gradients
        elif occasion is not ProbeReason.ASKED:
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
