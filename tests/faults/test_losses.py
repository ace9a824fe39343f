"""F01-F06: losses and gradients that are not what a monitor would like to see."""

from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from lightning_landscape import Cause
from tests.faults.runs import MONITORS, PROBING, Flat, Net, fit, loader, said_by, watched

every_monitor = pytest.mark.parametrize("name", MONITORS)
SAYS_IT = {"landscape": "LL208", "gradient norm": "LL111", "plateau": "LL208", "interpolation": "LL208"} | {
    "curvature": "LL208"
}


class Breaks(Net):
    """The loss is not a number from step 22 on, and after that step neither are the weights."""

    def loss(self, batch):
        return super().loss(batch) * (math.nan if self.global_step >= 22 else 1.0)


@every_monitor
def test_f01_a_loss_that_is_nan_is_told_once_and_nothing_is_probed_meanwhile(name):
    monitor = MONITORS[name]()
    probed_at = []

    def note(surface):
        probed_at.append(monitor._state.step)

    monitor._examination._scheduled = (*monitor._examination._scheduled, note)
    said = watched(monitor, Breaks, steps=60)
    assert len(said) == 1
    assert SAYS_IT[name] in said[0]
    assert "step 22" in said[0] or name == "gradient norm"
    assert probed_at == ([9, 19] if name in PROBING else [19])
    if name in ("landscape", "plateau"):
        assert [(v.cause, v.since, v.stuck) for v in monitor.verdicts] == [(Cause.DIVERGED, 22, True)]


@pytest.mark.parametrize("name", PROBING)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_f01_at_a_look_that_falls_on_the_first_bad_loss_nothing_is_probed(name, bad):
    class Once(Net):
        """A careful user clears a gradient that is not finite, and goes on."""

        def loss(self, batch):
            loss = super().loss(batch)
            return loss + bad * loss.detach() if self.global_step == 19 else loss  # the last step before the look

        def on_before_optimizer_step(self, optimizer):
            for p in self.parameters():
                p.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)

    monitor = MONITORS[name]()
    probed_at = []
    monitor._examination._scheduled = (lambda surface: probed_at.append(monitor._state.step),)
    assert watched(monitor, Once, steps=60) == []
    assert 19 not in probed_at
    assert 29 in probed_at  # the loss is well again


class Overflows(Net):
    def on_after_backward(self):
        if self.global_step in (3, 12, 13):
            self.net[0].bias.grad.fill_(math.inf)


def scaled():
    return MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))


@every_monitor
def test_f02_a_step_that_the_scaler_skips_is_no_plateau_and_no_alarm(name):
    monitor = MONITORS[name]()
    assert watched(monitor, Overflows, plugins=[scaled()]) == []
    assert monitor._state.steps == 40
    assert monitor._state.progress.divergence is None
    assert monitor._state.progress.plateau_length == 0


def test_f02_a_run_of_which_the_scaler_skips_every_step_is_stuck_and_told_so_once():
    class Never(Net):
        def on_after_backward(self):
            self.net[0].bias.grad.fill_(math.inf)

    monitor = MONITORS["plateau"]()
    said = said_by(lambda: fit(Never(), monitor, steps=120, plugins=[scaled()]))
    assert len(said) == 1
    assert monitor.verdict.stuck
    assert "The weights have not moved" in said[0]


@pytest.mark.usefixtures("only_the_last_pictures")
@every_monitor
def test_f03_a_gradient_of_zero_is_measured_drawn_and_told_as_zero(name, tmp_path):
    monitor, logger = MONITORS[name](), TensorBoardLogger(tmp_path, name="", version="run")
    said = said_by(lambda: fit(Flat(), monitor, steps=120, logger=logger))
    assert len(said) <= 1
    assert not monitor._guard.failures
    assert monitor._reporter.failures == [0]
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    if name == "gradient norm":
        assert {event.value for event in events.Scalars("landscape/grad_norm")} == {0.0}
        assert "landscape/grad_norms" in events.Tags()["images"]
    if name in ("landscape", "plateau"):
        assert monitor.verdict.stuck
        assert monitor.verdict.since == 0


