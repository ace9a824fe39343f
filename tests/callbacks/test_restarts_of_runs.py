"""A restart that the budget of the first diagnosis does not cover goes on at later ones, also in a resumed run."""

from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.evidence import Restart, Trials
from lightning_landscape.examination.effort import Effort

pytestmark = pytest.mark.slow
STEPS = 768
EPOCH = 32
"""batches of an epoch; the run is resumed at the end of one"""
GRADIENTS = 125


class Run(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 4))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


def random_labels() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    inputs, labels = torch.randn(1024, 12, generator=generator), torch.randint(0, 4, (1024,), generator=generator)
    return DataLoader(TensorDataset(inputs, labels), batch_size=1024 // EPOCH)


def train(monitor: LandscapeMonitor, steps: int, **settings: Any) -> L.Trainer:
    trainer = L.Trainer(
        max_steps=steps,
        callbacks=[monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Run(), random_labels(), **settings)
    return trainer


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run choose the effort of one with batches of 80 ms."""
    chosen = Effort.chosen
    monkeypatch.setattr(Effort, "chosen", lambda setting, seconds: chosen(setting, 0.08))


@pytest.mark.usefixtures("small_budget")
def test_a_restart_goes_on_at_later_diagnoses_and_within_the_budget_of_all_diagnoses(tmp_path):
    straight = LandscapeMonitor()
    train(straight, STEPS)
    restarts, trials = straight.readings.of(Restart), straight.readings.of(Trials)
    assert len(trials) == 1, "later diagnoses take the trials over"
    assert restarts, "the restart is complete in the end"
    assert restarts[0][0] > trials[0][0], "the first diagnosis did not cover it"
    assert restarts[-1][1].own.steps >= 100
    spent = straight._examination.limits.account.spent
    assert spent <= 2 * GRADIENTS + 0.02 * STEPS + 3

    half, resumed = LandscapeMonitor(), LandscapeMonitor()
    stopped = (trials[0][0] // EPOCH + 2) * EPOCH
    trainer = train(half, stopped)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    train(resumed, STEPS, ckpt_path=tmp_path / "half.ckpt")
    assert resumed.readings.of(Restart) == restarts
    assert resumed.verdicts == straight.verdicts
