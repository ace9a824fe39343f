"""Episodes: when they are judged, when they are news, when they are over; and that a resumed run judges the same."""

from __future__ import annotations

import json
import math
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
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.recording.step_buffer import averaged_over_ranks
from lightning_landscape.tracking.progress import StepRecord
from lightning_landscape.trainer.lightning_host import LightningHost

HORIZON = 4000
STRIDE = 20


class Watch:
    """A monitor without a trainer: it looks every so many steps, and notes what it would say."""

    def __init__(self, horizon=HORIZON, readings=()):
        self.seen, self.readings = RunState(horizon), readings
        self.said = []

    def step(self, loss):
        self.seen.update(StepRecord(self.seen.steps, 0, loss, learning_rate=0.1, stepped=True))
        if self.seen.steps % STRIDE == 0:
            self.look()

    def look(self):
        if self.seen.stalled or self.seen.diverged:
            verdict = diagnose(self.seen.evidence(self.readings))
            if self.seen.judge(verdict):
                self.said.append((self.seen.steps, str(verdict.cause), verdict.stuck))
        left = self.seen.escaped()
        if left is not None:
            self.said.append((self.seen.steps, "escaped", False))

    def feed(self, losses):
        for loss in losses:
            self.step(loss)
        return self

    def resumed(self):
        """The same, from a checkpoint."""
        other = Watch(self.seen.progress.horizon, self.readings)
        other.seen.load_state_dict(json.loads(json.dumps(self.seen.state_dict())))
        other.said = list(self.said)
        return other

    @property
    def alarms(self):
        return [cause for _, cause, stuck in self.said if stuck]

    @property
    def causes(self):
        return [cause for _, cause, _ in self.said]


def noise(step, size):
    return size * math.sin(12.9898 * step * step)


def flat(level, steps, size=0.001):
    return [level + noise(step, size) for step in range(steps)]


def fall(start, end, steps):
    return [start + (end - start) * step / steps for step in range(steps)]


UNUSED = InputUse(loss=2.3, shuffled=2.3, moved=0.0, varied=True)
RESCUED = Trials({"adam": 0.5}, steps=40, relative_gradient=0.01, decay_pull=0.0, samples=64)


def test_a_stuck_run_alarms_once_however_long_it_stays_so():
    watch = Watch().feed(flat(2.3, 4000))
    assert watch.alarms == ["undecided"]
    assert [v.cause for v in watch.seen.verdicts] == [Cause.UNDECIDED]


def test_an_alarm_without_a_cause_gives_way_to_one_that_names_it_and_to_nothing_else():
    seen, undecided = episode(RunState(HORIZON), 400), loss_value(Cause.UNDECIDED, 400, 0, stuck=True)
    assert seen.judge(undecided)
    assert not seen.judge(loss_value(Cause.UNDECIDED, 800, 0, stuck=True))
    assert not seen.judge(loss_value(Cause.UNDECIDED, 1600, 0, stuck=False))
    assert not seen.judge(loss_value(Cause.SETTLED, 1600, 0, stuck=False))
    assert seen.verdicts == [undecided]
    named = loss_value(Cause.NOTHING_TO_LEARN, 3200, 0, stuck=True)
    assert seen.judge(named)
    assert seen.verdicts == [named]
    assert not episode(seen, 4000).stalled


def test_an_alarm_without_a_cause_of_an_earlier_episode_stays():
    seen, undecided = episode(RunState(HORIZON), 400), loss_value(Cause.UNDECIDED, 400, 0, stuck=True)
    seen.judge(undecided)
    seen.judged_at = None
    later = loss_value(Cause.SADDLE_POINT, 2000, 1900, stuck=True)
    assert seen.judge(later)
    assert seen.verdicts == [undecided, later]


@pytest.mark.parametrize(("now", "news"), [(2.2, True), (2.24, False), (2.5, False), (None, False)])
def test_a_plateau_of_the_same_cause_soon_after_an_alarm_is_another_where_the_loss_is_lower(now, news):
    def at(level):
        return Evidence() if level is None else Evidence(LossLevel(2.4, level, level))

    seen = episode(RunState(HORIZON), 400)
    assert seen.judge(replace(loss_value(Cause.SADDLE_POINT, 400, 0, stuck=True), evidence=at(2.3)))
    seen.judged_at = None
    assert seen.judge(replace(loss_value(Cause.SADDLE_POINT, 700, 600, stuck=True), evidence=at(now))) is news
    assert len(seen.verdicts) == 1 + news


