"""Verdicts on plateaus: when one is due, whether it is new, when its plateau ends; and the same in a resumed run."""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import GradientNormMonitor, LandscapeMonitor, PlateauMonitor
from lightning_landscape.callbacks.views import document_of
from lightning_landscape.diagnosis import diagnose
from lightning_landscape.errors import DivergenceWarning
from lightning_landscape.evidence import Cause, Evidence, InputUse, LossLevel, Trend, Trials, Verdict
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.fit_start import FitStart
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.recording.step_buffer import averaged_over_ranks
from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.trainer.lightning_host import LightningHost

HORIZON = 4000
STRIDE = 20


class Watcher:
    """A monitor without a trainer, which checks every `STRIDE` steps and keeps a list of what it would report."""

    def __init__(self, horizon=HORIZON, readings=()):
        self.state, self.readings = RunState(horizon), readings
        self.reported = []

    def step(self, loss):
        self.state.update(StepRecord(self.state.steps, 0, loss, learning_rate=0.1, stepped=True))
        if self.state.steps % STRIDE == 0:
            self.check()

    def check(self):
        if self.state.stalled or self.state.diverged:
            verdict = diagnose(self.state.evidence(self.readings))
            if self.state.judge(verdict):
                self.reported.append((self.state.steps, str(verdict.cause), verdict.stuck))
        alarm = self.state.escaped()
        if alarm is not None:
            self.reported.append((self.state.steps, "escaped", False))

    def feed(self, losses):
        for loss in losses:
            self.step(loss)
        return self

    def resumed(self):
        """Return the watcher of a run that resumes from a checkpoint of this one."""
        other = Watcher(self.state.progress.horizon, self.readings)
        other.state.load_state_dict(json.loads(json.dumps(self.state.state_dict())))
        other.reported = list(self.reported)
        return other

    @property
    def alarms(self):
        return [cause for _, cause, stuck in self.reported if stuck]

    @property
    def causes(self):
        return [cause for _, cause, _ in self.reported]


def noise(step, size):
    return size * math.sin(12.9898 * step * step)


def flat(level, steps, size=0.001):
    return [level + noise(step, size) for step in range(steps)]


def fall(start, end, steps):
    return [start + (end - start) * step / steps for step in range(steps)]


UNUSED = InputUse(loss=2.3, shuffled=2.3, moved=0.0, varied=True)
RESCUED = Trials({"adam": 0.5}, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64)


def test_a_stuck_run_raises_one_alarm_however_long_it_lasts():
    watcher = Watcher().feed(flat(2.3, 4000))
    assert watcher.alarms == ["undecided"]
    assert [v.cause for v in watcher.state.verdicts] == [Cause.UNDECIDED]


def test_only_an_alarm_that_names_a_cause_replaces_an_undecided_one():
    state, undecided = plateau(RunState(HORIZON), 400), verdict_of(Cause.UNDECIDED, 400, 0, stuck=True)
    assert state.judge(undecided)
    assert not state.judge(verdict_of(Cause.UNDECIDED, 800, 0, stuck=True))
    assert not state.judge(verdict_of(Cause.UNDECIDED, 1600, 0, stuck=False))
    assert not state.judge(verdict_of(Cause.SETTLED, 1600, 0, stuck=False))
    assert state.verdicts == [undecided]
    named = verdict_of(Cause.NOTHING_TO_LEARN, 3200, 0, stuck=True)
    assert state.judge(named)
    assert state.verdicts == [named]
    assert not plateau(state, 4000).stalled


def test_an_undecided_alarm_of_an_earlier_plateau_is_kept():
    state, undecided = plateau(RunState(HORIZON), 400), verdict_of(Cause.UNDECIDED, 400, 0, stuck=True)
    state.judge(undecided)
    state.judged_at = None
    later = verdict_of(Cause.SADDLE_POINT, 2000, 1900, stuck=True)
    assert state.judge(later)
    assert state.verdicts == [undecided, later]


@pytest.mark.parametrize(("now", "is_new"), [(2.2, True), (2.24, False), (2.5, False), (None, False)])
def test_a_plateau_of_the_same_cause_soon_after_an_alarm_is_new_where_the_loss_is_lower(now, is_new):
    def at(level):
        return Evidence() if level is None else Evidence(LossLevel(2.4, level, level))

    state = plateau(RunState(HORIZON), 400)
    assert state.judge(replace(verdict_of(Cause.SADDLE_POINT, 400, 0, stuck=True), evidence=at(2.3)))
    state.judged_at = None
    assert state.judge(replace(verdict_of(Cause.SADDLE_POINT, 700, 600, stuck=True), evidence=at(now))) is is_new
    assert len(state.verdicts) == 1 + is_new


