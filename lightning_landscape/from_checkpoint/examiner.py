"""A monitor that examines a run at the weights of a checkpoint, as if its loss had stopped falling there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_landscape._text import listed
from lightning_landscape.callbacks.landscape import LandscapeMonitor
from lightning_landscape.callbacks.views import HasNotes
from lightning_landscape.evidence import Cause, LossFloor, StartingPoint, Verdict
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.effort import Setting
from lightning_landscape.examination.probe_runner import ProbeRunner
from lightning_landscape.from_checkpoint.fit import Point, set_weights
from lightning_landscape.from_checkpoint.loading import StoredRun
from lightning_landscape.probes import starting_point
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.surface import LossSurface, Params
from lightning_landscape.tracking.loss_history import BLOCKS_PER_RUN, FIRST_HORIZON, MIN_BLOCK_STEPS
from lightning_landscape.tracking.unwatched import Unwatched, progress_after
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.lightning_host import LightningHost

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

STEPS = 32
"""optimizer steps that are taken, and undone, to measure gradients and updates and to draw batches"""
FAR = 2**31
"""a number of steps until a check that never comes"""
INITIAL_BATCHES = 8
"""most batches on which the loss at the initial weights is evaluated"""


class Examiner(LandscapeMonitor):
    """Takes a few steps from a checkpoint, undoes them, and makes a whole diagnosis at the weights of the checkpoint.

    The state of the run's own `LandscapeMonitor` is used if the checkpoint has one. Else new initial weights stand in
    for those of the run, and how the loss moved before stays unknown.

    Args:
        run: the run.
        effort: how much the diagnosis may compute: "standard" or "thorough".
        anchors: paths of other checkpoints, to which lines are drawn.
    """

    def __init__(self, run: StoredRun, *, effort: Setting = "standard", anchors: Sequence[str] = ()) -> None:
        super().__init__(effort=effort, anchors=("initial", "previous", "best", *anchors))
        self._recorder = StepRecorder(norm_every_n_steps=1, updates_every=1)
        self._run, self.answer = run, None
        self.watched = False
        """whether the state of the run's own monitor was used"""
        self._planned = 0
        self.examined = False
        """whether the diagnosis was made"""

    answer: Verdict | None
    """the verdict of the diagnosis; None before it, and where none was reached"""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Do nothing; `on_train_start` takes the state of the run's own monitor."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin from the state of the run's own monitor, or from initial weights that stand in for those of the run."""
        self._point, state = Point(trainer, pl_module), self._run.monitor_state
        self._planned = self._horizon(state)
        self._clear()
        known = state is None and set_weights(pl_module, self._run.initial)
        self._begin(_Host(trainer, pl_module, self._planned), trainer, state)
        self.watched = self._state.steps > 0
        if not known and not self.watched:  # the copy that was just made is no copy of initial weights
            self._examination.snapshots.load_state_dict({"points": {}, "best_loss": None})
        self._point.put_back()
        self._reporter = Reporter(None)
        self._steps_until_check = STEPS
        self._examination.limits.forget()
        self._examination.limits.begin(self._stopwatch, self.clock)
        self._examination.memory.forget()
        self._examination.captures.plan(for_probes=True, for_divergence=True)

    def _horizon(self, state: Mapping[str, Any] | None) -> int:
        """Return the length of the run: as given, as its monitor knew it, or twice what has passed."""
        if self._run.horizon is not None:
            return max(self._run.horizon, self._run.step)
        if state is not None:
            width = int(state.get("run", {}).get("progress", {}).get("history", {}).get("width", 0))
            if width > MIN_BLOCK_STEPS:
                return max(width * BLOCKS_PER_RUN, self._run.step)
        return max(FIRST_HORIZON, 2 * self._run.step)

    def _check(self, host: Host) -> None:
        """Undo the steps, and make the diagnosis."""
        self._steps_until_check = FAR
        host.stop()
        state, records = self._state, self._recorder.drain()
        self._point.put_back()
        self._recorder.detach()
        self._examination.limits.choose(host, None)
        if not self.watched:
            for record in records:
                state.update(record)
            floor = state.readings.latest(LossFloor)
            start = self._loss_at_initial_weights(host)
            state.progress = progress_after(
                Unwatched(self._run.step, self._horizon(None), start, _peak_rate(host)),
                records,
                None if floor is None else floor.lowest,
            )
            state.progress.horizon = self._run.horizon  # what is only assumed does not say how much of the run is over
            state.steps, state.step = self._run.step, max(0, self._run.step - 1)
        state.judged_at, state.asked = None, True
        with self._guard("running probes"):
            self._examine(host)
        if self.answer is None and state.progress.divergence is not None and state.verdicts:
            self.answer = state.verdicts[-1]  # of the run's own monitor, which has seen how it diverged
        self.examined = True

    def judge(self, readings: Sequence[object]) -> None:
        """Reach a verdict, which becomes the latest one of the run."""
        verdict = self._examination.verdict(self._state, readings, self._guard)
        self._state.postpone()
        if verdict is None or (self._state.optimizer_count > 1 and verdict.cause is not Cause.DIVERGED):
            return
        self.answer, earlier = verdict, self._state.verdicts
        if earlier and earlier[-1].cause is verdict.cause:
            earlier.pop()
        earlier.append(verdict)

    def _loss_at_initial_weights(self, host: Host) -> float | None:
        """Return the loss at the initial weights on captured batches; None if it cannot be evaluated."""
        initial = self._examination.snapshots.point("initial")
        if initial is None:
            return None
        points: Mapping[str, Params] = {"initial": initial}
        spending = self._examination.limits.spending(ProbeReason.REMEDY, self._run.step, None)
        runner = ProbeRunner(host, self._guard, spending)
        batches = self._examination.probe_set.latest(INITIAL_BATCHES)
        runner.run((_start,), batches, lambda: points, lambda probe, so_far: True, lambda probe: False)
        return next((reading.loss for reading in runner.readings if isinstance(reading, StartingPoint)), None)

    @property
    def _parts(self) -> tuple[HasNotes, ...]:
        return (*super()._parts[1:], self)

    @property
    def report(self) -> Report:
        """The report of the diagnosis; of a run that had no monitor, it does not say how many steps were watched."""
        report = super().report
        if self.watched or not self.examined:
            return report
        return Report(0, None, self.verdicts, report.to_dict()["notes"], report.document)

    @property
    def skipped(self) -> Mapping[str, str]:
        """What could not be measured, and why."""
        return self._examination.skipped

    def notes(self) -> list[str]:
        """Return a note on what was known of the run before the checkpoint."""
        if self.watched:
            return ["what the run's own LandscapeMonitor had seen was read from the checkpoint", *self._assumed()]
        unknown = ["how the loss moved before the checkpoint"]
        if self._examination.snapshots.has("initial"):
            unknown.append("the initial weights (the constructor has drawn new ones)")
        notes = [f"not known: {listed(unknown)}", *self._assumed()]
        if not self._run.resumes:
            notes.append("the checkpoint holds no state of the optimizer, so trials begin without one")
        return notes

    def _assumed(self) -> list[str]:
        """Return a note on the length of the run, if it was not given."""
        if self._run.horizon is not None:
            return []
        return [
            f"assumed: the whole run takes {self._planned:,} optimizer steps, of which {self._run.step:,} are over "
            "(give the true number with `--horizon STEPS`)"
        ]


def _start(surface: LossSurface) -> StartingPoint | None:
    """Return the loss at the initial and at the present weights."""
    return starting_point(surface)


def _peak_rate(host: Host) -> float:
    """Return the learning rate with which the schedule of the first optimizer began; 0 where it is unknown."""
    groups = host.optimizers[0].param_groups if host.optimizers else []
    return max((float(group.get("initial_lr", group.get("lr", 0.0))) for group in groups), default=0.0)


class _Host(LightningHost):
    """A run of which the length is known from elsewhere."""

    def __init__(self, trainer: Trainer, pl_module: LightningModule, horizon: int) -> None:
        super().__init__(trainer, pl_module)
        self._steps = horizon

    def horizon(self, past: int) -> int | None:
        """Return the number of optimizer steps of the whole run without the first `past`."""
        return max(1, self._steps - past)
