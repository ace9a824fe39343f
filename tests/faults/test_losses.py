"""F01-F06: losses and gradients that are NaN, infinite, zero, missing, or of several optimizers or batches."""

from __future__ import annotations

import math

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins import MixedPrecision
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from lightning_landscape import Cause
from tests.faults.runs import MONITORS, PROBING, Flat, Net, fit, fit_monitored, loader, warnings_of

every_monitor = pytest.mark.parametrize("name", MONITORS)
NOT_FINITE_CODES = {"landscape": "LL208", "gradient norm": "LL111", "plateau": "LL208", "interpolation": "LL208"} | {
    "curvature": "LL208"
}


class BecomesNaN(Net):
    """The loss is NaN from step 22 on, and the weights are NaN after that step."""

    def loss(self, batch):
        return super().loss(batch) * (math.nan if self.global_step >= 22 else 1.0)


@every_monitor
def test_f01_a_loss_that_is_nan_is_warned_of_once_and_no_probe_runs_afterwards(name):
    monitor = MONITORS[name]()
    probed_at = []

    def note(surface):
        probed_at.append(monitor._state.step)

    monitor._examination._scheduled = (*monitor._examination._scheduled, note)
    messages = fit_monitored(monitor, BecomesNaN, steps=60)
    assert len(messages) == 1
    assert NOT_FINITE_CODES[name] in messages[0]
    assert "step 22" in messages[0] or name == "gradient norm"
    assert probed_at == ([9, 19] if name in PROBING else [19])
    if name in ("landscape", "plateau"):
        assert [(v.cause, v.since, v.stuck) for v in monitor.verdicts] == [(Cause.DIVERGED, 22, True)]


@pytest.mark.parametrize("name", PROBING)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_f01_at_a_check_on_the_first_loss_that_is_not_finite_no_probe_runs(name, bad):
    class OneBadLoss(Net):
        """One loss is not finite; its gradient is set to zero, so that training goes on."""

        def loss(self, batch):
            loss = super().loss(batch)
            return loss + bad * loss.detach() if self.global_step == 19 else loss  # the last step before a check

        def on_before_optimizer_step(self, optimizer):
            for p in self.parameters():
                p.grad.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)

    monitor = MONITORS[name]()
    probed_at = []
    monitor._examination._scheduled = (lambda surface: probed_at.append(monitor._state.step),)
    assert fit_monitored(monitor, OneBadLoss, steps=60) == []
    assert 19 not in probed_at
    assert 29 in probed_at  # the loss is finite again


class Overflows(Net):
    def on_after_backward(self):
        if self.global_step in (3, 12, 13):
            self.net[0].bias.grad.fill_(math.inf)


def scaled():
    return MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))


@every_monitor
def test_f02_steps_that_the_scaler_skips_cause_no_plateau_and_no_alarm(name):
    monitor = MONITORS[name]()
    assert fit_monitored(monitor, Overflows, plugins=[scaled()]) == []
    assert monitor._state.steps == 40
    assert monitor._state.progress.divergence is None
    assert monitor._state.progress.plateau_length == 0


def test_f02_a_run_in_which_the_scaler_skips_every_step_gets_one_alarm():
    class AlwaysOverflows(Net):
        def on_after_backward(self):
            self.net[0].bias.grad.fill_(math.inf)

    monitor = MONITORS["plateau"]()
    messages = warnings_of(lambda: fit(AlwaysOverflows(), monitor, steps=120, plugins=[scaled()]))
    assert len(messages) == 1
    assert monitor.verdict.stuck
    assert "The weights have not moved" in messages[0]


@pytest.mark.usefixtures("only_the_last_pictures")
@every_monitor
def test_f03_a_gradient_of_zero_is_measured_drawn_and_logged_as_zero(name, tmp_path):
    monitor, logger = MONITORS[name](), TensorBoardLogger(tmp_path, name="", version="run")
    messages = warnings_of(lambda: fit(Flat(), monitor, steps=120, logger=logger))
    assert len(messages) <= 1
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
    """Returns None for two of three batches, as a step does that finds no usable sample in a batch."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return loss if batch_idx % 3 == 0 else None


class NeverALoss(Net):
    def training_step(self, batch, batch_idx):
        return None


class LossOfShapeOne(Net):
    def training_step(self, batch, batch_idx):
        return {"loss": super().training_step(batch, batch_idx).reshape(1), "more": object()}


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@every_monitor
@pytest.mark.parametrize("make", [Skips, NeverALoss, LossOfShapeOne])
def test_f04_steps_that_return_none_add_no_loss_and_a_loss_of_shape_1_is_accepted(name, make):
    monitor = MONITORS[name]()
    messages = fit_monitored(monitor, make, steps=48)
    assert monitor._state.steps == 48
    assert not monitor._guard.failures
    count = monitor._state.progress._history.count
    assert count == {Skips: 18, NeverALoss: 0, LossOfShapeOne: 48}[make]
    assert all("training_step returns no loss" in text for text in messages)  # given by a probe
    assert len(messages) == len(set(messages)) <= {Skips: 2, NeverALoss: 1, LossOfShapeOne: 0}[make]


@every_monitor
def test_f04_lightnings_error_about_a_dict_without_loss_is_unchanged(name):
    class Forgets(Net):
        def training_step(self, batch, batch_idx):
            return {"lss": self.loss(batch)}

    def error(*callbacks):
        with pytest.raises(Exception, match="'loss' key") as caught:
            fit(Forgets(), *callbacks)
        return type(caught.value), str(caught.value)

    assert error(MONITORS[name]()) == error()


class Manual(Net):
    """Two optimizers; `returned` maps their losses to what the step returns."""

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
        return [torch.optim.SGD(module.parameters(), lr=0.05) for module in (self.net, self.critic)]


class ManualReturnsTensor(Manual):
    returned = staticmethod(torch.stack)


class ManualReturnsDict(Manual):
    returned = staticmethod(lambda losses: {"loss": torch.stack(losses), "text": "more"})


@pytest.mark.usefixtures("without_pictures")
@every_monitor
@pytest.mark.parametrize("make", [Manual, ManualReturnsTensor, ManualReturnsDict])
def test_f05_with_two_optimizers_scalars_have_the_steps_of_train_loss_and_each_batch_counts_once(name, make, tmp_path):
    monitor, logger = MONITORS[name](), TensorBoardLogger(tmp_path, name="", version="run")
    fit_monitored(MONITORS[name](), make, steps=60)
    messages = warnings_of(lambda: fit(make(), monitor, steps=60, logger=logger))
    assert not [text for text in messages if "is skipped" not in text]
    assert not monitor._guard.failures
    assert monitor._state.progress._history.count == 30  # 60 steps are 30 of each optimizer
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert steps["train_loss"] == [4, 9, 14, 19, 24, 29]
    if name == "gradient norm":
        assert set(steps["landscape/grad_norm"]) == set(steps["train_loss"])


def test_f06_accumulation_over_many_batches_is_not_mistaken_for_a_run_without_optimizer_steps():
    assert fit_monitored(MONITORS["plateau"](), steps=3, accumulate_grad_batches=40, data=loader(80)) == []


@every_monitor
def test_f06_under_accumulation_each_optimizer_step_is_one_record_including_the_shorter_one_of_an_epochs_end(name):
    monitor = MONITORS[name]()
    assert fit_monitored(monitor, steps=12, accumulate_grad_batches=5) == []  # 16 batches an epoch: 5 + 5 + 5 + 1
    assert monitor._state.steps == 12
    assert [column is None for column in monitor._state.gradients.history].count(True) == 0
