"""Mistakes in shapes, and outputs that cannot reach the targets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import generator, loader, surface, waves
from benchmarks.reported_mistakes.modules import Recipe, Residual, Supervised
from benchmarks.reported_mistakes.registry import failing


class _Regression(Recipe):
    rate = 2e-3

    def __init__(self, cured):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), Residual(32, 64), nn.Linear(32, 1))
        self.cured = cured

    def loss_of(self, batch):
        x, y = batch
        output = self.net(x)
        error = output.squeeze(1) - y if self.cured else output - y
        return error.square().mean()


@failing(
    700,
    mistake="A column (n, 1) minus a row (n,) is a matrix (n, n), so each output is compared with all targets.",
    fix="Squeeze the output, or unsqueeze the target.",
    causes=("nothing_to_learn", "poor_minimum", "flat_region"),
    words=("broadcast", "squeeze", "shape"),
    source="https://github.com/pytorch/pytorch/pull/18349 https://github.com/deepset-ai/FARM/issues/229",
)
def column_minus_row(seed, cured):
    """Build a regression with a squared error that is written by hand."""
    return _Regression(cured), loader(*surface(seed)), {}


class _Sequence(Recipe):
    rate = 3e-3

    def __init__(self, cured):
        super().__init__()
        self.embed, self.gru, self.head = nn.Linear(4, 24), nn.GRU(24, 24), nn.Linear(24, 6)
        self.cured = cured

    def loss_of(self, batch):
        x, y = batch
        h = self.embed(x.unflatten(1, (12, 4)))
        h = h.transpose(0, 1) if self.cured else h.reshape(12, len(x), 24)
        return F.cross_entropy(self.head(self.gru(h)[0][-1]), y)


@failing(
    700,
    mistake="reshape stands where transpose is meant, so the recurrent network reads pieces of several samples.",
    fix="Use transpose(0, 1).",
    causes=("nothing_to_learn", "poor_minimum"),
    words=("transpose", "permute", "mixes samples", "mixed up", "other samples", "reshape", "belong"),
    source="https://github.com/HHTseng/video-classification/issues/42 https://github.com/timbmg/Sentence-VAE/issues/15",
)
def reshape_for_transpose(seed, cured):
    """Build a recurrent classifier of waves that reads four values at a time."""
    return _Sequence(cured), loader(*waves(seed)), {}


def _weather(seed):
    """Return six measurements (n, 6) and the temperature that follows from them, between about 5 and 30 degrees."""
    x, y = surface(seed)
    return x, 17 + 5 * y


class _Temperature(Recipe):
    rate = 1e-2

    def __init__(self, cured):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 1))
        self.cured = cured

    def loss_of(self, batch):
        x, y = batch
        output = self.net(x).squeeze(1)
        return F.mse_loss(output if self.cured else output.tanh(), y)


@failing(
    900,
    mistake="The network ends in a tanh, but the targets are temperatures between 5 and 30.",
    fix="Leave the last tanh out, or scale the targets to its range.",
    causes=("flat_region", "poor_minimum"),
    words=("tanh", "saturat", "bounded", "range of", "final activation", "last activation", "activation at the end"),
    source="http://ansaurus.com/question/3644795-neural-network-python https://dans.world/Bounded-output-networks/",
)
def tanh_for_degrees(seed, cured):
    """Build a regression of temperatures."""
    return _Temperature(cured), loader(*_weather(seed)), {}


@failing(
    700,
    mistake="The network ends in a ReLU, but two thirds of the targets are negative.",
    fix="Leave the last ReLU out.",
    causes=("flat_region", "poor_minimum"),
    words=("relu", "negative", "bounded", "range of", "final activation", "last activation", "activation at the end"),
    source="https://github.com/ProteomicsML/ProteomicsML/pull/203 "
    "https://github.com/jcjohnson/pytorch-examples/issues/30",
)
def relu_at_the_output(seed, cured):
    """Build a regression of standardised yields of two quantities."""
    g = generator(seed)
    x = torch.randn(4000, 8, generator=g)
    y = torch.stack([x[:, 0] * x[:, 1] - 0.6, torch.cos(2 * x[:, 2]) - 0.8 + 0.3 * x[:, 3]], 1)
    layers = [nn.Linear(8, 40), Residual(40, 80), Residual(40, 80), nn.Linear(40, 2)]
    net = nn.Sequential(*layers) if cured else nn.Sequential(*layers, nn.ReLU())
    return Supervised(net, nn.MSELoss()), loader(x, y), {}
