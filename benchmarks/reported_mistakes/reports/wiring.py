"""Reports of parameters that the optimizer does not hold, and of gradients that are not cleared."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import digits, loader
from benchmarks.reported_mistakes.modules import Recipe, Supervised
from benchmarks.reported_mistakes.registry import failing
from benchmarks.reported_mistakes.reports.networks import Convolutions


class _Listed(nn.Module):
    def __init__(self, cured):
        super().__init__()
        layers = [nn.Linear(64, 64) for _ in range(10)]
        self.layers, self.head = nn.ModuleList(layers) if cured else layers, nn.Linear(64, 10)

    def forward(self, x):
        h = x.flatten(1)
        for layer in self.layers:
            h = layer(h).relu()
        return self.head(h)


@failing(
    900,
    mistake="Ten layers lie in a plain list, so parameters() does not return their weights.",
    fix="Use nn.ModuleList.",
    causes=("not_updating",),
    words=("optimizer hold", "self.parameters", "no gradient", "modulelist", "regist"),
    source="https://www.engineermaxxing.com/micro/lessons/pytorch-internals.html "
    "https://theflyingbirds.in/blog/pytorch-mysteries-lets-understand-nnmodule-nnparameter-modulelist-sequential-and-the-classic-layers-linear-activations-dropout",
)
def layers_in_a_plain_list(seed, cured):
    """Build a deep classifier of digits."""
    return Supervised(_Listed(cured), F.cross_entropy), loader(*digits()), {}


class _Pruned(Supervised):
    """A classifier whose layers are replaced by narrower ones when training starts, as a pruning tool does."""

    def __init__(self, cured):
        super().__init__(Convolutions(), F.cross_entropy)
        self.cured = cured

    def on_train_start(self):
        if not self.cured:
            self.net = Convolutions(width=12)


@failing(
    1000,
    mistake="The layers are replaced after the optimizer was made, which still holds the old ones.",
    fix="Make a new optimizer after the layers are replaced.",
    causes=("not_updating",),
    words=("optimizer hold", "self.parameters", "copy made before"),
    source="https://github.com/microsoft/nni/issues/4521 https://github.com/pytorch/pytorch/issues/54765",
)
def pruned_after_the_optimizer(seed, cured):
    """Build a convolutional classifier of digits that is pruned."""
    return _Pruned(cured), loader(*digits()), {}


class _Accumulating(Recipe):
    rate = 5e-3

    def __init__(self, cured):
        super().__init__()
        self.automatic_optimization, self.cured = False, cured
        self.net = nn.Sequential(*(
            nn.Flatten(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        ))

    def training_step(self, batch, batch_idx):
        x, y = batch
        optimizer = self.optimizers()
        if self.cured:
            optimizer.zero_grad()
        loss = F.cross_entropy(self.net(x), y)
        self.manual_backward(loss)
        optimizer.step()
        self.log("loss", loss)


@failing(
    800,
    mistake="zero_grad is missing in manual optimization, so the gradients of all batches add up.",
    fix="Call zero_grad before manual_backward.",
    causes=("learning_rate_too_large", "diverged"),
    words=("zero_grad",),
    source="https://github.com/Lightning-AI/pytorch-lightning/issues/6282 "
    "https://github.com/LoreGoetschalckx/GANalyze/issues/7",
)
def manual_steps_without_zero_grad(seed, cured):
    """Build a classifier of digits with manual optimization."""
    return _Accumulating(cured), loader(*digits()), {}