def test_information_soon_after_the_same_is_no_news_though_the_loss_is_lower():
    seen = episode(RunState(HORIZON), 400)
    for step, level in ((400, 2.3), (700, 1.2)):
        known = Evidence(LossLevel(2.4, level, level))
        found = seen.judge(replace(loss_value(Cause.SETTLED, step, step - 100, stuck=False), evidence=known))
        assert found is (step == 400)
        seen.judged_at = None


def test_an_alarm_is_taken_back_once_when_the_run_moves_on():
    watch = Watch().feed([*flat(2.3, 800), *fall(2.3, 0.3, 1600)])
    assert watch.causes == ["undecided", "escaped"]
    assert watch.seen.judged_at is None


def test_an_episode_that_was_only_information_ends_without_a_word():
    watch = Watch().feed([*fall(2.3, 1.2, 1000), *flat(1.2, 1000), *fall(1.2, 0.3, 1000)])
    assert watch.causes == ["settled"]


def test_a_second_plateau_far_from_the_first_is_an_episode_of_its_own():
    watch = Watch(readings=[UNUSED, RESCUED]).feed([*flat(2.3, 800), *fall(2.3, 1.3, 1200), *flat(1.3, 1000)])
    assert watch.causes == ["saddle_point", "escaped", "saddle_point"]
    assert len(watch.seen.verdicts) == 2
    assert watch.seen.verdicts[0].since < 200
    assert watch.seen.verdicts[1].since > 1500


def loss_value(cause, step, since, *, stuck):
    return Verdict(cause, step, since, stuck=stuck, reason="")


def episode(seen, steps):
    """Let this many steps go by in a plateau."""
    for _ in range(steps):
        seen.update(StepRecord(seen.steps, 0, 2.3, learning_rate=0.1, stepped=True))
    return seen


def test_an_episode_that_begins_soon_after_an_alarm_of_the_same_cause_is_the_same():
    seen = episode(RunState(HORIZON), 400)
    assert seen.judge(loss_value(Cause.SADDLE_POINT, 400, 0, stuck=True))
    seen.judged_at = None  # it trembled
    assert not seen.judge(loss_value(Cause.SADDLE_POINT, 700, 799, stuck=True))
    assert len(seen.verdicts) == 1
    seen.judged_at = None
    assert seen.judge(loss_value(Cause.SADDLE_POINT, 900, 800, stuck=True))
    assert len(seen.verdicts) == 2


def test_a_trembling_episode_of_another_cause_or_one_that_alarms_now_is_news():
    for first, second in (
        (loss_value(Cause.SADDLE_POINT, 400, 0, stuck=True), loss_value(Cause.FLAT_REGION, 500, 450, stuck=True)),
        (loss_value(Cause.UNDECIDED, 400, 0, stuck=False), loss_value(Cause.UNDECIDED, 500, 450, stuck=True)),
    ):
        seen = episode(RunState(HORIZON), 400)
        assert seen.judge(first)
        seen.judged_at = None
        assert seen.judge(second)
        assert seen.verdicts == [first, second]


def test_within_an_episode_a_better_verdict_takes_the_place_of_information():
    seen = episode(RunState(HORIZON), 400)
    assert seen.judge(loss_value(Cause.SETTLED, 400, 0, stuck=False))
    assert not seen.judge(loss_value(Cause.SETTLED, 800, 0, stuck=False))
    assert seen.judge(loss_value(Cause.POOR_MINIMUM, 1200, 0, stuck=True))
    assert [verdict.cause for verdict in seen.verdicts] == [Cause.POOR_MINIMUM]


def test_an_earlier_episode_keeps_its_verdict():
    seen = episode(RunState(HORIZON), 400)
    seen.judge(loss_value(Cause.SETTLED, 400, 0, stuck=False))
    seen.judged_at = None
    seen.judge(loss_value(Cause.SLOW, 2000, 1900, stuck=False))
    seen.judge(loss_value(Cause.SADDLE_POINT, 2400, 1900, stuck=True))
    assert [verdict.cause for verdict in seen.verdicts] == [Cause.SETTLED, Cause.SADDLE_POINT]