class Skips(Net):
    """Returns nothing for two batches of three, as steps do that find no sample to their liking."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss if batch_idx % 3 == 0 else None


class Nothing(Net):
    def training_step(self, batch, batch_idx):
        return None


class Row(Net):
    def training_step(self, batch, batch_idx):
        return {"loss": super().training_step(batch, batch_idx).reshape(1), "more": object()}


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@every_monitor
@pytest.mark.parametrize("make", [Skips, Nothing, Row])
def test_f04_a_step_without_a_loss_is_passed_over_and_one_in_a_row_is_taken(name, make):
    monitor = MONITORS[name]()
    said = watched(monitor, make, steps=48)
    assert monitor._state.steps == 48
    assert not monitor._guard.failures
    seen = monitor._state.progress._history.count
    assert seen == {Skips: 18, Nothing: 0, Row: 48}[make]
    assert all("training_step returns no loss" in text for text in said)  # of a step that a probe has asked in vain
    assert len(said) == len(set(said)) <= {Skips: 2, Nothing: 1, Row: 0}[make]


@every_monitor
def test_f04_a_dict_without_loss_is_lightnings_to_refuse_and_its_error_passes_unchanged(name):
    class Forgets(Net):
        def training_step(self, batch, batch_idx):
            return {"lss": self.loss(batch)}

    def error(*callbacks):
        with pytest.raises(Exception, match="'loss' key") as caught:
            fit(Forgets(), *callbacks)
        return type(caught.value), str(caught.value)

    assert error(MONITORS[name]()) == error()


class ByHand(Net):
    """Two players; the step returns whatever it likes."""

    returned = staticmethod(lambda losses: None)

    def __init__(self):
        super().__init__()
        self.automatic_optimization, self.critic = False, nn.Linear(3, 1)

    def training_step(self, batch, batch_idx):
        first, second = self.optimizers()
        losses = []
        for optimizer in (first, second):
            out = self.net(batch[0])
            loss = (
                nn.functional.cross_entropy(out, batch[1]) if optimizer is first else self.critic(out).square().mean()
            )
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            losses.append(loss.detach())
        self.log("train_loss", losses[0])
        return type(self).returned(losses)

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), lr=0.05) for part in (self.net, self.critic)]


class ReturnsARow(ByHand):
    returned = staticmethod(torch.stack)


class ReturnsADict(ByHand):
    returned = staticmethod(lambda losses: {"loss": torch.stack(losses), "text": "more"})


@pytest.mark.usefixtures("without_pictures")
@every_monitor
@pytest.mark.parametrize("make", [ByHand, ReturnsARow, ReturnsADict])
def test_f05_two_optimizers_by_hand_share_the_x_of_train_loss_and_are_not_counted_twice(name, make, tmp_path):
    monitor, logger = MONITORS[name](), TensorBoardLogger(tmp_path, name="", version="run")
    watched(MONITORS[name](), make, steps=60)
    said = said_by(lambda: fit(make(), monitor, steps=60, logger=logger))
    assert not [text for text in said if "is skipped" not in text]
    assert not monitor._guard.failures
    assert monitor._state.progress._history.count == 30  # 60 steps are 30 of each player
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    at = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert at["train_loss"] == [4, 9, 14, 19, 24, 29]
    if name == "gradient norm":
        assert set(at["landscape/grad_norm"]) == set(at["train_loss"])


def test_f06_a_window_of_many_batches_is_not_taken_for_a_trainer_without_steps():
    assert watched(MONITORS["plateau"](), steps=3, accumulate_grad_batches=40, data=loader(80)) == []


@every_monitor
def test_f06_under_accumulation_a_record_is_an_optimizer_step_and_the_short_window_at_the_end_is_one_too(name):
    monitor = MONITORS[name]()
    assert watched(monitor, steps=12, accumulate_grad_batches=5) == []  # 16 batches an epoch: 5 + 5 + 5 + 1
    assert monitor._state.steps == 12
    assert [column is None for column in monitor._state.gradients.history].count(True) == 0