def test_a_verdict_without_alarm_soon_after_the_same_one_is_not_new_although_the_loss_is_lower():
    state = plateau(RunState(HORIZON), 400)
    for step, level in ((400, 2.3), (700, 1.2)):
        known = Evidence(LossLevel(2.4, level, level))
        is_new = state.judge(replace(verdict_of(Cause.SETTLED, step, step - 100, stuck=False), evidence=known))
        assert is_new is (step == 400)
        state.judged_at = None


def test_an_escape_from_a_plateau_with_an_alarm_is_reported_once():
    watcher = Watcher().feed([*flat(2.3, 800), *fall(2.3, 0.3, 1600)])
    assert watcher.causes == ["undecided", "undecided", "escaped"]  # quiet until a tenth of the run has passed
    assert watcher.alarms == ["undecided"]
    assert watcher.state.judged_at is None


def test_where_noise_hides_a_plateau_a_second_first_diagnosis_needs_a_loss_that_has_fallen():
    watcher, begun, fell = Watcher(), [], []
    generator = random.Random(0)
    for step in range(HORIZON):
        judged = watcher.state.judged_at
        mean = 1.0 if step < 100 else 0.6 + 0.2 * math.sin(step / 100)  # to and fro around what counts as high
        watcher.step(mean + generator.gauss(0, 0.6))
        begun += [step] if judged is None and watcher.state.judged_at is not None else []
        fell += [step] if watcher.state.progress.falls else []
    assert len(begun) > 1
    assert all(any(earlier < step < later for step in fell) for earlier, later in itertools.pairwise(begun))


@pytest.mark.parametrize(("stands", "alarms"), [(160, []), (800, ["undecided"])])
def test_a_pause_of_less_than_a_tenth_of_the_run_is_no_alarm_without_a_cause(stands, alarms):
    assert Watcher().feed([*flat(2.3, stands), *fall(2.3, 0.3, 1600)]).alarms == alarms


def test_a_plateau_that_may_be_noise_gets_no_verdict_without_a_cause_and_one_that_is_proven_does():
    state = RunState(10_000)
    opening = Trend(100, level=1.0, progress=0.0, margin=0.03, tolerance=0.018)
    assert (opening.seems_stalled, opening.stalled) == (True, False)
    plateau(state, 100)
    state.progress.since, state.progress.opening, state.progress.proven = 0, opening, False
    assert not state.judge(verdict_of(Cause.UNDECIDED, 100, 0, stuck=False))
    assert state.verdicts == []
    state.progress.proven = True
    assert state.judge(verdict_of(Cause.UNDECIDED, 100, 0, stuck=False))


@pytest.mark.parametrize("continues", [True, False])
def test_a_fit_that_continues_gets_no_undecided_without_alarm_from_a_test_on_the_same_batches_alone(continues):
    state = RunState(10_000, start=FitStart(known=not continues))
    opening = Trend(100, level=1.0, progress=0.0, margin=0.01, tolerance=0.018)
    assert opening.stalled
    plateau(state, 100)
    state.progress.since, state.progress.opening, state.progress.proven = 0, opening, False
    state.progress.level = LossLevel(1.0, 1.0, 1.0)
    assert state.judge(verdict_of(Cause.UNDECIDED, 100, 0, stuck=False)) is not continues
    assert state.judge(verdict_of(Cause.UNDECIDED, 100, 0, stuck=True))


def test_an_escape_from_a_plateau_without_an_alarm_is_not_reported():
    watcher = Watcher().feed([*fall(2.3, 1.2, 1000), *flat(1.2, 1000), *fall(1.2, 0.3, 1000)])
    assert watcher.causes == ["undecided"]  # without probes, too little is tested to call a loss settled


def test_a_second_plateau_far_from_the_first_has_its_own_verdict():
    watcher = Watcher(readings=[UNUSED, RESCUED]).feed([*flat(2.3, 800), *fall(2.3, 1.3, 1200), *flat(1.3, 1000)])
    assert watcher.causes == ["saddle_point", "escaped", "saddle_point"]
    assert len(watcher.state.verdicts) == 2
    assert watcher.state.verdicts[0].since < 200
    assert watcher.state.verdicts[1].since > 1500


