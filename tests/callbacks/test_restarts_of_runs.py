"""A restart that the budget of the first diagnosis does not cover goes on at later ones."""

from __future__ import annotations

from typing import Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.diagnosis import verdict_of
from lightning_landscape.evidence import Cause, Evidence, Restart, Trials, Verdict
from lightning_landscape.examination.effort import Effort

pytestmark = pytest.mark.slow
STEPS = 768
EPOCH = 256
"""batches of an epoch"""
GRADIENTS = 250


def open_question(evidence: Evidence) -> Verdict:
    """A detector that never names a cause and never alarms, so that all probes of a diagnosis run."""
    return verdict_of(evidence, Cause.UNDECIDED, "", stuck=False)


class Run(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-3)


def random_labels() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(1)
    inputs, labels = torch.randn(8192, 12, generator=generator), torch.randint(0, 4, (8192,), generator=generator)
    return DataLoader(TensorDataset(inputs, labels), batch_size=8192 // EPOCH)


def train(monitor: LandscapeMonitor, steps: int) -> None:
    trainer = L.Trainer(
        max_steps=steps,
        callbacks=[monitor],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(Run(), random_labels())


@pytest.fixture
def small_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run choose the effort of one with batches of 40 ms."""
    chosen = Effort.chosen
    monkeypatch.setattr(Effort, "chosen", lambda setting, seconds: chosen(setting, 0.04))


@pytest.mark.usefixtures("small_budget")
def test_a_restart_goes_on_at_later_diagnoses_and_within_the_budget_of_all_diagnoses():
    straight = LandscapeMonitor(detectors=[open_question])
    train(straight, STEPS)
    restarts, trials = straight.readings.of(Restart), straight.readings.of(Trials)
    assert len(trials) == 1, "later diagnoses take the trials over"
    assert restarts, "the restart is complete in the end"
    assert restarts[0][0] > trials[0][0], "the first diagnosis did not cover it"
    assert restarts[-1][1].adam.steps >= 100
    spent = straight._examination.limits.account.spent
    assert spent <= 2 * GRADIENTS + 0.01 * STEPS + 3
