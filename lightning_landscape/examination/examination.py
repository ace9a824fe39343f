"""When probes run, on which batches, from which points, and what came of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.diagnosis import Detector
from lightning_landscape.evidence import Curvature, Line, Plane, Spectrum, Verdict, from_builtins, to_builtins
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.limits import Limits
from lightning_landscape.examination.naming import name_of
from lightning_landscape.examination.own_scalars import own_scalars
from lightning_landscape.examination.probe_runner import Probing, once
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.schedule import Schedule
from lightning_landscape.examination.snapshots import Snapshots, parameters_of
from lightning_landscape.examination.spending import LEAST_LOOK, Underway, batches_for
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.examination.verdicts import Verdicts
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.probes import EXAMINATION
from lightning_landscape.surface import Probe

CURVES = 12
"""interpolation curves that are kept for each anchor"""


class Examination:
    """The probes of a monitor, and their schedule.

    Batches are kept only once it is known that probes will follow at the end of the coming stretch of steps.

    Args:
        probes: run where the loss has stalled, in this order: those of `EXAMINATION` until the cause is clear; probes
            of the user's own always run.
        scheduled: run every so many steps, after a checkpoint, and at the end of an examination.
        afterwards: run once for each plateau that alarms, after the others: they show it, or what would help.
        every_n_steps: optimizer steps between two scheduled runs; None for a tenth of the run.
        anchors: points of the run that the probes may start from.
        max_batches: how many batches an examination sees at most.
        loss_fn: evaluates the loss in place of `training_step`.
        keeps_batches: whether batches are kept for every look, for use outside the probes.
        effort: what a diagnosis may take, one of `effort.SETTINGS`; None for no limit.
        share: of the training time, at which the clock ends an examination; None for no such limit.
        detectors: reach the verdict, the first that speaks; None for the usual ones.

    Raises:
        ValueError: if `every_n_steps` or `max_batches` is below 1, or `effort` is none of the settings.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        scheduled: Sequence[Probe] = (),
        afterwards: Sequence[Probe] = (),
        every_n_steps: int | None = None,
        anchors: Sequence[str] = (),
        max_batches: int = 32,
        loss_fn: Any = None,
        keeps_batches: bool = False,
        effort: str | None = None,
        share: float | None = None,
        detectors: Sequence[Detector] | None = None,
    ) -> None:
        self.probe_set = ProbeSet(max_batches)
        self.schedule, self.limits = Schedule(every_n_steps), Limits(effort, share, looks=every_n_steps is None)
        self._probes, self._scheduled, self._afterwards = tuple(probes), tuple(scheduled), tuple(afterwards)
        self._loss_fn, self._keeps_batches = loss_fn, keeps_batches
        self._verdicts = Verdicts() if detectors is None else Verdicts(tuple(detectors))
        self._snapshots = Snapshots(anchors)
        self.forget()

    def forget(self) -> None:
        """Start as if nothing had been seen."""
        self.lines: dict[str, list[tuple[int, Line]]] = {}
        self.curvature: Curvature | None = None
        self.spectrum: Spectrum | None = None
        self.skipped: dict[str, str] = {}
        self.schedule.forget()
        self.limits.forget()
        self.underway: Underway | None = None
        """a diagnosis that goes on at the next check; None where there is none"""
        self.captures_batches = self._postponed = self._picturing = False
        self._pictured: int | None = None
        self._snapshots.load_state_dict({"points": {}, "best_loss": None})
        self.probe_set.clear()

    def notes(self) -> list[str]:
        """Return what the effort was, what it left out, and what was skipped and why."""
        return [*self.limits.notes(), *(f"{what} was skipped: {reason}" for what, reason in self.skipped.items())]

    @property
    def given(self) -> tuple[object, ...]:
        """What was passed in, and is shared by shallow copies."""
        return self._probes, self._scheduled, self._afterwards, self._loss_fn

    def begin(self, pl_module: Any, horizon: int | None, stopwatch: Stopwatch, clock: Clock = SYSTEM_CLOCK) -> None:
        """Keep the point from which this run starts, unless a resumed run brought its own."""
        self.schedule.horizon = horizon
        self.limits.begin(stopwatch, clock)
        if not self._snapshots.has("initial") and self.schedule.latest == 0:
            self._snapshots.take("initial", pl_module)

    def end(self) -> None:
        """Let go of the batches."""
        self.probe_set.clear()

    def plan(self, state: RunState, ahead: int) -> None:
        """Decide whether batches are kept for probes at the next look, `ahead` steps from here.

        A diagnosis that is under way is dropped once the loss falls again.
        """
        trend = state.progress.trend
        if not self._probes or (not state.stalled and trend is not None and trend.falling):
            self.underway = None
        due = self._scheduled and self.schedule.due(state.steps + ahead)
        soon = bool(self._probes) and state.may_stall_within(ahead)
        self.captures_batches = bool(self.due_probes(state) or due or soon or self._keeps_batches)
        self._postponed = self._postponed and self.captures_batches
        self.probe_set.clear()

    def captures(self, left: int) -> bool:
        """Whether planned probes would look at the batch with which so many steps are left to the next look."""
        return self.captures_batches and left <= self.probe_set.max_batches

    def on_checkpoint(self) -> None:
        """A checkpoint was written: the loss on the way to it is of interest.

        It does not hold the batches that were kept for the next look, so that look does without them, here and in a run
        that resumes, and probes wait for the one after it; not twice, or frequent checkpoints would end all probing.
        """
        self.schedule.checkpointed = True
        if self._checkpoint_spoils_capture:
            self.captures_batches, self._postponed = False, True
            self.probe_set.clear()

    @property
    def _checkpoint_spoils_capture(self) -> bool:
        """Whether a run that resumes from here would lack batches that this one has."""
        return self.captures_batches and not self._postponed and len(self.probe_set) > 0

    def due_probes(self, state: RunState) -> tuple[Probe, ...]:
        """The probes whose time it is: those for a stalled loss, or what the schedule or a checkpoint asks for."""
        if state.stalled and (self._probes or self._scheduled):
            return once((*self._probes, *self._afterwards, *self._scheduled))
        return once(self._scheduled) if self.schedule.due(state.steps) else ()

    def verdict(self, state: RunState, readings: Sequence[object], guard: Guard) -> Verdict | None:
        """Return what the detectors make of the run and of these readings; None where none of them speaks."""
        return self._verdicts.reached(state.evidence(readings), guard)

    def covered(self, trainer: Any, state: RunState) -> bool:
        """Return whether enough work is left for what is due; if not, it waits until it is due again."""
        if self.limits.cover(trainer, state.occasion, state.steps, LEAST_LOOK):
            return True
        self.schedule.looked(state.steps)
        if state.stalled:
            state.postpone()
        return False

    def run(
        self,
        trainer: Any,
        pl_module: Any,
        probes: Sequence[Probe],
        guard: Guard,
        state: RunState,
        occasion: ProbeReason | None = None,
    ) -> list[object]:
        """Readings of the probes that have something to say; where the surface refuses, none, and `skipped` says why.

        Afterwards this point is the "previous" one, and the "best" one if the loss has never been lower. Where a
        diagnosis goes on at the next check, it is `underway`, and the readings so far are among those of the next.

        Args:
            trainer: in whose fit the module is.
            pl_module: whose loss is probed.
            probes: in the order in which they run, as `wanted` gives them.
            guard: counts what fails.
            state: what is known without probes.
            occasion: what they are run for; None for what the run asks for now.
        """
        self.schedule.looked(state.steps)
        self._postponed = False
        diagnosing = any(probe in self._probes for probe in probes)
        names = tuple(map(name_of, probes))
        underway = self.underway if self.underway is not None and self.underway.probes == names else None
        purse, earlier, done = (None, (), 0) if underway is None else (underway.purse, underway.readings, underway.done)
        spending = self.limits.spending(occasion or state.occasion, state.steps, purse)
        probing = Probing(trainer, pl_module, guard, spending, self._loss_fn, [*earlier], done=done)
        probing.run(
            probes,
            batches_for(spending.purse, self.probe_set, diagnosing=diagnosing),
            lambda: self._snapshots.points(parameters_of(pl_module)),
            lambda probe, so_far: self._has_its_turn(probe, state, so_far),
            lambda probe: diagnosing and probe not in self._probes,
        )
        readings = probing.readings
        self.skipped.update(probing.skipped)
        self.limits.note(probing.left_out, probing.measured)
        self.skipped.update(self._snapshots.skipped)
        self._keep(readings[len(earlier) :], state)
        waiting = Underway(spending.purse, probing.done, tuple(readings), names)
        self.underway = waiting if probing.waiting else None
        if self.underway is None:
            loss = None if state.progress.level is None else state.progress.level.now
            self._snapshots.pass_by(pl_module, state.step, loss, follow=bool(self._afterwards))
        return readings

    def _has_its_turn(self, probe: Probe, state: RunState, readings: Sequence[object]) -> bool:
        """Whether the cause is still open, or the alarm news, as this kind of probe asks for."""
        if probe in self._scheduled:
            return True
        if probe in self._probes:
            return probe not in EXAMINATION or self._verdicts.open(state.evidence(readings))
        self._picturing = probe in self._afterwards and self._alarms_anew(state, readings)
        return self._picturing or probe not in self._afterwards

    def _alarms_anew(self, state: RunState, readings: Sequence[object]) -> bool:
        """Whether these readings make an alarm, and the plateau began long after the last one that was pictured."""
        verdict = self._verdicts.likely(state.evidence(readings))
        if verdict is None or not verdict.stuck:
            return False
        return self._pictured is None or verdict.since - self._pictured >= self.schedule.interval(state.steps)

    def _keep(self, readings: Sequence[object], state: RunState) -> None:
        state.document.read(state.step, readings)
        if self._picturing and any(type(reading) is Plane for reading in readings):
            self._pictured = state.step
        self._picturing = False
        scalars, refused = own_scalars(readings)
        state.scalars.update(scalars)
        self.skipped.update(refused)
        for reading in readings:
            if type(reading) is Line:  # one with more fields could not be restored as a line
                self.lines.setdefault(reading.anchor, []).append((state.step, reading))
                del self.lines[reading.anchor][:-CURVES]
            elif type(reading) is Curvature:
                self.curvature = reading
            elif type(reading) is Spectrum:
                self.spectrum = reading

    def state_dict(self) -> dict[str, Any]:
        """What was observed, in builtins and tensors."""
        return {
            "lines": {
                name: [[step, to_builtins(line)] for step, line in curves] for name, curves in self.lines.items()
            },
            **self.schedule.state_dict(),
            "planned": self.captures_batches and not self._checkpoint_spoils_capture,
            "put_off": self._postponed or self._checkpoint_spoils_capture,
            "pictured": self._pictured,
            "curvature": None if self.curvature is None else to_builtins(self.curvature),
            "spectrum": None if self.spectrum is None else to_builtins(self.spectrum),
            "snapshots": self._snapshots.state_dict(),
            "account": self.limits.state_dict(),
            "diagnosis": None if self.underway is None else self.underway.to_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.lines = {
            name: [(step, from_builtins(Line, line)) for step, line in curves]
            for name, curves in state["lines"].items()
        }
        self.schedule.load_state_dict(state)
        self.captures_batches, self._postponed = bool(state["planned"]), bool(state.get("put_off"))
        self._pictured = state.get("pictured")
        self.curvature = None if state["curvature"] is None else from_builtins(Curvature, state["curvature"])
        self.spectrum = None if state["spectrum"] is None else from_builtins(Spectrum, state["spectrum"])
        self._snapshots.load_state_dict(state["snapshots"])
        if "account" in state:  # not before 0.2
            self.limits.load_state_dict(state["account"])
            diagnosis = None if self.limits.account.effort is None else state["diagnosis"]  # another effort: anew
            self.underway = None if diagnosis is None else Underway.from_dict(diagnosis)
