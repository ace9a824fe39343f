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
from lightning_landscape.examination.weight_files import resolved
from lightning_landscape.surface import Probe
from lightning_landscape.trainer.host import Host

MAX_BYTES = 64 * 2**20
"""most bytes of the weights of a model of which something is kept, since they go into the user's checkpoints"""
EXPENSIVE = (Trials, Curvature)
"""readings that the next diagnosis takes over if the budget did not cover all probes of the last one"""
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
        self._restart: Restart | None = None
        self._height: float | None = None  # of the loss above its floor, at the diagnosis from which these are

    def plan(self, state: RunState, *, diagnoses: bool) -> None:
        """Forget everything if the loss falls again, or is no longer where it was at the last diagnosis.

        Args:
            state: the state of the run.
            diagnoses: whether there are probes for diagnoses.
        """
        trend = state.progress.trend
        falls = not state.stalled and trend is not None and trend.falling
        if self._height is None and (self._readings or self._kept or self._restart):
            self._height = _height(state)
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
        return None, self._readings if diagnosing else (), 0

    def waits(self, host: Host, gradients: int | None) -> bool:
        """Return whether the diagnosis under way needs more gradients than a check may compute; None for no limit."""
        return host.from_first_rank(
            self.underway is not None and gradients is not None and gradients < self.underway.needs
        )

    def completed(self, readings: Sequence[object]) -> list[object]:
        """Return the readings of a diagnosis, with the last restart of the same plateau if it has none of its own."""
        restarted = any(isinstance(reading, Restart) for reading in readings)
        return [*readings] if restarted or self._restart is None else [*readings, self._restart]

    def reason(self, reason: ProbeReason) -> ProbeReason:
        """Return the reason for which probes run, which is to finish the last diagnosis if something of it is left.

        A diagnosis that is spread over several checks goes on with the budget with which it began.
        """
        if self.underway is not None and reason is ProbeReason.PROBABLE_PLATEAU:
            return ProbeReason.DIAGNOSIS
        repeated = reason is ProbeReason.REPEATED_DIAGNOSIS
        return ProbeReason.UNFINISHED_DIAGNOSIS if repeated and self._readings else reason

    def skips(self, probe: Probe) -> bool:
        """Return whether a diagnosis that goes on with an earlier one skips this probe, since that one has run it.

        All expensive probes that declare their class of `reading` are skipped, to leave the budget for the others.
        """
        return bool(self._readings) and getattr(probe, "reading", None) in EXPENSIVE

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
            self._height = None
            self._readings = tuple(reading for reading in readings if unfinished and isinstance(reading, EXPENSIVE))
            self._restart = next((r for r in reversed(readings) if isinstance(r, Restart)), self._restart)

    def state_dict(self) -> dict[str, Any]:
        """Return builtins and tensors, for the checkpoint."""
        return {
            "underway": None if self.underway is None else self.underway.to_dict(),
            "kept": self._kept,
            "taken_over": Evidence(*self._readings).to_dict(),
            "restart": Evidence(*([] if self._restart is None else [self._restart])).to_dict(),
            "height": self._height,
        }

    def load_state_dict(self, state: Mapping[str, Any], *, limited: bool) -> None:
        """Continue from what `state_dict` returned.

        Args:
            state: that.
            limited: whether an effort limits the diagnoses; if not yet, a diagnosis that was under way begins again.
        """
        self.underway = Underway.from_dict(state["underway"]) if limited and state["underway"] is not None else None
        self._kept = _with_weights(state.get("kept", {}))  # version 0.1 had neither
        self._readings = tuple(Evidence.from_dict(state.get("taken_over", {})))
        self._restart = Evidence.from_dict(state.get("restart", {})).get(Restart)
        self._height = state.get("height")


def _with_weights(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return what probes keep, with the weights of an unfinished restart where these are in a file."""
    restarts = kept.get("restarts")
    if restarts is None or restarts.get("course") is None:
        return dict(kept)
    course = {**restarts["course"], "point": dict(resolved(restarts["course"]["point"]))}
    return {**kept, "restarts": {**restarts, "course": course}}


def _height(state: RunState) -> float | None:
    level = state.progress.level
    return None if level is None else level.now - level.floor
