"""What the diagnosis of a plateau keeps for the next check or the next diagnosis, so that it goes on where it ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from lightning_landscape.evidence import Curvature, Evidence, Restart, Trials
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.snapshots import weights_of
from lightning_landscape.examination.spending import Budget, Underway
from lightning_landscape.surface import Probe

MAX_BYTES = 64 * 2**20
"""most bytes of the weights of a model of which something is kept, since they go into the user's checkpoints"""
EXPENSIVE = (Trials, Curvature)
"""readings that the next diagnosis takes over if the budget did not cover all probes of the last one, or if it follows
soon: it has less budget and would measure them worse. Runs from other weights are taken over in any case"""
SOON = 200
"""optimizer steps within which a diagnosis follows soon, as when a plateau is proven after it was diagnosed"""
MOVED = 0.1
"""change of the height of the loss, as a share, from which on a diagnosis takes nothing over"""


class PlateauMemory:
    """The diagnosis that is under way, the unfinished work of probes, and expensive readings of the last diagnosis."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        self.underway: Underway | None = None
        """the diagnosis that continues at the next check; None where there is none"""
        self._kept: dict[str, Any] = {}
        self._readings: tuple[object, ...] = ()
        self._unfinished = False
        # At the diagnosis from which these are: the height of the loss above its floor, and the optimizer steps so far.
        self._height: float | None = None
        self._steps = self._now = 0

    def plan(self, state: RunState, *, diagnoses: bool) -> None:
        """Forget everything if the loss falls again, or is no longer where it was at the last diagnosis.

        Args:
            state: the state of the run.
            diagnoses: whether there are probes for diagnoses.
        """
        trend = state.progress.trend
        falls = not state.stalled and trend is not None and trend.falling
        self._now = state.steps
        if self._height is None and (self._readings or self._kept):
            self._height, self._steps = _height(state), state.steps
        now, before = _height(state), self._height
        moved = now is not None and before is not None and abs(now - before) > MOVED * before
        if falls or moved or not diagnoses:
            self.forget()

    def begin(self, names: tuple[str, ...], *, diagnosing: bool) -> tuple[Budget | None, tuple[object, ...], int]:
        """Return the budget, the readings and the number of probes with which the probes of this check begin.

        The budget is None for a new one.

        Args:
            names: names of the probes.
            diagnosing: whether they diagnose a plateau.
        """
        begun = self.underway if self.underway is not None and self.underway.probes == names else None
        if begun is not None:
            return begun.budget, begun.readings, begun.done
        return None, self._taken_over if diagnosing else (), 0

    @property
    def _taken_over(self) -> tuple[object, ...]:
        """The readings that the next diagnosis takes over, see `EXPENSIVE`."""
        if self._unfinished or self._now - self._steps <= SOON:
            return self._readings
        return tuple(reading for reading in self._readings if isinstance(reading, Restart))

    def reason(self, reason: ProbeReason) -> ProbeReason:
        """Return the reason for which probes run, which is to finish the last diagnosis if something of it is left."""
        repeated = reason is ProbeReason.REPEATED_DIAGNOSIS
        return ProbeReason.UNFINISHED_DIAGNOSIS if repeated and self._unfinished else reason

    def skips(self, probe: Probe) -> bool:
        """Return whether a diagnosis that goes on with an earlier one skips this probe, since that one has run it.

        All expensive probes that declare their class of `reading` are skipped, to leave the budget for the others.
        """
        taken_over = self._unfinished or any(isinstance(reading, EXPENSIVE) for reading in self._taken_over)
        return taken_over and bool(self._readings) and getattr(probe, "reading", None) in EXPENSIVE

    def kept(self, module: nn.Module) -> dict[str, Any] | None:
        """Return what probes keep, which they may change; None for a model that is too large."""
        size = sum(weight.numel() * weight.element_size() for weight in weights_of(module).values())
        return self._kept if size <= MAX_BYTES else None

    def end(self, underway: Underway | None, readings: Sequence[object], left_out: Collection[str]) -> None:
        """Take the results of a diagnosis.

        Args:
            underway: the diagnosis if it continues at the next check, else None.
            readings: all of its readings so far.
            left_out: names of its probes that the budget did not cover.
        """
        unfinished = bool(left_out) or any(isinstance(reading, Restart) and reading.left for reading in readings)
        self.underway = underway
        if underway is None:
            self._unfinished, self._height = unfinished, None
            self._readings = tuple(reading for reading in readings if isinstance(reading, (*EXPENSIVE, Restart)))

    def state_dict(self) -> dict[str, Any]:
        """Return builtins and tensors, for the checkpoint."""
        return {
            "underway": None if self.underway is None else self.underway.to_dict(),
            "kept": self._kept,
            "taken_over": Evidence(*self._readings).to_dict(),
            "unfinished": self._unfinished,
            "height": self._height,
            "steps": [self._steps, self._now],
        }

    def load_state_dict(self, state: Mapping[str, Any], *, limited: bool) -> None:
        """Continue from what `state_dict` returned.

        Args:
            state: that.
            limited: whether an effort limits the diagnoses; if not yet, a diagnosis that was under way begins again.
        """
        self.underway = Underway.from_dict(state["underway"]) if limited and state["underway"] is not None else None
        self._kept = dict(state.get("kept", {}))  # version 0.1 had neither
        self._readings = tuple(Evidence.from_dict(state.get("taken_over", {})))
        self._unfinished, self._height = bool(state.get("unfinished", self._readings)), state.get("height")
        self._steps, self._now = map(int, state.get("steps", (0, 0)))


def _height(state: RunState) -> float | None:
    level = state.progress.level
    return None if level is None else level.now - level.floor
