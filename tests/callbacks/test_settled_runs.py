"""Runs that learned something and stand still, beside healthy twins: `settled` is not said where more can be had."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.evidence import Cause
from tests.findings.examples import fitted

pytestmark = pytest.mark.slow


class Step(L.LightningModule):
    """Trains a network with a loss of its outputs and the targets."""

    def __init__(self, net, loss, optimizer):
        super().__init__()
        self.net, self.loss, self.optimizer = net, loss, optimizer

    def training_step(self, batch, batch_idx):
        inputs, targets = batch
        return self.loss(self.net(inputs), targets)

    def configure_optimizers(self):
        return self.optimizer(self.parameters())


def fit(build, loss, optimizer, data, steps):
    """Return the verdicts on a fit; the same arguments give the same fit."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        module = Step(build(), loss, optimizer)
        loader = DataLoader(TensorDataset(*data), batch_size=32, shuffle=True, drop_last=True)
        return fitted(module, loader, steps).verdicts


def causes(verdicts):
    return [verdict.cause for verdict in verdicts if verdict.stuck]


def waves():
    """Return inputs (1024, 6) and targets (1024, 1) with a linear part and a product of inputs."""
    x = torch.randn(1024, 6, generator=torch.Generator().manual_seed(3))
    return x, (x[:, :1] * x[:, 1:2]).sin() + x[:, 2:3]


def two_tanh_layers():
    return nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


@pytest.mark.parametrize(("rate", "found"), [(0.3, [Cause.LEARNING_RATE_TOO_LARGE]), (0.003, [])])
def test_initial_weights_show_that_a_noisy_run_has_learned_too_little_because_of_its_rate(
    rate, found, without_pictures
):
    verdicts = fit(two_tanh_layers, F.mse_loss, lambda p: torch.optim.AdamW(p, lr=rate), waves(), 1200)
    assert causes(verdicts)[:1] == found
    assert rate < 0.3 or Cause.SETTLED not in {verdict.cause for verdict in verdicts}


class Tokens(nn.Module):
    """A transformer with two layers: tokens (samples, 16) to logits (samples, 12, 16)."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.embedding, self.position = nn.Embedding(12, 32), nn.Parameter(0.02 * torch.randn(16, 32))
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.logits = nn.Linear(32, 12)

    def forward(self, tokens):
        mask = nn.Transformer.generate_square_subsequent_mask(16)
        return self.logits(self.layers(self.embedding(tokens) + self.position, mask, is_causal=True)).transpose(1, 2)


def sums():
    """Return tokens (1024, 16) and the tokens that follow: sums of the two before, modulo 12, one in ten random."""
    generator = torch.Generator().manual_seed(3)
    tokens = [torch.randint(0, 12, (1024,), generator=generator) for _ in range(2)]
    for _ in range(15):
        noise, other = torch.rand(1024, generator=generator), torch.randint(0, 12, (1024,), generator=generator)
        tokens.append(torch.where(noise < 0.1, other, (tokens[-1] + tokens[-2]) % 12))
    sequence = torch.stack(tokens, 1)
    return sequence[:, :16], sequence[:, 1:]


@pytest.mark.parametrize(("rate", "found"), [(0.1, [Cause.LEARNING_RATE_TOO_LARGE]), (0.001, [])])
def test_a_transformer_that_blew_up_in_its_first_steps_is_told_its_rate_and_not_its_dead_units(
    rate, found, without_pictures
):
    verdicts = fit(Tokens, F.cross_entropy, lambda p: torch.optim.Adam(p, lr=rate), sums(), 400)
    assert causes(verdicts)[:1] == found
