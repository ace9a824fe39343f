"""Small runs whose learning rate is far too small or far too large, of kinds on which other libraries are used."""

from __future__ import annotations

import warnings
from itertools import pairwise

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import Cause, LandscapeMonitor

INPUTS = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
RAW = 175 + 43 * INPUTS
"""such as prices or counts, which a forecasting library may scale or not"""


class Module(L.LightningModule):
    def __init__(self, sizes, rate, loss_fn):
        super().__init__()
        layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
        self.net, self.rate, self.loss_fn = nn.Sequential(*layers[:-1]), rate, loss_fn

    def training_step(self, batch, batch_idx):
        return self.loss_fn(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def alarms(sizes, rate, loss_fn, inputs, targets):
    """Return the causes of all alarms in a run of 300 steps."""
    torch.manual_seed(0)
    monitor = LandscapeMonitor(effort="standard")
    trainer = L.Trainer(
        max_steps=300, callbacks=[monitor], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Module(sizes, rate, loss_fn), DataLoader(TensorDataset(inputs, targets), 32, shuffle=True))
    return {verdict.cause for verdict in monitor.verdicts if verdict.stuck}


@pytest.mark.slow
def test_a_tiny_rate_is_too_small_although_the_inputs_are_large():
    found = alarms((8, 32, 1), 1e-7, F.mse_loss, RAW, RAW.mean(1, keepdim=True))
    assert found == {Cause.LEARNING_RATE_TOO_SMALL}


@pytest.mark.slow
def test_a_thousandfold_rate_is_too_large_also_where_it_has_left_units_dead_and_gradients_of_zero():
    classes = (INPUTS[:, 0] * INPUTS[:, 1] > 0).long()
    assert alarms((8, 32, 32, 2), 10.0, F.cross_entropy, INPUTS, classes) == {Cause.LEARNING_RATE_TOO_LARGE}