def verdict_of(cause, step, since, *, stuck):
    return Verdict(cause, step, since, stuck=stuck, reason="")


def plateau(state, steps):
    """Return the state after this many more steps of a plateau."""
    for _ in range(steps):
        state.update(StepRecord(state.steps, 0, 2.3, learning_rate=0.1, stepped=True))
    return state


def test_a_plateau_that_begins_soon_after_an_alarm_of_the_same_cause_is_the_same():
    state = plateau(RunState(HORIZON), 400)
    assert state.judge(verdict_of(Cause.SADDLE_POINT, 400, 0, stuck=True))
    state.judged_at = None  # the loss fell for a short time
    assert not state.judge(verdict_of(Cause.SADDLE_POINT, 700, 799, stuck=True))
    assert len(state.verdicts) == 1
    state.judged_at = None
    assert state.judge(verdict_of(Cause.SADDLE_POINT, 900, 800, stuck=True))
    assert len(state.verdicts) == 2


def test_after_a_short_fall_another_cause_or_a_first_alarm_is_new():
    for first, second in (
        (verdict_of(Cause.SADDLE_POINT, 400, 0, stuck=True), verdict_of(Cause.FLAT_REGION, 500, 450, stuck=True)),
        (verdict_of(Cause.UNDECIDED, 400, 0, stuck=False), verdict_of(Cause.UNDECIDED, 500, 450, stuck=True)),
    ):
        state = plateau(RunState(HORIZON), 400)
        assert state.judge(first)
        state.judged_at = None
        assert state.judge(second)
        assert state.verdicts == [first, second]


def test_within_a_plateau_an_alarm_replaces_a_verdict_without_alarm():
    state = plateau(RunState(HORIZON), 400)
    assert state.judge(verdict_of(Cause.SETTLED, 400, 0, stuck=False))
    assert not state.judge(verdict_of(Cause.SETTLED, 800, 0, stuck=False))
    assert state.judge(verdict_of(Cause.POOR_MINIMUM, 1200, 0, stuck=True))
    assert [verdict.cause for verdict in state.verdicts] == [Cause.POOR_MINIMUM]


def test_an_earlier_plateau_keeps_its_verdict():
    state = plateau(RunState(HORIZON), 400)
    state.judge(verdict_of(Cause.SETTLED, 400, 0, stuck=False))
    state.judged_at = None
    state.judge(verdict_of(Cause.SLOW, 2000, 1900, stuck=False))
    state.judge(verdict_of(Cause.SADDLE_POINT, 2400, 1900, stuck=True))
    assert [verdict.cause for verdict in state.verdicts] == [Cause.SETTLED, Cause.SADDLE_POINT]


@pytest.mark.parametrize(
    ("cause", "stuck", "again"),
    [(Cause.SETTLED, False, True), (Cause.SADDLE_POINT, True, False), (Cause.UNDECIDED, True, True)],
)
def test_a_diagnosis_is_repeated_after_a_tenth_of_the_run_unless_an_alarm_names_the_cause(cause, stuck, again):
    state = plateau(RunState(HORIZON), 400)
    state.judge(verdict_of(cause, 400, 0, stuck=stuck))
    assert not plateau(state, 399).stalled
    assert plateau(state, 1).stalled is again


def test_each_diagnosis_doubles_the_time_to_the_next():
    state, waits = plateau(RunState(HORIZON), 400), []
    for _ in range(3):
        state.judge(verdict_of(Cause.SETTLED, 400, 0, stuck=False))
        before = state.steps
        while not state.stalled:
            plateau(state, 1)
        waits.append(state.steps - before)
    assert waits == [400, 800, 1600]


def test_in_a_short_run_a_diagnosis_is_repeated_after_200_steps_at_the_earliest():
    state = plateau(RunState(500), 100)
    state.judge(verdict_of(Cause.SETTLED, 100, 0, stuck=False))
    assert not plateau(state, 199).stalled
    assert plateau(state, 1).stalled


def test_a_diagnosis_is_repeated_as_soon_as_the_plateau_is_proven():
    state = plateau(RunState(HORIZON), 400)
    state.progress.proven = False
    state.judge(verdict_of(Cause.UNDECIDED, 400, 0, stuck=False))
    assert not state.stalled
    state.progress.proven = True
    assert state.stalled


