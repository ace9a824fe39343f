"""When the probes of a monitor run, on which batches, and from which anchors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.diagnosis import FINDERS, Detector, needs_curvature, restart_order
from lightning_landscape.evidence import Verdict
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.captures import Captures
from lightning_landscape.examination.divergence_probes import DivergenceProbes, grows
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.first_look import FirstLook
from lightning_landscape.examination.follow_up import FollowUp
from lightning_landscape.examination.host_readings import check_host
from lightning_landscape.examination.limits import Limits
from lightning_landscape.examination.loss_floor import enter_readings, floor_of
from lightning_landscape.examination.naming import name_of, notes_on_skipped
from lightning_landscape.examination.own_scalars import own_scalars
from lightning_landscape.examination.plateau_memory import PlateauMemory
from lightning_landscape.examination.probe_runner import ProbeRunner, distinct
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.schedule import Schedule
from lightning_landscape.examination.snapshots import DEFAULT_BYTES, Snapshots, weights_of
from lightning_landscape.examination.spending import LEAST_MEASUREMENT, batches_for
from lightning_landscape.examination.stall_test import StallTest
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.examination.verdicts import Verdicts
from lightning_landscape.probes import EXAMINATION, FIRST_LOOK, HessianExtremes, same_batches
from lightning_landscape.surface import Probe
from lightning_landscape.trainer.host import Host


class Examination:
    """The probes of a monitor, and the rules for when they run.

    Batches are captured only where probes will run at the next check.

    Args:
        probes: run in this order when the loss has stalled. Those of `EXAMINATION` run until the cause is clear; the
            user's own always run.
        scheduled: run every `every_n_steps` steps, after a checkpoint, and at the end of a diagnosis.
        first_look: run on one batch after the first optimizer step, to find mistakes in the wiring.
        on_divergence: run once when the loss is not finite any more, on batches after that, to find the reason.
        follow_up: run after the others, once for each plateau with an alarm, to show the plateau and to try changes.
        every_n_steps: optimizer steps between two scheduled measurements; None as in `LandscapeMonitor`.
        anchors: names of the anchors: "initial", "previous", "best", or paths of checkpoint files.
        max_batches: the largest number of batches that are captured for the probes.
        loss_fn: computes the loss in place of `training_step`.
        captures_always: whether batches are captured for every check, for a remedy that needs them.
        effort: how much work a diagnosis may do, one of `effort.SETTINGS`; None for no limit.
        share: share of the training time after which the clock ends the probes; None for no such limit.
        detectors: reach the verdict; the first that returns one decides. None for the usual ones.
        max_snapshot_bytes: most bytes of memory for copies of the weights, see `Snapshots`.

    Raises:
        ValueError: if one of the numbers is below 1, or `effort` is none of the settings.
    """

    def __init__(
        self,
        probes: Sequence[Probe] = (),
        *,
        scheduled: Sequence[Probe] = (),
        first_look: Sequence[Probe] = (),
        on_divergence: Sequence[Probe] = (),
        follow_up: Sequence[Probe] = (),
        every_n_steps: int | None = None,
        anchors: Sequence[str] = (),
        max_batches: int = 32,
        loss_fn: Callable[..., Any] | None = None,
        captures_always: bool = False,
        effort: str | None = None,
        share: float | None = None,
        detectors: Sequence[Detector] | None = None,
        max_snapshot_bytes: int = DEFAULT_BYTES,
    ) -> None:
        self.captures = Captures(max_batches)
        self.probe_set, self.divergence = self.captures.batches, DivergenceProbes(on_divergence, self.captures)
        self.schedule = Schedule(every_n_steps)
        self.limits = Limits(effort, share, limits_schedule=every_n_steps is None)
        self.captures_always = captures_always
        self._probes, self._scheduled, self._loss_fn = tuple(probes), tuple(scheduled), loss_fn
        self._verdicts = Verdicts() if detectors is None else Verdicts(tuple(detectors))
        self._follow_up = FollowUp(follow_up, self._verdicts)
        self.snapshots = Snapshots(anchors, max_snapshot_bytes)
        self._stall_test = StallTest((same_batches,) if self._probes else (), self.limits, loss_fn)
        finders = FINDERS if self._verdicts.uses_findings else ()
        self.first_look = FirstLook(first_look, finders, self.limits, loss_fn, self.snapshots)
        self.forget()

    def forget(self) -> None:
        """Forget all that was observed."""
        self.skipped: dict[str, str] = {}
        """probes that could not run, and why"""
        for part in (self.schedule, self.limits, self.captures, self._stall_test, self._follow_up, self.snapshots):
            part.forget()
        self.memory = PlateauMemory()
        """what is kept of a diagnosis for the next check or the next diagnosis"""

    def notes(self) -> list[str]:
        """Return the notes of the report: on the effort, and on what was left out or skipped and why."""
        return [*self._verdicts.notes(), *self.limits.notes(), *notes_on_skipped(self.skipped)]

    @property
    def given(self) -> tuple[object, ...]:
        """The user's objects, which shallow copies of a monitor share."""
        return self._probes, self._scheduled, self._follow_up.probes, self._loss_fn

    def begin(self, module: nn.Module, horizon: int | None, stopwatch: Stopwatch, clock: Clock = SYSTEM_CLOCK) -> None:
        """Copy the initial weights, unless this run was resumed; and take its length and clock."""
        self.schedule.horizon = horizon
        self.limits.begin(stopwatch, clock)
        if not self.snapshots.has("initial") and self.schedule.latest == 0:
            self.snapshots.take("initial", module)

    def end(self) -> None:
        """Release the captured batches, and remove the files that no checkpoint needs."""
        self.probe_set.clear()
        self.snapshots.files.remove_all_but(())

    def plan(self, state: RunState, ahead: int) -> None:
        """Decide whether batches are captured for probes at the next check, `ahead` steps from now.

        A diagnosis that would continue at the next check is given up if the loss falls again.
        """
        self.memory.plan(state, diagnoses=bool(self._probes))
        due = (self._scheduled and self.schedule.due(state.steps + ahead)) or self._stall_test.due(state, ahead)
        soon = bool(self._probes) and state.may_stall_within(ahead)
        for_probes = bool(self.due_probes(state) or due or soon or self.captures_always)
        self.captures.plan(for_probes=for_probes, for_divergence=self.divergence.begins(state))

    def on_checkpoint(self) -> None:
        """Note that a checkpoint was written, so that the next scheduled measurement is due sooner."""
        self.schedule.checkpointed = True
        self.captures.on_checkpoint()

    def can_probe(self, state: RunState) -> bool:
        """Return whether probes may run at this check: batches were captured; if the loss has diverged, for that."""
        usable = self.captures.for_probes and state.progress.divergence is None and state.progress.finite
        return usable or self.divergence.due(state)

    def due_probes(self, state: RunState) -> tuple[Probe, ...]:
        """Return the probes that are due: all of them for a stalled loss, else those of the schedule."""
        if self.divergence.due(state):
            return self.divergence.probes_for(state)
        if state.stalled and (self._probes or self._scheduled):
            return distinct((*self._probes, *self._follow_up.probes, *self._scheduled))
        return distinct(self._scheduled) if self.schedule.due(state.steps) else ()

    def verdict(self, state: RunState, readings: Sequence[object], guard: Guard) -> Verdict | None:
        """Return the verdict of the detectors on this run and these readings; None where no detector returns one."""
        evidence = state.evidence(readings)
        if self._verdicts.uses_findings:
            guard.attempt("finding mistakes", lambda: state.enter_findings(evidence))
        return state.metrics.leading(self._verdicts.reached(evidence, guard))

    def check_host(self, host: Host, state: RunState, guard: Guard, *, tests: bool) -> None:
        """Test whether the loss stands still if that is due, copy the weights, and read the run if it is to be judged.

        A plateau that the test begins is diagnosed at the next check.
        """
        if tests and self._stall_test.due(state):
            self.skipped.update(self._stall_test(host, self.captures, state, guard))
        if (self._probes or self.divergence.probes) and state.progress.divergence is None and state.progress.finite:
            self.snapshots.relieve_memory()
            self.snapshots.take_recent(host.module, state.step, state.recent_losses)
            self._stall_test.take(host.module, state)
        check_host(host, state, self.snapshots)

    def within_budget(self, host: Host, state: RunState) -> bool:
        """Return whether the budget covers the probes that are due; if not, they wait until they are due again."""
        if self.memory.waits(host, self.limits.account.slice(state.steps)):
            return False
        reason = self.memory.reason(state.probe_reason)
        if self.divergence.due(state) or self.limits.cover(host, reason, state.steps, LEAST_MEASUREMENT):
            return True
        self.schedule.enter(state.steps)
        self._copy_weights(host, state)
        if state.stalled:
            state.postpone()
        return False

    def run(
        self, host: Host, probes: Sequence[Probe], guard: Guard, state: RunState, reason: ProbeReason | None = None
    ) -> list[object]:
        """Run probes and return their readings; none if the surface cannot be opened, with the reason in `skipped`.

        Afterwards the present weights are the anchor "previous", and "best" if the loss has never been lower. The next
        call returns the readings of a diagnosis that continues at the next check as well.

        Args:
            host: the run.
            probes: in the order in which they run, as `due_probes` returns them.
            guard: counts failures.
            state: the state of the run.
            reason: why the probes run; None for the reason that follows from the state.
        """
        self.schedule.enter(state.steps)
        self.captures.end_probes()
        diverged, diagnosing = self.divergence.due(state), any(probe in self._probes for probe in probes)
        budget, earlier, done = self.memory.begin(names := tuple(map(name_of, probes)), diagnosing=diagnosing)
        reason = ProbeReason.DIVERGENCE if diverged else reason or self.memory.reason(state.probe_reason)
        spending = self.limits.spending(reason, state.steps, budget)
        schedule, kept = state.progress.schedule, self.memory.kept(host.module) if diagnosing else None
        rate = None if schedule is None else schedule.typical
        runner = ProbeRunner(host, guard, spending, self._loss_fn, rate, kept, readings=[*earlier], done=done)
        runner.floor, runner.restart_order = floor_of(state), lambda so_far: restart_order(state.evidence(so_far))
        runner.anchor_steps = self.snapshots.steps
        runner.run(
            probes,
            self.probe_set if diverged else batches_for(spending.budget, self.probe_set, diagnosing=diagnosing),
            lambda: self.snapshots.points(weights_of(host.module), by_step=diverged and not grows(state)),
            lambda probe, so_far: diverged or self._is_due(probe, state, so_far),
            lambda probe: diagnosing and probe not in self._probes,
        )
        readings = runner.readings
        self.skipped |= runner.skipped | self.snapshots.skipped
        self.limits.note(runner.left_out, runner.measured)
        self._enter(readings[len(earlier) :], state)
        if diagnosing:
            self.memory.end(runner.underway(names), readings, runner.left_out.keys() & names)
        if self.memory.underway is None and not diverged:
            self._copy_weights(host, state)
        return self.memory.completed(readings) if diagnosing and self.memory.underway is None else readings

    def _copy_weights(self, host: Host, state: RunState) -> None:
        """Copy the present weights for later measurements."""
        loss = None if state.progress.level is None else state.progress.level.now
        self.snapshots.take_all(host.module, state.step, loss, on_path=bool(self._follow_up.probes))

    def _is_due(self, probe: Probe, state: RunState, readings: Sequence[object]) -> bool:
        """Return whether this probe should still run, after the readings of those before it.

        The probes of `EXAMINATION` run while the cause is open, those of `FIRST_LOOK` always, since a mistake that they
        find comes before any other cause, and follow-up probes where there will be a new alarm.
        """
        if probe in self._scheduled:
            return True
        if probe in self._probes:
            needed = probe in FIRST_LOOK or probe not in EXAMINATION
            evidence = state.evidence(readings)
            helps = not isinstance(probe, HessianExtremes) or needs_curvature(evidence)
            return needed or (helps and not self.memory.skips(probe) and self._verdicts.open(evidence))
        return probe not in self._follow_up.probes or self._follow_up.due(state, readings, self.schedule)

    def _enter(self, readings: Sequence[object], state: RunState) -> None:
        """Add new readings and their scalars to the state of the run."""
        enter_readings(state, state.step, readings)
        self._follow_up.enter(readings, state)
        scalars, refused = own_scalars(readings)
        state.scalars.update(scalars)
        self.skipped.update(refused)

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins and tensors."""
        return {
            **self.schedule.state_dict(),
            **self.captures.state_dict(),
            **self._follow_up.state_dict(),
            "stall_test": self._stall_test.state_dict(),
            "snapshots": self.snapshots.state_dict(),
            "account": self.limits.state_dict(),
            **self.memory.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.schedule.load_state_dict(state)
        self.captures.load_state_dict(state)
        self._follow_up.load_state_dict(state)
        self.snapshots.load_state_dict(state["snapshots"])
        self._stall_test.load_state_dict(state.get("stall_test", {}))  # version 0.1 had none
        self.limits.load_state_dict(state["account"])
        # A diagnosis that was begun with another effort is begun again.
        self.memory.load_state_dict(state, limited=self.limits.account.effort is not None)
