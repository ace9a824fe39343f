"""A constant in the loss, a negative one, or another unit changes no verdict."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.evidence import LossFloor

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(512, 6, generator=GENERATOR)
TARGETS = INPUTS @ torch.randn(6, 1, generator=GENERATOR) + 0.3 * torch.randn(512, 1, generator=GENERATOR)


class Regression(L.LightningModule):
    """A regression whose loss is multiplied by a factor, by which its learning rate is divided, plus a constant."""

    def __init__(self, net, lr, factor, constant):
        super().__init__()
        self.net, self.lr, self.factor, self.constant = net, lr, factor, constant

    def training_step(self, batch, batch_idx):
        return self.factor * functional.mse_loss(self.net(batch[0]), batch[1]) + self.constant

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr / self.factor)


def linear():
    torch.manual_seed(0)
    return nn.Linear(6, 1), 0.05


def at_a_saddle():
    """Return a network whose first layer gets no gradient, because the weights of both layers are 0."""
    net = nn.Sequential(nn.Linear(6, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False))
    for weight in net.parameters():
        nn.init.zeros_(weight)
    return net, 0.05


def too_slow():
    torch.manual_seed(0)
    return nn.Linear(6, 1), 1e-7


def watched(start, factor=1.0, constant=0.0):
    net, lr = start()
    monitor = LandscapeMonitor(effort="standard")
    trainer = L.Trainer(
        max_steps=240, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[monitor],
    )  # fmt: skip
    trainer.fit(Regression(net, lr, factor, constant), DataLoader(TensorDataset(INPUTS, TARGETS), batch_size=32))
    return monitor


def said(monitor):
    return [(verdict.cause, verdict.stuck, verdict.code) for verdict in monitor.verdicts]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning_landscape.LandscapeWarning")
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("start", [linear, at_a_saddle, too_slow])
def test_a_constant_in_the_loss_and_its_unit_change_no_verdict(start):
    plain = watched(start)
    assert any(verdict.stuck for verdict in plain.verdicts) is (start is not linear)
    for factor, constant in ((1.0, 500.0), (1.0, -500.0), (1e-6, 0.0)):
        moved = watched(start, factor, constant)
        assert moved.readings.latest(LossFloor).lowest == pytest.approx(constant, abs=0.02)
        assert said(moved) == said(plain), (factor, constant)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lightning_landscape.LandscapeWarning")
@pytest.mark.usefixtures("without_pictures")
def test_the_reason_names_the_loss_from_which_percentages_are_measured():
    (verdict, *_) = watched(too_slow, constant=500.0).verdicts
    assert "Percentages are shares of its height above a floor of 500." in verdict.reason
    (plain, *_) = watched(too_slow).verdicts
    assert "floor" not in plain.reason
