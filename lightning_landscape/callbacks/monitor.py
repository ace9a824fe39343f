"""`Monitor`: the base class of the public monitors, through whose parts the data goes one way.

hooks → StepRecorder → RunState → stalled? → Examination → Evidence → Verdict → Reporter
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.callbacks.asking import Asking
from lightning_landscape.callbacks.guarded_hook import guarded
from lightning_landscape.callbacks.latest import enter_ended_fit
from lightning_landscape.callbacks.logged_scalars import logged
from lightning_landscape.callbacks.metric_hooks import Declared, MetricHooks
from lightning_landscape.callbacks.views import NO_STEP_YET, document_of, named
from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.errors import ProbeSkippedWarning
from lightning_landscape.evidence import Verdict, merged
from lightning_landscape.examination import naming, saved_state
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.fault_guard import Guard, while_an_error_ends_the_run
from lightning_landscape.examination.fit_start import FitStart
from lightning_landscape.examination.host_readings import read_optimizers
from lightning_landscape.examination.remedy_runner import RemedyRunner
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.recording.intervals import BATCHES_WITHOUT_STEP, Intervals
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.recording.step_buffer import averaged_over_ranks
from lightning_landscape.remedies import Remedy
from lightning_landscape.reporting.messages import NO_STEPS, category, message
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.surface import Probe
from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.lightning_host import LightningHost

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.utilities.types import STEP_OUTPUT
    from matplotlib.figure import Figure


class Monitor(MetricHooks):
    """Watches every optimizer step, runs probes when the loss has stalled, and reports one verdict for each plateau.

    A monitor of your own overrides `scalars`, `figures`, `judge`, `warn` or `after_check`; see docs/extending.md.

    Args:
        examination: the probes and when they run; None for no probes.
        recorder: what is measured at each optimizer step; None for losses and updates without gradient norms.
        remedies: functions that are called once for each alarm.
        settings: the arguments of the monitor, by which Lightning tells the states of two monitors apart.
        dirpath: directory of the events and the report; "" for that of the first logger with files, None for no files.
        metrics: the metrics to judge, and the mode of each, "min" or "max"; None to watch none, not even validation.
    """

    clock: Clock = SYSTEM_CLOCK
    """The clock; replace it before a fit to test a run."""

    def __init__(
        self,
        examination: Examination | None = None,
        *,
        recorder: StepRecorder | None = None,
        remedies: Sequence[Remedy] = (),
        settings: Mapping[str, Any] | None = None,
        dirpath: str | None = None,
        metrics: Declared | None = None,
    ) -> None:
        super().__init__(settings or {}, metrics)
        self._recorder, self._dirpath = recorder or StepRecorder(norm_every_n_steps=None), dirpath
        self._examination, self._remedy_runner = examination or Examination(), RemedyRunner(remedies)
        self._examination.captures_always = self._remedy_runner.needs_batches
        self._clear()

    def scalars(self, record: StepRecord) -> Mapping[str, float]:
        """Return the scalars that are known after this step, by their names under ``landscape/``."""
        return {}

    def figures(self) -> Mapping[str, Figure]:
        """Return the figures, drawn now, by their names under ``landscape/``."""
        return {}

    def judge(self, readings: Sequence[object]) -> None:
        """Reach a verdict on a run that has stalled or diverged, and report it if it is new."""
        verdict = self._asking.heard(self._examination.verdict(self._state, readings, self._guard), self._state)
        if verdict is None or not self._state.accepts(verdict):
            self._state.postpone()
        elif self._state.judge(verdict):
            self._reporter.verdict(verdict)
            if verdict.stuck:
                self.warn(verdict)

    def warn(self, verdict: Verdict) -> None:
        """Warn of an alarm."""
        self._reporter.warn(message(verdict), category(verdict), verdict.brief)

    def after_check(self) -> None:
        """Do nothing; a subclass may act on the run after each check."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to watch a fit, and continue from a state if one was loaded for it."""
        loaded, self._loaded = self._loaded, None
        self._clear()
        with self._guard("starting"):
            self._begin(LightningHost(trainer, pl_module), trainer, loaded)

    @guarded("capturing batches")
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Time the batch, and capture a copy of it where probes may follow."""
        self._stopwatch.begin_batch()
        if self._examination.captures(self._steps_until_check - self._recorder.waiting):
            self._examination.probe_set.capture(pl_module, batch, batch_idx)
        self._examination.first_look.capture(pl_module, batch, batch_idx, self._recorder.groups_version)
        self._read_steps(trainer, pl_module, batch_idx)

    @guarded("recording")
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Record the loss of a step in manual optimization."""
        self._recorder.before_backward(loss)

    @guarded("recording")
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Measure the gradient before it is clipped."""
        self._recorder.before_step(optimizer)

    @guarded("recording")
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Complete the record of the step, and make a check when one is due."""
        left = self._steps_until_check - self._recorder.end_batch(outputs)
        if self._examination.captures(left):
            self._examination.probe_set.capture_drawn(batch, batch_idx)
        look, version = self._examination.first_look, self._recorder.groups_version
        if look.due(version) and self._recorder.saw_optimizer and look.capture_drawn(batch, batch_idx):
            self._state.kept_gradients = self._recorder.zeroing.kept
            with self._stopwatch.spending():
                look(LightningHost(trainer, pl_module), version, self._state, self._guard, self._reporter)
        batches = self._stopwatch.end_batch()
        if not self._recorder.saw_optimizer and batches == BATCHES_WITHOUT_STEP * trainer.accumulate_grad_batches:
            self._guard.attempt("warning", lambda: self._warn_once("LL101", NO_STEPS))
        if left <= 0:
            self._check(LightningHost(trainer, pl_module))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Finish after an error in training, without waiting for other ranks."""
        with while_an_error_ends_the_run():
            self._finish(f"stopped by {type(exception).__name__}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finish, if no other hook has done so."""
        self._finish()

    def _clear(self) -> None:
        self._guard, self._reporter, self._state, self._intervals = Guard(), Reporter(None), RunState(), Intervals()
        self._recorder.forget()
        self._examination.forget()
        self._stopwatch, self._asking, self._watching, self._overhead = Stopwatch(self.clock), Asking(), False, 0.0

    def _begin(self, host: Host, trainer: Trainer, loaded: Mapping[str, Any] | None) -> None:
        # Without a loaded state, the horizon is that of the remaining steps, since the earlier ones are unknown.
        self._intervals = Intervals(host.horizon(0 if loaded else host.step))
        self._stopwatch = Stopwatch(self.clock, self._intervals.horizon)
        self._reporter = Reporter(host.loggers if host.is_first_rank else None, self._dirpath, self.clock)
        self._recorder.attach(host, self._intervals)
        start = FitStart.of(host.module, host.step)
        self._state = RunState(self._intervals.horizon, self._recorder.groups, start, self._declared)
        if loaded and not saved_state.restore(loaded, self._observed):
            self._clear()
            self._begin(host, trainer, None)
            return
        read_optimizers(host, self._state)
        self._steps_until_check = self._intervals.steps_until_check(self._state.steps)
        self._examination.snapshots.files.find_folder(host, self._reporter.folder)
        self._examination.begin(host.module, self._intervals.horizon, self._stopwatch, self.clock)
        self._reporter.begin(self._state.step, horizon=self._intervals.horizon, groups=self._recorder.groups)
        self._examination.first_look.begin(self._state.findings, self._recorder.groups_version)
        if not loaded:
            self._examination.plan(self._state, self._steps_until_check)
        self._watching = True
        self._report_on_fit(trainer, whole_run=self._dirpath is not None)
        # Other callbacks may monitor the scalars from the first step on.
        host.publish(self._named_scalars(NO_STEP_YET))

    def _check(self, host: Host) -> None:
        """Read the records since the last check, run the probes that are due, and judge a stalled run."""
        with self._stopwatch.spending():
            with self._guard("reading the records"):
                drained, asked = self._recorder.drain(), self._asking.look(self._reporter.folder)
                records, self._overhead, asked = averaged_over_ranks(host, drained, self._stopwatch.overhead, asked)
                self._examination.limits.choose(host, self._stopwatch.batch_seconds)
                host.publish(self._enter(records, host.log_every_n_steps))
                self._asking.enter(asked, self._state, self._reporter)
            with self._guard("running probes"):
                self._examination.snapshots.files.find_folder(host, self._reporter.folder)
                self._examine(host)
                self._asking.end_check(self._state, self._examination, self._reporter)
                self._reporter.records(lambda: document_of(self._state, self._stopwatch), self._state.step)
            self._remedy_runner(host, self._state, self._examination, self._guard, self._reporter)
            self._steps_until_check = self._intervals.steps_until_check(self._state.steps)
            self._guard.attempt("planning", lambda: self._examination.plan(self._state, self._steps_until_check))

    def _examine(self, host: Host) -> None:
        """Run the probes that are due, if batches were captured, and judge a run that has stalled or diverged."""
        state, examination = self._state, self._examination
        probes, can_probe = examination.due_probes(state), examination.can_probe(state)
        state.kept_gradients = self._recorder.zeroing.kept
        stalled, ready = state.stalled, can_probe or not probes
        examination.check_host(host, state, self._guard, tests=can_probe and not probes)
        if probes and can_probe and not examination.within_budget(host, state):
            probes, stalled = (), False
        readings = self._probe(host, probes) if probes and can_probe else []
        underway = examination.memory.underway is not None
        if state.shows_player or examination.divergence.may_judge(state) or (stalled and ready and not underway):
            self.judge(readings)
        self._end_check()
        if readings and examination.limits.may_draw(state.steps, verdict=state.judged_at == state.steps):
            self._draw(self.figures)

    def _end_check(self) -> None:
        """Report an escape from a plateau with an alarm, and call `after_check`."""
        if (alarm := self._state.escaped()) is not None:
            self._reporter.escaped(alarm, self._state.step)
        self._state.mark()
        self._guard.attempt(f"{type(self).__name__}.after_check", self.after_check)

    def _enter(self, records: Sequence[StepRecord], log_every: int) -> dict[str, float]:
        """Add the records to the state, log the scalars, and return the latest value of every scalar."""
        self._stopwatch.count(len(records))
        for record in records:
            self._state.update(record)
            if log_every and (record.step + 1) % log_every == 0:
                self._reporter.scalars(logged(self._named_scalars(record), self._log_scalars, self._state), record.step)
        measured = [record for record in records if record.grad_norm is not None]
        return dict(pair for record in (*measured[-1:], *records[-1:]) for pair in self._named_scalars(record).items())

    def _named_scalars(self, record: StepRecord) -> dict[str, float]:
        """Return the scalars at this step, by the names under which they are logged; count an error of `scalars`."""
        scalars = named(self._state.scalars | self._state.metrics.scalars)
        self._guard.attempt(f"{type(self).__name__}.scalars", lambda: scalars.update(named(self.scalars(record))))
        return scalars

    def _probe(self, host: Host, probes: Sequence[Probe]) -> list[object]:
        before, state = set(self._examination.skipped), self._state
        with self._reporter.waiting("measuring the loss surface"):
            readings = self._examination.run(host, probes, self._guard, state)
        host.publish(named(state.scalars))
        self._reporter.readings(state.step, merged(readings))
        for what in (skipped := self._examination.skipped).keys() - before:
            self._reporter.warn(f"[LL301] {naming.in_words(what)} is skipped: {skipped[what]}", ProbeSkippedWarning)
        return readings

    def _finish(self, status: str = "ended") -> None:
        self._loaded = None  # loaded for a validation, or for a fit that never began
        self._guard.attempt("detaching", self._recorder.detach)
        if not self._watching:
            return
        self._watching, self._state.status = False, status
        with self._stopwatch.spending():
            with self._guard("finishing"):
                self._enter(self._recorder.drain(), 0)
                self._state.progress.finish()
                # A plateau is not judged without the readings of its probes; advice would come too late for this run.
                underway, due = self._examination.memory.underway, self._examination.due_probes(self._state)
                stalled = self._state.stalled and (underway is not None or not due)
                if self._state.diverged or stalled or self._state.shows_player:
                    self.judge(() if underway is None else underway.readings)
                self._end_check()
                self._remedy_runner.finish(self._state, self._reporter)
            self._draw(self.figures, last=True)
        self._stopwatch.end()
        self._guard.attempt("reporting", lambda: self._reporter.end(self._state.step, self.report, status))
        self._examination.end()
        self._guard.attempt("reporting", lambda: enter_ended_fit(self._lineage.end(self._parts)))