@pytest.mark.parametrize(
    ("cause", "stuck", "again"),
    [(Cause.SETTLED, False, True), (Cause.SADDLE_POINT, True, False), (Cause.UNDECIDED, True, True)],
)
def test_after_a_tenth_of_the_run_all_but_an_alarm_that_names_a_cause_is_examined_again(cause, stuck, again):
    seen = episode(RunState(HORIZON), 400)
    seen.judge(loss_value(cause, 400, 0, stuck=stuck))
    assert not episode(seen, 399).stalled
    assert episode(seen, 1).stalled is again


def test_each_examination_leaves_the_run_alone_for_twice_as_long():
    seen, waits = episode(RunState(HORIZON), 400), []
    for _ in range(3):
        seen.judge(loss_value(Cause.SETTLED, 400, 0, stuck=False))
        before = seen.steps
        while not seen.stalled:
            episode(seen, 1)
        waits.append(seen.steps - before)
    assert waits == [400, 800, 1600]


def test_a_short_run_is_examined_again_after_200_steps_at_the_earliest():
    seen = episode(RunState(500), 100)
    seen.judge(loss_value(Cause.SETTLED, 100, 0, stuck=False))
    assert not episode(seen, 199).stalled
    assert episode(seen, 1).stalled


def test_a_plateau_that_is_proven_by_now_is_examined_again_at_once():
    seen = episode(RunState(HORIZON), 400)
    seen.progress.proven = False
    seen.judge(loss_value(Cause.UNDECIDED, 400, 0, stuck=False))
    assert not seen.stalled
    seen.progress.proven = True
    assert seen.stalled


def test_an_episode_that_is_passed_over_is_due_again_like_information():
    seen = episode(RunState(HORIZON), 400)
    seen.postpone()
    assert not seen.stalled
    assert not seen.verdicts
    assert episode(seen, 400).stalled


def test_a_divergence_is_told_once_and_keeps_the_alarm_before_it():
    watch = Watch().feed([*flat(2.3, 800), *[math.nan] * 400])
    assert watch.alarms == ["undecided", "diverged"]
    assert [v.cause for v in watch.seen.verdicts] == [Cause.UNDECIDED, Cause.DIVERGED]


def test_a_divergence_out_of_information_keeps_that_as_well():
    watch = Watch().feed([*fall(2.3, 1.2, 1000), *flat(1.2, 1000), *[math.nan] * 100])
    assert [v.cause for v in watch.seen.verdicts] == [Cause.SETTLED, Cause.DIVERGED]


def test_evidence_of_a_plateau_is_that_of_its_opening():
    seen = Watch().feed(flat(2.3, 400)).seen
    assert seen.evidence().get(Trend) == seen.progress.opening
    assert seen.evidence([UNUSED, replace(UNUSED, loss=9.0)]).get(InputUse) == UNUSED  # the first stands


class Players(L.LightningModule):
    """Two optimizers, and losses that stand still."""

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


def play(module, monitor, steps=1600, **settings):
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(accelerator="cpu", max_steps=steps, callbacks=[monitor], **{**quiet, **settings})
    trainer.fit(module, DataLoader(TensorDataset(torch.ones(800, 1)), batch_size=1))
    return monitor


def test_a_standstill_of_several_players_is_not_examined_and_no_verdict_is_reached():
    looks = []
    monitor = play(Players(), LandscapeMonitor(probes=(lambda surface: looks.append(1),)))
    assert monitor.verdict is None
    assert looks == []


NOT_JUDGED = "the run is not judged, because it has several optimizers, whose losses need not fall"


@pytest.mark.parametrize("kind", [LandscapeMonitor, PlateauMonitor, GradientNormMonitor])
def test_a_run_with_several_optimizers_is_said_to_be_not_judged_and_never_to_be_healthy(kind, tmp_path):
    monitor = play(Players(), kind(), logger=CSVLogger(tmp_path, name="", version="run"))
    report = monitor.report
    assert report.splitlines()[0].endswith("The run was not judged.")
    forms = (report, report.summary("ended"), report.to_markdown())
    assert [" ".join(form.split()).count(NOT_JUDGED) for form in forms] == [1, 1, 1]
    assert not any(words in form for form in forms for words in ("healthy", "o alarm"))
    assert report.to_dict()["notes"].count(NOT_JUDGED) == 1
    assert document_of(monitor._state)["course"]["notes"] == [NOT_JUDGED]  # as in the middle of the run
    assert {state for _, state in report.document["course"]["segments"]} == {"not_judged"}


