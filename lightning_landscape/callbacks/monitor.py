"""The one place where Lightning's hooks become data that flows one way.

    hooks → StepRecorder → RunState → stalled? → Examination → Evidence → Verdict → reporter

A public monitor is a `Monitor` that has chosen what is recorded and examined, what is shown, and what it warns of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lightning_landscape.callbacks.copies import Reporting, WatchedFit
from lightning_landscape.callbacks.latest import ended
from lightning_landscape.callbacks.views import document_of, named
from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.errors import LandscapeWarning, ProbeSkippedWarning
from lightning_landscape.evidence import Cause, Verdict
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.fault_guard import Guard, guarded, last_words
from lightning_landscape.examination.remedy_runner import Remedying
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.recording.intervals import WITHOUT_STEPS, Intervals
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.recording.step_buffer import averaged_over_ranks
from lightning_landscape.reporting.messages import NO_STEPS, category, message
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.tracking.progress import StepRecord
from lightning_landscape.trainer._compat import logger_step
from lightning_landscape.trainer.optimizer_coverage import optimizer_coverage
from lightning_landscape.trainer.queries import horizon_of, published, state_of_another, taken_up


class Monitor(Reporting):
    """Watches every optimizer step, examines the loss surface when the loss has stalled, and says what it found once.

    Args:
        recorder: what is measured of a step.
        examination: the probes, the batches and the points that they use, and how often they run unasked.
        settings: the arguments of the public monitor, by which Lightning tells two instances apart.
    """

    clock: Clock = SYSTEM_CLOCK
    """What tells the time; replace it before a fit, for a replay or a test."""

    def __init__(self, recorder: StepRecorder, examination: Examination, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self._state_key = self._generate_state_key(**{name: str(value) for name, value in settings.items()})
        self._recorder = recorder
        self._examination = examination
        self._remedying = Remedying(())
        self._folder: str | None = None  # the events and the report of the run are another monitor's
        self._loaded: dict[str, Any] | None = None
        self._clear()

    def _scalars(self, record: StepRecord) -> dict[str, float]:
        """Numbers under ``landscape/`` that are known after this step; those that are not finite are left out."""
        return {}

    def _pictures(self) -> Mapping[str, Any]:
        """Figures by name, drawn now."""
        return {}

    def _judge(self, readings: Sequence[object]) -> None:
        """What to make of a run that has just stalled or diverged: a verdict."""
        verdict = self._examination.verdict(self._state, readings, self._guard)
        if verdict is None or (self._state.players > 1 and verdict.cause is not Cause.DIVERGED):
            self._state.postpone()  # the losses of several players need not fall
        elif self._state.judge(verdict):
            self._reporter.verdict(verdict)
            if verdict.stuck:
                self._warn(verdict)

    def _warn(self, verdict: Verdict) -> None:
        self._reporter.warn(message(verdict), category(verdict))

    def _look(self) -> None:
        """Look at what was watched, whenever a stretch of steps has come in."""

    @property
    def state_key(self) -> str:
        """The class and its settings, so that two instances do not share a state."""
        return self._state_key

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin to watch; a state that was loaded for this fit is continued, anything older is forgotten."""
        loaded, self._loaded = self._loaded, None
        self._clear()
        with self._guard("starting"):
            self._begin(trainer, pl_module, loaded)

    @guarded("keeping batches")
    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Time the batch, and keep a copy of it where a probe may follow."""
        self._stopwatch.begin_batch()
        if self._examination.captures(self._steps_until_check - self._recorder.waiting):
            keep = self._examination.probe_set.capture
            self._guard.attempt("keeping batches", lambda: keep(pl_module, batch, batch_idx))

    @guarded("recording")
    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """See which loss a manual step follows."""
        self._recorder.before_backward(loss)

    @guarded("recording")
    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure the gradient before it is clipped."""
        self._recorder.before_step(optimizer)

    @guarded("recording")
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Close the step; every so many steps, look at what they were."""
        left = self._steps_until_check - self._recorder.end_batch(outputs)
        if self._examination.captures(left):
            self._examination.probe_set.capture_drawn(batch, batch_idx)
        batches = self._stopwatch.end_batch()
        if not self._recorder.met and batches == WITHOUT_STEPS * trainer.accumulate_grad_batches:
            self._guard.attempt("warning", lambda: self._warn_once("LL101", NO_STEPS))
        if left <= 0:
            self._process(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Remember that a checkpoint was written: the loss on the way to it is of interest."""
        self._examination.on_checkpoint()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Look at the last steps, without probes: other callbacks may be swapping weights here."""
        self._finish()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Keep what was seen and let go of everything; no other rank is spoken to from here."""
        with last_words():
            self._finish(f"stopped by {type(exception).__name__}")

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Let go of everything, if nothing else came before."""
        self._finish()

    def state_dict(self) -> dict[str, Any]:
        """What was observed, in builtins and tensors; settings are not part of it."""
        if self._loaded is not None:
            return self._loaded
        state: dict[str, Any] = {}
        with self._guard("saving"):
            state.update({name: part.state_dict() for name, part in self._observed.items()})
        return state

    @property
    def _observed(self) -> dict[str, Any]:
        return {"recorder": self._recorder, "seen": self._state, "examination": self._examination}

    def on_load_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Where the checkpoint knows this monitor by other settings only, take up what that one has seen."""
        self._loaded = state_of_another(self, trainer.callbacks, checkpoint.get("callbacks"))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state for the fit that is about to begin."""
        self._loaded = state_dict

    def _clear(self) -> None:
        self._guard, self._reporter, self._state = Guard(), Reporter(None), RunState()
        self._recorder.forget()
        self._examination.forget()
        self._intervals, self._stopwatch = Intervals(), Stopwatch(self.clock)
        self._watching, self._overhead = False, 0.0

    def _begin(self, trainer: Any, pl_module: Any, loaded: Mapping[str, Any] | None) -> None:
        # A fit that goes on from another, of which nothing is known here, has only the rest of the run before it.
        self._intervals = Intervals(horizon_of(trainer, 0 if loaded else logger_step(trainer)))
        self._stopwatch = Stopwatch(self.clock, self._intervals.horizon)
        self._reporter = Reporter(trainer.loggers if trainer.is_global_zero else None, self._folder, self.clock)
        self._recorder.attach(trainer, pl_module, self._intervals)
        self._state = RunState(self._intervals.horizon, self._recorder.groups)
        if loaded and not taken_up(loaded, **self._observed):
            self._clear()
            self._begin(trainer, pl_module, None)
            return
        self._state.players = len(trainer.optimizers)
        self._state.coverage = optimizer_coverage(trainer, pl_module)
        self._steps_until_check = self._intervals.steps_until_check(self._state.steps)
        self._examination.begin(pl_module, self._intervals.horizon, self._stopwatch, self.clock)
        self._reporter.begin(self._state.step, horizon=self._intervals.horizon, groups=self._recorder.groups)
        if not loaded:
            self._examination.plan(self._state, self._steps_until_check)
        nothing = StepRecord(0, 0, None, 0.0, stepped=False)  # other callbacks monitor it from the first step on
        trainer.callback_metrics.update(published(named(self._state.scalars | self._scalars(nothing))))
        self._watching = True
        whole = self._folder is not None
        self._lineage.begin(WatchedFit(self._state, (self._stopwatch, self._guard), trainer, whole=whole))

    def _process(self, trainer: Any, pl_module: Any) -> None:
        """Everything that follows from the steps since the last time."""
        batch_seconds = self._stopwatch.batch_seconds
        with self._stopwatch.spending():
            with self._guard("watching"):
                records, self._overhead = averaged_over_ranks(trainer, self._recorder.drain(), self._stopwatch.overhead)
                self._examination.limits.choose(trainer, batch_seconds)
                trainer.callback_metrics.update(published(self._watch(records, trainer.log_every_n_steps)))
            with self._guard("examining"):
                self._examine(trainer, pl_module)
                self._reporter.records(lambda: document_of(self._state), self._state.step)
            self._remedying(trainer, pl_module, self._state, self._examination, self._guard, self._reporter)
            self._steps_until_check = self._intervals.steps_until_check(self._state.steps)
            self._guard.attempt("planning", lambda: self._examination.plan(self._state, self._steps_until_check))

    def _examine(self, trainer: Any, pl_module: Any) -> None:
        """Probe, if batches have been kept for it, and judge a run that has stalled or diverged."""
        probes, progress = self._examination.due_probes(self._state), self._state.progress
        self._state.coverage = (
            optimizer_coverage(trainer, pl_module, progress.travelled) if self._state.stalled else self._state.coverage
        )
        sound = self._examination.captures_batches and progress.divergence is None and progress.finite
        stalled, ready = self._state.stalled, sound or not probes
        if probes and sound and not self._examination.covered(trainer, self._state):
            probes, stalled = (), False
        readings = self._probe(trainer, pl_module, probes) if probes and sound else []
        if self._state.diverged or (stalled and ready and self._examination.underway is None):
            self._judge(readings)
        self._part()
        judged = self._state.judged_at == self._state.steps
        if readings and self._examination.limits.draws(self._state.steps, verdict=judged):
            self._guard.attempt("drawing", lambda: self._reporter.pictures(self._pictures, self._state.step))

    def _part(self) -> None:
        """Take back an alarm that the run has left behind, and let a monitor look at what came in."""
        if (left := self._state.escaped()) is not None:
            self._reporter.escaped(left, self._state.step)
        self._state.mark()
        self._look()

    def _watch(self, records: Sequence[StepRecord], log_every: int) -> dict[str, float]:
        """Take the steps in, log those whose turn it is, and return the latest value of every scalar."""
        self._stopwatch.count(len(records))
        measured: list[StepRecord] = []
        for record in records:
            self._state.update(record)
            measured = measured if record.grad_norm is None else [record]
            if log_every and (record.step + 1) % log_every == 0:
                self._reporter.scalars(named(self._state.scalars | self._scalars(record)), record.step)
        values = [self._state.scalars, *(self._scalars(record) for record in (*measured, *records[-1:]))]
        return dict(pair for scalars in values for pair in named(scalars).items())

    def _probe(self, trainer: Any, pl_module: Any, probes: Sequence[Any]) -> list[object]:
        before, state = set(self._examination.skipped), self._state
        with self._reporter.waiting("examining the loss surface"):
            readings = self._examination.run(trainer, pl_module, probes, self._guard, state)
        trainer.callback_metrics.update(published(named(state.scalars)))
        self._reporter.readings(state.step, readings)
        for what in self._examination.skipped.keys() - before:
            self._reporter.warn(f"[LL301] {what} is skipped: {self._examination.skipped[what]}", ProbeSkippedWarning)
        return readings

    def _warn_once(self, code: str, text: str, kind: type[Warning] = LandscapeWarning) -> None:
        """Say something once per fit."""
        if code not in self._state.announced_codes:
            self._state.announced_codes.append(code)
            self._reporter.warn(text, kind)

    def _finish(self, status: str = "ended") -> None:
        self._loaded = None  # read for a validation, or for a fit that never began
        self._guard.attempt("letting go", self._recorder.detach)
        if not self._watching:
            return
        self._watching = False
        self._stopwatch.end()
        with self._guard("finishing"):
            self._watch(self._recorder.drain(), 0)
            self._state.progress.finish()
            # What probes have yet to look at stays unjudged: there is nothing more to save in this run.
            begun = self._examination.underway
            stalled = self._state.stalled and (begun is not None or not self._examination.due_probes(self._state))
            if self._state.diverged or stalled:
                self._judge(() if begun is None else begun.readings)
            self._part()
            self._remedying.finish(self._state, self._reporter)
        self._guard.attempt("reporting", lambda: self._reporter.end(self._state.step, self.report, status))
        self._guard.attempt("drawing", lambda: self._reporter.pictures(self._pictures, self._state.step, last=True))
        self._examination.end()
        self._guard.attempt("reporting", lambda: ended(self._lineage.end(self._parts)))