def test_probes_of_a_plateau_that_may_only_be_noise_have_a_reason_of_their_own_until_it_is_proven_or_asked_about():
    state = RunState(HORIZON)
    assert state.probe_reason is ProbeReason.SCHEDULE
    plateau(state, 400).progress.proven = False
    assert state.probe_reason is ProbeReason.PROBABLE_PLATEAU
    state.asked = True
    assert state.probe_reason is ProbeReason.DIAGNOSIS
    state.asked, state.progress.proven = False, True
    assert state.probe_reason is ProbeReason.DIAGNOSIS
    state.postpone()
    assert plateau(state, 400).probe_reason is ProbeReason.REPEATED_DIAGNOSIS


def test_a_postponed_diagnosis_is_due_again_after_a_tenth_of_the_run():
    state = plateau(RunState(HORIZON), 400)
    state.postpone()
    assert not state.stalled
    assert not state.verdicts
    assert plateau(state, 400).stalled


def test_a_divergence_is_reported_once_and_replaces_no_alarm():
    watcher = Watcher().feed([*flat(2.3, 800), *[math.nan] * 400])
    assert watcher.alarms == ["undecided", "diverged"]
    assert [v.cause for v in watcher.state.verdicts] == [Cause.UNDECIDED, Cause.DIVERGED]


def test_a_divergence_replaces_no_verdict_without_alarm():
    watcher = Watcher().feed([*fall(2.3, 1.2, 1000), *flat(1.2, 1000), *[math.nan] * 100])
    assert [v.cause for v in watcher.state.verdicts] == [Cause.UNDECIDED, Cause.DIVERGED]


def test_the_trend_in_the_evidence_is_that_at_the_beginning_of_the_plateau():
    state = Watcher().feed(flat(2.3, 400)).state
    assert state.evidence().get(Trend) == state.progress.opening
    assert state.evidence([UNUSED, replace(UNUSED, loss=9.0)]).get(InputUse) == UNUSED  # the first of two


class TwoOptimizers(L.LightningModule):
    """Two optimizers, and losses that do not change."""

    def __init__(self):
        super().__init__()
        self.net, self.automatic_optimization = torch.nn.Linear(1, 1), False

    def training_step(self, batch, batch_idx):
        for optimizer in self.optimizers():
            loss = 2.0 + 0 * self.net(batch[0]).sum()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss.detach()

    def configure_optimizers(self):
        return [torch.optim.SGD([parameter], lr=0.1) for parameter in self.net.parameters()]


def fit(module, monitor, steps=1600, **settings):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(accelerator="cpu", max_steps=steps, callbacks=[monitor], **{**quiet, **settings})
    trainer.fit(module, DataLoader(TensorDataset(torch.ones(800, 1)), batch_size=1))
    return monitor


def test_a_plateau_of_several_optimizers_is_not_diagnosed():
    calls = []
    monitor = fit(TwoOptimizers(), LandscapeMonitor(probes=(lambda surface: calls.append(1),)))
    assert monitor.verdict is None
    assert calls == []


NOT_JUDGED = "not judged: the run has several optimizers, whose losses need not fall"


@pytest.mark.parametrize("kind", [LandscapeMonitor, PlateauMonitor, GradientNormMonitor])
def test_the_report_says_that_a_run_with_several_optimizers_is_not_judged_and_not_that_it_is_healthy(kind, tmp_path):
    monitor = fit(TwoOptimizers(), kind(), logger=CSVLogger(tmp_path, name="", version="run"))
    report = monitor.report
    assert report.splitlines()[0].endswith("The run was not judged.")
    forms = (report, report.summary("ended"), report.to_markdown())
    assert [" ".join(form.split()).count(NOT_JUDGED) for form in forms] == [1, 1, 1]
    assert not any(words in form for form in forms for words in ("healthy", "o alarm"))
    assert report.to_dict()["notes"].count(NOT_JUDGED) == 1
    notes = document_of(monitor._state)["course"]["notes"]  # as in the middle of the run
    assert notes[0] == NOT_JUDGED
    assert [note.partition(", SGD: ")[0] for note in notes[1:]] == ["optimizer 0 (`net`)", "optimizer 1 (`net`)"]
    assert {state for _, state in report.document["course"]["segments"]} == {"not_judged"}


def test_the_divergence_of_a_run_with_several_optimizers_is_reported():
    class Diverges(TwoOptimizers):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if self.trainer.fit_loop.epoch_loop.batch_idx > 100:
                with torch.no_grad():
                    self.net.weight.fill_(math.nan)
            return loss

    with pytest.warns(DivergenceWarning):
        monitor = fit(Diverges(), LandscapeMonitor())
    assert [verdict.cause for verdict in monitor.verdicts] == [Cause.DIVERGED]
    assert "1 alarm" in monitor.report.splitlines()[0]
    assert {state for _, state in monitor.report.document["course"]["segments"]} == {"not_judged", "diverged"}


