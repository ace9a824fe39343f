"""When probes run, on which batches, from which points, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from lightning_landscape.callbacks.activations import watch_activations
from lightning_landscape.callbacks.batches import ProbeSet
from lightning_landscape.callbacks.guard import Guard
from lightning_landscape.callbacks.module_surface import module_surface
from lightning_landscape.callbacks.observations import Observations
from lightning_landscape.callbacks.snapshots import Snapshots, parameters_of
from lightning_landscape.errors import SurfaceError
from lightning_landscape.evidence import Line, plain, restored
from lightning_landscape.surface import LossSurface, Probe

CURVES = 12
"""interpolation curves that are kept for each anchor"""


class Examination:
    """The probes of a monitor, and their schedule.

    Args:
        probes: run where the loss has stalled.
        scheduled: run every so many steps as well, and after a checkpoint.
        every: optimizer steps between two scheduled runs; None for a tenth of the run.
        anchors: points of the run that the probes may start from.
        batches: how many batches a probe sees.
        loss_fn: evaluates the loss in place of `training_step`.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        scheduled: Sequence[Probe] = (),
        every: int | None = None,
        anchors: Sequence[str] = (),
        batches: int = 4,
        loss_fn: Any = None,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1 optimizer step, or None for a tenth of the run, got {every}")
        self.probe_set = ProbeSet(batches)
        self._probes, self._scheduled = tuple(probes), tuple(scheduled)
        self._every, self._loss_fn = every, loss_fn
        self._snapshots = Snapshots(anchors)
        self.forget()

    def forget(self) -> None:
        """Start as if nothing had been seen."""
        self.lines: dict[str, list[tuple[int, Line]]] = {}
        self.skipped: dict[str, str] = {}
        self.checkpointed = False
        self._latest = 0
        self._horizon: int | None = None
        self._snapshots.load_state_dict({"points": {}, "best_loss": None})
        self.probe_set.clear()

    def notes(self) -> list[str]:
        """What was skipped, and why."""
        return [f"{what} was skipped: {reason}" for what, reason in self.skipped.items()]

    def begin(self, pl_module: Any, horizon: int | None) -> None:
        """Keep the point from which this run starts, unless a resumed run brought its own."""
        self._horizon = horizon
        if not self._snapshots.has("initial") and self._latest == 0:
            self._snapshots.take("initial", pl_module)

    def end(self) -> None:
        """Let go of the batches."""
        self.probe_set.clear()

    def wanted(self, seen: Observations) -> tuple[Probe, ...]:
        """The probes whose time it is: those for a stalled loss, or what the schedule or a checkpoint asks for."""
        if not len(self.probe_set):
            return ()
        if seen.stalled and self._probes:
            return self._probes
        passed, interval = seen.steps - self._latest, self._interval(seen.steps)
        due = passed >= interval or (self.checkpointed and passed >= interval // 2)
        return self._scheduled if due else ()

    def run(
        self, trainer: Any, pl_module: Any, probes: Sequence[Probe], guard: Guard, seen: Observations
    ) -> list[object]:
        """Readings of all probes that have something to say; where the surface refuses, none, and `skipped` says why.

        Afterwards this point is the "previous" one, and the "best" one if the loss has never been lower.
        """
        self._latest, self.checkpointed = seen.steps, False
        readings: list[object] = []
        try:
            anchors = self._snapshots.points(parameters_of(pl_module))
            with module_surface(trainer, pl_module, self.probe_set, anchors=anchors, loss_fn=self._loss_fn) as surface:
                watched = replace(surface, activations=partial(watch_activations, pl_module, surface.loss))
                readings = _readings(probes, watched, guard)
        except SurfaceError as error:
            self.skipped["the loss surface"] = str(error)
        self.skipped.update(self._snapshots.skipped)
        seen.chronicle.read(seen.step, readings)
        for line in readings:
            if isinstance(line, Line):
                self.lines.setdefault(line.anchor, []).append((seen.step, line))
                del self.lines[line.anchor][:-CURVES]
        self._snapshots.take("previous", pl_module)
        if seen.progress.level is not None:
            self._snapshots.take_best(seen.progress.level.now, pl_module)
        return readings

    def state_dict(self) -> dict[str, Any]:
        """What was observed, in builtins and tensors."""
        return {
            "lines": {name: [[step, plain(line)] for step, line in curves] for name, curves in self.lines.items()},
            # Lightning asks for the state first and for `on_save_checkpoint` second; both mean this checkpoint.
            "checkpointed": True,
            "latest": self._latest,
            "snapshots": self._snapshots.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.lines = {
            name: [(step, restored(Line, line)) for step, line in curves] for name, curves in state["lines"].items()
        }
        self.checkpointed, self._latest = state["checkpointed"], state["latest"]
        self._snapshots.load_state_dict(state["snapshots"])

    def _interval(self, step: int) -> int:
        if self._every is not None:
            return self._every
        if self._horizon is None:  # twice as far apart each time
            return max(500, step // 2)
        return max(self._horizon // 10, min(500, self._horizon // 3), 1)


def _readings(probes: Sequence[Probe], surface: LossSurface, guard: Guard) -> list[object]:
    readings = []
    for probe in probes:
        name = getattr(probe, "__name__", None) or repr(probe)
        if guard.allows(name):
            with guard(name):
                readings.append(probe(surface))
    return [reading for reading in readings if reading is not None]
