"""How much the probes of a run may compute; the unit of work is one gradient of one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from lightning_landscape.examination.effort import FEWEST_GRADIENTS, GRADIENTS, Effort

SHARE = 0.01
"""gradients that each optimizer step adds to the budget of scheduled measurements"""
FIRST_LOOK = 13
"""gradients that the check of the wiring and of the lowest possible loss may compute, beside the budget"""
ON_DIVERGENCE = 60
"""gradients that the search for what made a loss infinite or NaN may compute, beside the budget"""
DIAGNOSES = 2
"""all diagnoses of a run together may compute this many times as much as the first one"""

STALL_TESTS = 8
"""tests whether the loss stands still may compute one gradient for this many of the first diagnosis, beside
`TEST_SHARE` and what scheduled measurements leave"""
FEWEST_FOR_STALL_TESTS = 18
"""least gradients that these tests may compute, however small the first diagnosis is; enough for two of them"""
TEST_SHARE = 0.005
"""gradients that each optimizer step adds for these tests; with 1,800 steps, for one more of them"""


class ProbeReason(Enum):
    """Why probes run."""

    SCHEDULE = auto()
    """a scheduled measurement; it can wait"""
    STALL_TEST = auto()
    """a test on the same batches whether the loss stands still; it can wait"""
    DIAGNOSIS = auto()
    """the first diagnosis of a plateau; it begins in any case, with what is left of the budget"""
    REPEATED_DIAGNOSIS = auto()
    """a later diagnosis of the same plateau; it can wait"""
    UNFINISHED_DIAGNOSIS = auto()
    """a repeated diagnosis that goes on with what the budget of the last one did not cover"""
    PROBABLE_PLATEAU = auto()
    """a diagnosis of a loss that has only probably stopped falling; all but the first of the run can wait"""
    FOLLOW_UP = auto()
    """after an alarm, to show the plateau and to try changes"""
    FIRST_LOOK = auto()
    """the check of the wiring in the first steps; it is counted, but leaves the budget as it is"""
    DIVERGENCE = auto()
    """to find what made the loss not finite; it is counted, but leaves the budget as it is"""
    REMEDY = auto()
    """to measure a direction for a remedy of the user; this is neither limited nor counted"""


LEAST_SECOND = 125
"""gradients that a diagnosis may use to finish an earlier one: enough for a restart of 100 steps"""

BESIDE = {ProbeReason.FIRST_LOOK: FIRST_LOOK, ProbeReason.DIVERGENCE: ON_DIVERGENCE}
"""gradients that probes may compute for these reasons, beside the budget"""


REPEATED = (ProbeReason.REPEATED_DIAGNOSIS, ProbeReason.UNFINISHED_DIAGNOSIS, ProbeReason.PROBABLE_PLATEAU)


class Account:
    """How many gradients of one batch the probes of a run have computed, and how many more they may compute.

    - The first diagnosis of a run may compute `Effort.gradients`; all diagnoses together may compute twice that.
    - Each later diagnosis, and the probes that follow an alarm, may use half of what is then left; a diagnosis that
      finishes an earlier one may use up to 125 of it in any case.
    - A later diagnosis of a plateau that may only be noise uses none of it, so that a healthy run pays for one only.
    - Scheduled measurements may compute 1% of the steps taken so far. Diagnoses may also use what is left of it, and
      so may tests whether the loss stands still, which may compute an eighth of a diagnosis, at least 18, and 0.5% of
      the steps in any case.

    Without an effort nothing is limited.
    """

    def __init__(self) -> None:
        self.effort: Effort | None = None
        self._diagnoses = self._scheduled = self._first_look = self._stall_tests = 0.0

    def allowance(self, reason: ProbeReason, steps: int) -> int | None:
        """Return the gradients that probes may compute now, after this many optimizer steps; None for no limit."""
        if reason in BESIDE:
            return BESIDE[reason]
        if self.effort is None or reason is ProbeReason.REMEDY:
            return None
        first = self.effort.gradients
        total = DIAGNOSES * first
        for_tests = _for_stall_tests(first, steps) - self._stall_tests
        earned = SHARE * steps - self._scheduled - max(0.0, self._diagnoses - total) - max(0.0, -for_tests)
        if reason is ProbeReason.SCHEDULE:
            return max(0, int(earned))
        if reason is ProbeReason.STALL_TEST:
            return max(0, int(max(for_tests, earned)))
        if not self._diagnoses:
            return first
        if reason is ProbeReason.PROBABLE_PLATEAU:
            return max(0, int(min(first, earned)))
        left = total - self._diagnoses
        least = min(left, LEAST_SECOND) if reason is ProbeReason.UNFINISHED_DIAGNOSIS else 0
        return max(0, int(max(left / 2, least, min(first, earned))))

    def can_afford(self, reason: ProbeReason, steps: int, price: int) -> bool:
        """Return whether probes at this price may begin now; a first diagnosis always may."""
        allowance = self.allowance(reason, steps)
        if allowance is None or reason is ProbeReason.DIAGNOSIS:
            return True
        return allowance >= (FEWEST_GRADIENTS if reason in REPEATED else price)

    def slice(self, steps: int) -> int | None:
        """Return the gradients that one check of a diagnosis may compute; None where it is not spread over checks.

        All that was computed until then takes at most a sixth of the gradients of the run itself.
        """
        if self.effort is None or not self.effort.sliced:
            return None
        return max(0, steps // 6 - math.ceil(self.spent))

    def spend(self, reason: ProbeReason, gradients: float) -> None:
        """Count gradients that probes have computed."""
        if reason is ProbeReason.SCHEDULE:
            self._scheduled += gradients
        elif reason is ProbeReason.STALL_TEST:
            self._stall_tests += gradients
        elif reason in BESIDE:
            self._first_look += gradients
        elif reason is not ProbeReason.REMEDY:
            self._diagnoses += gradients

    @property
    def larger_effort(self) -> str:
        """The setting that allows more gradients; empty where there is none."""
        if self.effort is None or self.effort.setting == "thorough":
            return ""
        return "effort='thorough'" if self.effort.gradients >= GRADIENTS["standard"] else "effort='standard'"

    @property
    def spent(self) -> float:
        """Number of gradients computed so far."""
        return self._scheduled + self._diagnoses + self._first_look + self._stall_tests

    def notes(self) -> list[str]:
        """Return a note on the effort and the gradients so far; none where nothing is limited."""
        if self.effort is None:
            return []
        spent = f"; this run has computed {self.spent:.0f}" if self.effort.gradients else ""
        return [f"{self.effort.sentence()}{spent}"]

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        effort = None if self.effort is None else self.effort.to_dict()
        computed = {"diagnoses": self._diagnoses, "scheduled": self._scheduled, "first_look": self._first_look}
        return {"effort": effort, **computed, "stall_tests": self._stall_tests}

    def load_state_dict(self, state: Mapping[str, Any], setting: str | None) -> None:
        """Continue from what `state_dict` returned; the effort is chosen anew if it was chosen for another setting."""
        self._diagnoses, self._scheduled = float(state["diagnoses"]), float(state["scheduled"])
        self._first_look = float(state.get("first_look", 0.0))
        self._stall_tests = float(state.get("stall_tests", 0.0))
        effort = state["effort"]
        if effort is not None and effort["setting"] == setting:
            self.effort = Effort.from_dict(effort)


def _for_stall_tests(first: int, steps: int) -> float:
    """Return the gradients for tests of the loss, next to a first diagnosis of this many; 0 where there is none."""
    return max(first / STALL_TESTS, FEWEST_FOR_STALL_TESTS) + TEST_SHARE * steps if first else 0.0