def on_two_ranks(*losses):
    """Return the losses that each of two ranks has after averaging."""
    sent = []

    def reduce(numbers, reduce_op):
        sent.append(numbers)
        return torch.stack(sent[:2]).mean(0)

    strategy = SimpleNamespace(root_device="cpu", reduce=reduce)
    host = LightningHost(SimpleNamespace(world_size=2, strategy=strategy), None)
    records = [[StepRecord(0, 0, loss, learning_rate=0.1, stepped=True) for loss in rank] for rank in losses]
    averaged_over_ranks(host, records[0], 0.0)  # only to send them
    return [[record.loss for record in averaged_over_ranks(host, rank, 0.0)[0]] for rank in (records[1], records[0])]


def test_two_ranks_get_the_mean_of_their_losses():
    assert on_two_ranks([1.0, 2.0], [3.0, 2.0]) == [[2.0, 2.0], [2.0, 2.0]]


def remaining(reported):
    """Return the causes of the alarms that no later alarm on the same plateau has replaced."""
    alarms, replaceable = [], False
    for _, cause, stuck in reported:
        if stuck:
            alarms = alarms[:-1] if replaceable and cause != "diverged" else alarms
            alarms.append(cause)
        replaceable = stuck and cause == "undecided"
    return alarms


LEVELS = st.sampled_from([0.01, 0.5, 1.0, 2.2, 2.3, 2.4, 9.0])


class Plateaus(RuleBasedStateMachine):
    """Any run, observed without a break and with breaks at checkpoints."""

    @initialize(
        horizon=st.sampled_from([None, 500, 2000, 10000]), readings=st.sampled_from([(), (UNUSED,), (UNUSED, RESCUED)])
    )
    def start(self, horizon, readings):
        self.level = 2.3
        self.straight, self.broken = Watcher(horizon, readings), Watcher(horizon, readings)
        self.ended = 0

    def feed(self, losses):
        self.straight.feed(losses)
        self.broken.feed(losses)

    @rule(steps=st.integers(1, 300), size=st.sampled_from([0.0, 0.001, 0.3]))
    def stay(self, steps, size):
        self.feed(flat(self.level, steps, size))

    @rule(end=LEVELS, steps=st.integers(1, 300))
    def go(self, end, steps):
        self.feed(fall(self.level, end, steps))
        self.level = end

    @rule(end=LEVELS)
    def jump(self, end):
        self.level = end

    @rule(steps=st.integers(1, 30), loss=st.sampled_from([math.nan, math.inf, -math.inf]))
    def diverge(self, steps, loss):
        self.feed([loss] * steps)

    @rule()
    def no_loss(self):
        self.feed([None] * 5)

    @rule(steps=st.integers(1, 100), apart=st.sampled_from([0.0, 0.1, 3.0]))
    def average_with_another_rank(self, steps, apart):
        one, other = on_two_ranks(flat(self.level, steps), flat(self.level + apart, steps))
        self.straight.feed(one)
        self.broken.feed(other)

    @precondition(lambda self: self.straight.state.steps > 0)
    @rule()
    def resume(self):
        self.broken = self.broken.resumed()

    @invariant()
    def a_resumed_run_reports_the_same(self):
        if hasattr(self, "straight"):
            assert self.broken.reported == self.straight.reported
            assert self.broken.state.verdicts == self.straight.state.verdicts

    @invariant()
    def a_plateau_has_one_alarm_whose_cause_may_be_named_later(self):
        if not hasattr(self, "straight"):
            return
        alarms = []
        for _, cause, stuck in self.straight.reported:
            if cause == "escaped":
                alarms = []
            elif stuck and cause != "diverged":
                alarms.append(cause)
            assert len(alarms) <= 1 or (alarms[0] == "undecided" and len(alarms) == 2)
        assert self.straight.causes.count("diverged") <= 1

    @invariant()
    def the_verdicts_are_those_that_were_reported(self):
        if hasattr(self, "straight"):
            alarms = [str(verdict.cause) for verdict in self.straight.state.verdicts if verdict.stuck]
            assert alarms == remaining(self.straight.reported)


TestPlateaus = Plateaus.TestCase
TestPlateaus.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
