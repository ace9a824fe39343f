"""Mistakes in weight decay, clipping, manual optimization and starting points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.reported_mistakes.data import digits, loader, standardised, surface, waves
from benchmarks.reported_mistakes.modules import Recipe, Recurrent, Residual, Rows, Supervised
from benchmarks.reported_mistakes.registry import failing


@failing(
    700,
    mistake="weight_decay=0.5 in Adam draws all weights to 0, so the output is the same for all inputs.",
    fix="Use a weight decay of 1e-4.",
    causes=("poor_minimum", "flat_region", "saddle_point"),
    words=("weight decay", "weight_decay"),
    source="https://github.com/BVLC/caffe/issues/1396",
)
def decay_of_one_half(seed, cured):
    """Build a recurrent classifier of waves."""
    decay = 1e-4 if cured else 0.5
    module = Supervised(Recurrent(6), nn.CrossEntropyLoss(), lambda p: torch.optim.Adam(p, lr=3e-3, weight_decay=decay))
    x, y = waves(seed, length=24)
    return module, loader(x, y), {}


@failing(
    800,
    mistake="gradient_clip_val is 0.001, so each step of SGD is a thousandth of what it should be.",
    fix="Clip at 1.0, or not at all.",
    causes=("learning_rate_too_small",),
    words=("clip",),
    source="https://github.com/wandb/senpai/pull/978 https://github.com/facebookresearch/detr/issues/91",
)
def clipped_at_a_thousandth(seed, cured):
    """Build a classifier of digits that is trained with SGD."""
    module = Supervised(Rows(10), nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, lr=0.1))
    return module, loader(*digits()), {"gradient_clip_val": 1.0 if cured else 0.001}


class _Manual(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.automatic_optimization = False
        self.cured = cured
        self.encoder = nn.Sequential(nn.Linear(64, 40), Residual(40, 40), nn.Linear(40, 10))
        self.decoder = nn.Sequential(nn.Linear(10, 40), Residual(40, 40), nn.Linear(40, 64))

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        x = batch[0].flatten(1)
        loss = F.mse_loss(self.decoder(self.encoder(x)), x)
        if self.cured:
            optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.log("train_loss", loss)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


@failing(
    700,
    mistake="zero_grad is missing in manual optimization, so each step uses the sum of all gradients so far.",
    fix="Call zero_grad before manual_backward.",
    causes=("learning_rate_too_large", "diverged"),
    words=("zero_grad",),
    source="https://github.com/Lightning-AI/pytorch-lightning/issues/14527 "
    "https://thecodeforge.io/ml-ai/pytorch-training-loop/",
)
def gradients_are_never_cleared(seed, cured):
    """Build an autoencoder of digits with manual optimization."""
    return _Manual(cured), loader(digits()[0]), {}


class _Adapters(Recipe):
    rate = 5e-3

    def __init__(self, cured):
        super().__init__()
        self.frozen = Rows(32)
        self.frozen.requires_grad_(requires_grad=False)
        self.down, self.up = nn.Linear(32, 8, bias=False), nn.Linear(8, 10, bias=False)
        nn.init.zeros_(self.up.weight)
        if not cured:
            nn.init.zeros_(self.down.weight)

    def loss_of(self, batch):
        x, y = batch
        return F.cross_entropy(self.up(self.down(self.frozen(4 * x))), y)


@failing(
    600,
    mistake="Both matrices of the adapter start at 0, so the gradient of each is 0.",
    fix="Start one of the two matrices at random values.",
    causes=("saddle_point", "flat_region", "not_updating"),
    words=("initial", "saddle", "symmetr", "perturb", "start at 0", "are all 0", "all zero"),
    source="https://github.com/yz93/LAVT-RIS/issues/25",
)
def both_adapter_matrices_zero(seed, cured):
    """Build a frozen network with a low-rank adapter behind it."""
    return _Adapters(cured), loader(*digits()), {}


@failing(
    800,
    mistake="All weights start at the same constant, so all units of a layer stay equal.",
    fix="Start at random weights.",
    causes=("saddle_point", "poor_minimum", "flat_region"),
    words=("initial", "symmetr", "perturb", "units are equal", "same weights", "identical"),
    source="https://github.com/wagonhelm/NaNmnist/issues/2",
)
def constant_weights(seed, cured):
    """Build a regression whose author sets the weights by hand."""
    net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))
    if not cured:
        for layer in net:
            if isinstance(layer, nn.Linear):
                nn.init.constant_(layer.weight, 0.1)
                nn.init.zeros_(layer.bias)
    x, y = surface(seed)
    module = Supervised(net, nn.MSELoss(), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9))
    return module, loader(standardised(x), y), {}
