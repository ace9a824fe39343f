"""Runs in which the noise of small batches hides whether the loss falls: it shows on the same batches."""

from __future__ import annotations

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.evidence import Cause, Trend

pytestmark = pytest.mark.slow
STEPS = 1000


class Regression(L.LightningModule):
    """A linear regression, which is at its minimum soon or late, by its learning rate."""

    def __init__(self, rate):
        super().__init__()
        self.layer, self.rate = nn.Linear(6, 1), rate

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return F.mse_loss(self.layer(inputs), targets)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def noisy_targets(*, shuffle=True):
    """Return batches of 32 samples with targets whose noise leaves a loss of 1, give or take a quarter in a batch."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4096, 6, generator=generator)
    y = 2 * x[:, :1] - x[:, 1:2] + torch.randn(4096, 1, generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=32, shuffle=shuffle)


def fit(rate, **settings):
    """Return the monitor of a fit; the same arguments give the same fit."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        monitor = LandscapeMonitor(effort="standard")
        trainer = L.Trainer(
            max_steps=STEPS, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
            enable_model_summary=False, callbacks=[monitor],
        )  # fmt: skip
        trainer.fit(Regression(rate), noisy_targets(), **settings)
        return monitor


def test_a_run_at_its_minimum_has_settled_although_noise_hides_that_its_loss_stands_still(without_pictures):
    monitor = fit(rate=0.003)
    assert monitor.verdict.cause is Cause.SETTLED
    assert monitor.verdict.evidence.get(Trend).batches == 6
    assert "on the same 6 batches" in monitor.verdict.reason
    assert not any(verdict.stuck for verdict in monitor.verdicts)


def test_a_loss_that_falls_on_the_same_batches_is_not_diagnosed(without_pictures):
    monitor = fit(rate=0.001)
    assert monitor._state.progress.on_same_batches.falling
    assert monitor.verdicts == ()


def verdicts(directory, ckpt_path=None):
    """Return step, cause and reason of each verdict, of a run that writes a checkpoint after 512 steps or resumes."""
    torch.manual_seed(1)
    monitor = LandscapeMonitor(effort="standard")
    trainer = L.Trainer(
        max_steps=STEPS, logger=False, enable_progress_bar=False, accelerator="cpu", enable_model_summary=False,
        callbacks=[monitor, ModelCheckpoint(directory, every_n_train_steps=512, save_top_k=-1, filename="{step}")],
    )  # fmt: skip
    trainer.fit(Regression(0.003), noisy_targets(shuffle=False), ckpt_path=ckpt_path)
    return [(verdict.step, verdict.cause, verdict.reason) for verdict in monitor.verdicts]


def test_a_run_that_resumes_while_noise_hides_the_trend_gets_the_same_verdicts(tmp_path, without_pictures):
    straight = verdicts(tmp_path)
    assert any("on the same 6 batches" in reason for _, _, reason in straight)
    assert verdicts(tmp_path, tmp_path / "step=512.ckpt") == straight