def test_a_run_with_several_optimizers_that_diverges_is_still_told():
    class Diverges(Players):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if self.trainer.fit_loop.epoch_loop.batch_idx > 100:
                with torch.no_grad():
                    self.net.weight.fill_(math.nan)
            return loss

    with pytest.warns(DivergenceWarning):
        monitor = play(Diverges(), LandscapeMonitor())
    assert [verdict.cause for verdict in monitor.verdicts] == [Cause.DIVERGED]
    assert "1 alarm" in monitor.report.splitlines()[0]
    assert {state for _, state in monitor.report.document["course"]["segments"]} == {"not_judged", "diverged"}


def on_two_ranks(*losses):
    """What each of two ranks is told of the losses of both."""
    sent = []

    def reduce(numbers, reduce_op):
        sent.append(numbers)
        return torch.stack(sent[:2]).mean(0)

    strategy = SimpleNamespace(root_device="cpu", reduce=reduce)
    host = LightningHost(SimpleNamespace(world_size=2, strategy=strategy), None)
    records = [[StepRecord(0, 0, loss, learning_rate=0.1, stepped=True) for loss in rank] for rank in losses]
    averaged_over_ranks(host, records[0], 0.0)  # only to send them
    return [[record.loss for record in averaged_over_ranks(host, rank, 0.0)[0]] for rank in (records[1], records[0])]


def test_two_ranks_are_told_the_mean_of_their_losses():
    assert on_two_ranks([1.0, 2.0], [3.0, 2.0]) == [[2.0, 2.0], [2.0, 2.0]]


def standing(said):
    """The alarms of these without those that a named one of the same episode has replaced."""
    alarms, replaceable = [], False
    for _, cause, stuck in said:
        if stuck:
            alarms = alarms[:-1] if replaceable and cause != "diverged" else alarms
            alarms.append(cause)
        replaceable = stuck and cause == "undecided"
    return alarms


LEVELS = st.sampled_from([0.01, 0.5, 1.0, 2.2, 2.3, 2.4, 9.0])


class Episodes(RuleBasedStateMachine):
    """Any run, watched straight through and from checkpoint to checkpoint."""

    @initialize(
        horizon=st.sampled_from([None, 500, 2000, 10000]), readings=st.sampled_from([(), (UNUSED,), (UNUSED, RESCUED)])
    )
    def start(self, horizon, readings):
        self.level = 2.3
        self.straight, self.broken = Watch(horizon, readings), Watch(horizon, readings)
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

    @rule(steps=st.integers(1, 30), what=st.sampled_from([math.nan, math.inf, -math.inf]))
    def break_down(self, steps, what):
        self.feed([what] * steps)

    @rule()
    def no_loss(self):
        self.feed([None] * 5)

    @rule(steps=st.integers(1, 100), apart=st.sampled_from([0.0, 0.1, 3.0]))
    def see_other_losses_on_another_rank(self, steps, apart):
        one, other = on_two_ranks(flat(self.level, steps), flat(self.level + apart, steps))
        self.straight.feed(one)
        self.broken.feed(other)

    @precondition(lambda self: self.straight.seen.steps > 0)
    @rule()
    def resume(self):
        self.broken = self.broken.resumed()

    @invariant()
    def a_resumed_run_says_the_same(self):
        if hasattr(self, "straight"):
            assert self.broken.said == self.straight.said
            assert self.broken.seen.verdicts == self.straight.seen.verdicts

    @invariant()
    def an_episode_alarms_once_and_may_name_the_cause_later(self):
        if not hasattr(self, "straight"):
            return
        episode = []
        for _, cause, stuck in self.straight.said:
            if cause == "escaped":
                episode = []
            elif stuck and cause != "diverged":
                episode.append(cause)
            assert len(episode) <= 1 or (episode[0] == "undecided" and len(episode) == 2)
        assert self.straight.causes.count("diverged") <= 1

    @invariant()
    def what_was_said_is_kept(self):
        if hasattr(self, "straight"):
            kept = [str(verdict.cause) for verdict in self.straight.seen.verdicts if verdict.stuck]
            assert kept == standing(self.straight.said)


TestEpisodes = Episodes.TestCase
TestEpisodes.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
