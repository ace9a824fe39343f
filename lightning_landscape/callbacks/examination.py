"""When probes run, on which batches, from which points, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.callbacks.batches import ProbeSet
from lightning_landscape.callbacks.budget import LOOK_AT_A_BATCH, Allowance, Budget
from lightning_landscape.callbacks.guard import Guard
from lightning_landscape.callbacks.observations import Observations
from lightning_landscape.callbacks.probing import Probing
from lightning_landscape.callbacks.snapshots import Snapshots, parameters_of
from lightning_landscape.callbacks.trainer import agreed_upon
from lightning_landscape.diagnosis import diagnose, undiscerned
from lightning_landscape.evidence import Curvature, Line, Spectrum, plain, restored
from lightning_landscape.surface import Probe

CURVES = 12
"""interpolation curves that are kept for each anchor"""
GLANCE = 4
"""batches of a scheduled look, which shows a trend and decides nothing"""
FEWEST = 6
"""batches of an examination, however small its allowance: fewer do not tell use of the inputs from chance"""
EXAMINATION_OF_A_BATCH = 12
"""what is left of the budget, in gradients, for each batch that an examination looks at"""
SAMPLES = 512
"""samples after which an examination needs no further batches"""


class Examination:
    """The probes of a monitor, and their schedule.

    Batches are kept only once it is known that probes will follow at the end of the coming stretch of steps.

    Args:
        probes: run where the loss has stalled, in this order, until the cause is clear.
        scheduled: run every so many steps, after a checkpoint, and at the end of an examination.
        afterwards: run once for each plateau that alarms, after the others: they show it, or what would help.
        every: optimizer steps between two scheduled runs; None for a tenth of the run.
        anchors: points of the run that the probes may start from.
        batches: how many batches an examination sees at most.
        loss_fn: evaluates the loss in place of `training_step`.
        keeps_batches: whether batches are wanted at every look, by somebody other than the probes.

    Raises:
        ValueError: if `every` or `batches` is below 1.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        scheduled: Sequence[Probe] = (),
        afterwards: Sequence[Probe] = (),
        every: int | None = None,
        anchors: Sequence[str] = (),
        batches: int = 32,
        loss_fn: Any = None,
        keeps_batches: bool = False,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1 optimizer step, or None for a tenth of the run, got {every}")
        self.probe_set = ProbeSet(batches)
        self._probes, self._scheduled, self._afterwards = tuple(probes), tuple(scheduled), tuple(afterwards)
        self._every, self._loss_fn, self._keeps_batches = every, loss_fn, keeps_batches
        self._snapshots = Snapshots(anchors)
        self.forget()

    def forget(self) -> None:
        """Start as if nothing had been seen."""
        self.lines: dict[str, list[tuple[int, Line]]] = {}
        self.curvature: Curvature | None = None
        self.spectrum: Spectrum | None = None
        self.skipped: dict[str, str] = {}
        self.put_off: dict[str, str] = {}
        """what the budget did not pay for, and when it was short"""
        self.checkpointed = False
        self.planned = self._put_off = False
        self._latest = 0
        self._horizon: int | None = None
        self._snapshots.load_state_dict({"points": {}, "best_loss": None})
        self.probe_set.clear()

    def notes(self) -> list[str]:
        """What was skipped, and why."""
        return [f"{what} was skipped: {reason}" for what, reason in {**self.put_off, **self.skipped}.items()]

    def begin(self, pl_module: Any, horizon: int | None) -> None:
        """Keep the point from which this run starts, unless a resumed run brought its own."""
        self._horizon = horizon
        if not self._snapshots.has("initial") and self._latest == 0:
            self._snapshots.take("initial", pl_module)

    def end(self) -> None:
        """Let go of the batches."""
        self.probe_set.clear()

    def plan(self, seen: Observations, ahead: int) -> None:
        """Decide whether batches are kept for probes at the next look, `ahead` steps from here."""
        due = self._scheduled and self._due(seen.steps + ahead)
        soon = bool(self._probes) and seen.may_stall_within(ahead)
        self.planned = bool(self.wanted(seen) or due or soon or self._keeps_batches)
        self._put_off = self._put_off and self.planned
        self.probe_set.clear()

    def keeps(self, left: int) -> bool:
        """Whether planned probes would look at the batch with which so many steps are left to the next look."""
        return self.planned and left <= self.probe_set.max_batches

    def saved(self) -> None:
        """A checkpoint was written: the loss on the way to it is of interest.

        It does not hold the batches that were kept for the next look, so that look does without them, here and in a run
        that resumes, and probes wait for the one after it; not twice, or frequent checkpoints would end all probing.
        """
        self.checkpointed = True
        if self._spoiled:
            self.planned, self._put_off = False, True
            self.probe_set.clear()

    @property
    def _spoiled(self) -> bool:
        """Whether a run that resumes from here would lack batches that this one has."""
        return self.planned and not self._put_off and len(self.probe_set) > 0

    def wanted(self, seen: Observations) -> tuple[Probe, ...]:
        """The probes whose time it is: those for a stalled loss, or what the schedule or a checkpoint asks for."""
        if seen.stalled and (self._probes or self._scheduled):
            return (*self._probes, *self._afterwards, *self._scheduled)
        return self._scheduled if self._due(seen.steps) else ()

    def paid(self, trainer: Any, budget: Budget, seen: Observations) -> bool:
        """Whether the budget allows what is due, on every rank alike; what it does not waits until it is due again."""
        if agreed_upon(trainer, budget.pays(seen.occasion)):
            return True
        self._latest = seen.steps
        self.put_off["another examination" if seen.stalled else "a look"] = (
            "the budget did not pay for it when it was due"
        )
        if seen.stalled:
            seen.pass_over()
        return False

    def run(
        self,
        trainer: Any,
        pl_module: Any,
        probes: Sequence[Probe],
        guard: Guard,
        seen: Observations,
        allowance: Allowance | None = None,
    ) -> list[object]:
        """Readings of the probes that have something to say; where the surface refuses, none, and `skipped` says why.

        Afterwards this point is the "previous" one, and the "best" one if the loss has never been lower.

        Args:
            trainer: in whose fit the module is.
            pl_module: whose loss is probed.
            probes: in the order in which they run, as `wanted` gives them.
            guard: counts what fails.
            seen: what is known without probes.
            allowance: what all of them together may cost; None where nobody counts.
        """
        self._latest, self.checkpointed, self._put_off = seen.steps, False, False
        thorough = any(probe in self._probes for probe in probes)
        probing = Probing(trainer, pl_module, guard, allowance, self._loss_fn)
        most = self.probe_set.max_batches if thorough else GLANCE
        if (gradients := probing.left) is not None:
            fewest, each = (FEWEST, EXAMINATION_OF_A_BATCH) if thorough else (1, LOOK_AT_A_BATCH)
            most = min(most, max(fewest, gradients // each))
        probing.run(
            probes,
            self.probe_set.latest(most, SAMPLES if thorough else None),
            lambda: self._snapshots.points(parameters_of(pl_module)),
            lambda probe, so_far: self._has_its_turn(probe, seen, so_far),
        )
        readings = probing.readings
        self.skipped.update(probing.skipped)
        self.put_off.update(probing.unpaid)
        self.skipped.update(self._snapshots.skipped)
        self._keep(readings, seen)
        self._snapshots.take("previous", pl_module, seen.step)
        if seen.progress.level is not None:
            self._snapshots.take_best(seen.progress.level.now, pl_module, seen.step)
        if self._afterwards:
            self._snapshots.follow(pl_module, seen.step)
        return readings

    def _has_its_turn(self, probe: Probe, seen: Observations, readings: Sequence[object]) -> bool:
        """Whether the cause is still open, or the alarm news, as this kind of probe asks for."""
        if probe in self._probes:
            return undiscerned(seen.evidence(readings))
        return probe not in self._afterwards or self._alarms_anew(seen, readings)

    def _alarms_anew(self, seen: Observations, readings: Sequence[object]) -> bool:
        """Whether these readings make an alarm, and the plateau began long after the last one that was pictured."""
        verdict = diagnose(seen.evidence(readings))
        if verdict is None or not verdict.stuck:
            return False
        drawn = [step for step, _ in seen.chronicle.readings.get("Plane", ())]
        return not drawn or verdict.since - drawn[-1] >= self._interval(seen.steps)

    def _keep(self, readings: Sequence[object], seen: Observations) -> None:
        seen.chronicle.read(seen.step, readings)
        for reading in readings:
            if isinstance(reading, Line):
                self.lines.setdefault(reading.anchor, []).append((seen.step, reading))
                del self.lines[reading.anchor][:-CURVES]
            elif isinstance(reading, Curvature):
                self.curvature = reading
            elif isinstance(reading, Spectrum):
                self.spectrum = reading

    def state_dict(self) -> dict[str, Any]:
        """What was observed, in builtins and tensors."""
        return {
            "lines": {name: [[step, plain(line)] for step, line in curves] for name, curves in self.lines.items()},
            # Lightning asks for the state first and for `on_save_checkpoint` second; both mean this checkpoint.
            "checkpointed": True,
            "planned": self.planned and not self._spoiled,
            "put_off": self._put_off or self._spoiled,
            "latest": self._latest,
            "curvature": None if self.curvature is None else plain(self.curvature),
            "spectrum": None if self.spectrum is None else plain(self.spectrum),
            "snapshots": self._snapshots.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.lines = {
            name: [(step, restored(Line, line)) for step, line in curves] for name, curves in state["lines"].items()
        }
        self.checkpointed, self.planned, self._latest = state["checkpointed"], state["planned"], state["latest"]
        self._put_off = bool(state.get("put_off"))
        self.curvature = None if state["curvature"] is None else restored(Curvature, state["curvature"])
        self.spectrum = None if state["spectrum"] is None else restored(Spectrum, state["spectrum"])
        self._snapshots.load_state_dict(state["snapshots"])

    def _due(self, steps: int) -> bool:
        interval = self._interval(steps)
        return steps - self._latest >= (interval // 2 if self.checkpointed else interval)

    def _interval(self, steps: int) -> int:
        if self._every is not None:
            return self._every
        if self._horizon is None:  # further and further apart
            return max(500, steps // 2)
        return max(self._horizon // 10, min(500, self._horizon // 3), 1)
