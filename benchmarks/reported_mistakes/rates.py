"""Mistakes in the learning rate, in its schedule, and in what is frozen when."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, ReduceLROnPlateau

from benchmarks.reported_mistakes.data import brackets, digits, loader, surface, waves
from benchmarks.reported_mistakes.modules import Recipe, Recurrent, Residual, Rows, Supervised, tanh_stack
from benchmarks.reported_mistakes.registry import failing


class _LayerRates(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.layers, self.head, self.cured = tanh_stack([48, 20, 10, 4]), nn.Linear(4, 6), cured

    def loss_of(self, batch):
        x, y = batch
        return F.cross_entropy(self.head(self.layers(x)), y)

    def configure_optimizers(self):
        linear = [m for m in self.layers if isinstance(m, nn.Linear)] + [self.head]
        last = len(linear) - 1
        factors = [(k + 1) / (last + 1) if self.cured else k // last for k in range(len(linear))]
        groups = [{"params": m.parameters(), "lr": 5e-3 * f} for m, f in zip(linear, factors, strict=True)]
        return torch.optim.Adam(groups)


@failing(
    800,
    mistake="The learning rate of each layer is computed with // and is 0 for all layers but the last.",
    fix="Use / in place of //.",
    causes=("not_updating", "learning_rate_too_small"),
    words=("learning rate is 0", "learning rate of 0", "rate of zero", "parameter group", "lr=0", "rate is zero"),
    source="https://github.com/paninski-lab/lightning-pose/pull/205 https://github.com/karpathy/nanoGPT/pull/578",
)
def layer_rates_divide_to_zero(seed, cured):
    """Build a classifier of waves in which later layers learn faster."""
    return _LayerRates(cured), loader(*waves(seed)), {}


class _Resumed(Callback):
    """Freezes the body at an epoch, as a fine-tuning callback does when a run is resumed."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self.epoch:
            pl_module.net[0].requires_grad_(requires_grad=False)
            pl_module.net[1].requires_grad_(requires_grad=False)


@failing(
    900,
    mistake="A callback freezes the body after two epochs, and nothing unfreezes it.",
    fix="Set requires_grad back to True when the run is resumed.",
    causes=("not_updating",),
    words=("requires_grad", "frozen", "freez"),
    source="https://github.com/Lightning-AI/pytorch-lightning/issues/21901 "
    "https://github.com/Lightning-AI/pytorch-lightning/pull/21902",
)
def frozen_midway(seed, cured):
    """Build a narrow classifier of waves with a fine-tuning callback."""
    net = nn.Sequential(tanh_stack([48, 24, 6]), Residual(6, 24), nn.Linear(6, 6))
    module = Supervised(net, nn.CrossEntropyLoss(), lambda p: torch.optim.Adam(p, lr=1e-3))
    return module, loader(*waves(seed)), {} if cured else {"callbacks": [_Resumed(2)]}


@failing(
    700,
    mistake="ExponentialLR(0.9) is meant for epochs, but interval='step' steps it after each batch.",
    fix="Step the scheduler once an epoch.",
    causes=("learning_rate_too_small", "not_updating"),
    words=("schedul", "interval"),
    source="https://github.com/ivadomed/ivadomed/pull/55 https://github.com/pytorch/vision/issues/1261",
)
def decays_every_batch(seed, cured):
    """Build a recurrent classifier of token sequences."""
    interval = "epoch" if cured else "step"
    gamma = 0.9
    module = Supervised(
        Recurrent(2, tokens=10),
        nn.CrossEntropyLoss(),
        lambda p: torch.optim.Adam(p, lr=2e-3),
        lambda o: {"scheduler": ExponentialLR(o, gamma), "interval": interval},
    )
    return module, loader(*brackets(seed)), {}


@failing(
    800,
    mistake="ReduceLROnPlateau looks at the noisy loss of each batch with a patience of 1.",
    fix="Give it the loss of an epoch, and more patience.",
    causes=("learning_rate_too_small", "not_updating"),
    words=("schedul", "reducelronplateau", "patience"),
    source="https://github.com/pytorch/pytorch/issues/11305 https://github.com/fizyr/keras-retinanet/pull/1370",
)
def impatient_plateau(seed, cured):
    """Build a regression with residual blocks."""
    net = nn.Sequential(nn.Linear(6, 32), Residual(32, 64), Residual(32, 64), nn.Linear(32, 1), nn.Flatten(0))
    settings = {"interval": "epoch"} if cured else {"interval": "step"}
    patience = 10 if cured else 1
    module = Supervised(
        net,
        nn.SmoothL1Loss(),
        lambda p: torch.optim.Adam(p, lr=1e-3),
        lambda o: {"scheduler": ReduceLROnPlateau(o, patience=patience), "monitor": "train_loss", **settings},
    )
    return module, loader(*surface(seed), batch=32), {}


@failing(
    600,
    mistake="The warm-up counts 200 steps, but the scheduler is stepped once an epoch, so the rate stays near 0.",
    fix="Return the scheduler with interval='step'.",
    causes=("learning_rate_too_small", "not_updating"),
    words=("schedul", "warm-up", "warmup", "interval"),
    source="https://github.com/huggingface/transformers/issues/20916 "
    "https://github.com/Lightning-AI/pytorch-lightning/issues/3869",
)
def warmup_counts_epochs(seed, cured):
    """Build a classifier of digits whose schedule comes from another trainer."""
    module = Supervised(
        Rows(10),
        nn.CrossEntropyLoss(),
        lambda p: torch.optim.AdamW(p, lr=1e-3),
        lambda o: {
            "scheduler": LambdaLR(o, lambda step: min(1.0, step / 200)),
            "interval": "step" if cured else "epoch",
        },
    )
    return module, loader(*digits(), batch=16), {}


class _Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attend = nn.MultiheadAttention(width, 4, batch_first=True)
        self.inner = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, h):
        h = self.norms[0](h + self.attend(h, h, h, need_weights=False)[0])
        return self.norms[1](h + self.inner(h))


class _Columns(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.embed, self.place = nn.Linear(8, width), nn.Parameter(0.1 * torch.randn(8, width))
        self.blocks, self.head = nn.Sequential(_Block(width), _Block(width)), nn.Linear(width, 10)

    def forward(self, x):
        return self.head(self.blocks(self.embed(x.transpose(1, 2)) + self.place).mean(1))


@failing(
    700,
    mistake="A transformer is trained with a learning rate of 0.3, which was used for SGD, but with Adam.",
    fix="Use a learning rate near 1e-3.",
    causes=("learning_rate_too_large", "flat_region", "diverged"),
    words=(
        "smaller learning rate",
        "learning rate is too large",
        "lower the learning rate",
        "reduce the learning rate",
        "learning rate too large",
        "learning rate smaller",
        "smaller steps",
    ),
    source="https://github.com/mlfoundations/open_clip/issues/815 https://github.com/meetps/pytorch-semseg/issues/134",
)
def rate_of_sgd_in_adam(seed, cured):
    """Build a small transformer over the columns of digits."""
    rate = 1e-3 if cured else 0.3
    module = Supervised(_Columns(), nn.CrossEntropyLoss(), lambda p: torch.optim.Adam(p, lr=rate))
    return module, loader(*digits(), batch=32), {}
