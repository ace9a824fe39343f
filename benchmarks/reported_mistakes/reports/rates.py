"""Reports of learning rates, schedules, weight decay and scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import make_classification
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.reported_mistakes.data import digits, loader, standardised
from benchmarks.reported_mistakes.modules import Supervised
from benchmarks.reported_mistakes.registry import failing, passing
from benchmarks.reported_mistakes.reports.networks import Convolutions, repetitions


def _transformer(width, layers, dropout=0.0, **settings):
    """Return transformer layers with four heads, over sequences (n, length, width)."""
    layer = nn.TransformerEncoderLayer(width, 4, dropout=dropout, batch_first=True, **settings)
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)


class _Patches(nn.Module):
    """A vision transformer over the 16 patches of 2 by 2 pixels of an image (n, 8, 8)."""

    def __init__(self, dropout, width=64):
        super().__init__()
        self.patch, self.drop = nn.Linear(4, width), nn.Dropout(dropout)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.place = nn.Parameter(torch.randn(1, 17, width))
        self.layers = _transformer(width, 4, dropout, dim_feedforward=2 * width, activation="gelu", norm_first=True)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, x):
        patches = F.unfold(x.unsqueeze(1), 2, stride=2).transpose(1, 2)
        h = torch.cat([self.token.expand(len(x), -1, -1), self.patch(patches)], 1) + self.place
        return self.head(self.layers(self.drop(h))[:, 0])


@failing(
    600,
    mistake="Adam at 5e-3 with weight_decay=0.1, and a dropout of a half, are too much for a vision transformer.",
    fix="Use a learning rate of 3e-4, no weight decay in Adam, and a dropout of 0.1.",
    causes=("learning_rate_too_large",),
    words=("weight decay", "learning rate", "dropout"),
    source="https://github.com/lucidrains/vit-pytorch/issues/16",
)
def vision_transformer_under_decay(seed, cured):
    """Build a vision transformer for digits."""
    rate, decay, dropout = (3e-4, 0.0, 0.1) if cured else (5e-3, 0.1, 0.5)
    module = Supervised(_Patches(dropout), F.cross_entropy, lambda p: torch.optim.Adam(p, lr=rate, weight_decay=decay))
    return module, loader(*digits()), {}


@failing(
    1000,
    mistake="The targets are cubes of up to 6e10, and the inputs are not scaled either.",
    fix="Standardise inputs and targets.",
    causes=("learning_rate_too_small",),
    words=("normalis", "scale", "learning rate"),
    source="https://discuss.pytorch.org/t/neural-network-could-not-learn-on-this-type-of-data-why/96648/5",
)
def cubes_not_scaled(seed, cured):
    """Build a regression of the cubes of the numbers below 4000."""
    x = torch.arange(1.0, 4000.0)[:, None]
    y = x**3
    data = (standardised(x), standardised(y)) if cured else (x, y)
    net = nn.Sequential(nn.Linear(1, 50), nn.ReLU(), nn.Linear(50, 1))
    return Supervised(net, F.mse_loss), loader(*data, batch=128), {}


@failing(
    1000,
    mistake="Plain SGD at 1e-4 is far too slow.",
    fix="Use a learning rate of 0.1, or Adam.",
    causes=("learning_rate_too_small",),
    words=("larger learning rate", "times the learning rate", "adam"),
    source="https://discuss.pytorch.org/t/loss-not-converging-on-a-binary-classification-problem/177433",
)
def plain_sgd_at_1e_minus_4(seed, cured):
    """Build a classifier of 600 points whose columns are scaled to [0, 1]."""
    points, labels = make_classification(600, 7, n_informative=5, random_state=seed)
    points = (points - points.min(0)) / (points.max(0) - points.min(0))
    net = nn.Sequential(
        *(nn.Linear(7, 60), nn.ReLU(), nn.Linear(60, 100), nn.ReLU()),
        *(nn.Linear(100, 30), nn.ReLU(), nn.Linear(30, 2)),
    )
    for layer in net[::2]:
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    rate = 0.1 if cured else 1e-4
    module = Supervised(net, F.cross_entropy, lambda p: torch.optim.SGD(p, lr=rate))
    return module, loader(torch.tensor(points).float(), torch.tensor(labels), batch=10), {}


@failing(
    900,
    mistake="The schedule ends after 40 epochs but is stepped after each batch, so the rate is 0 from step 40 on.",
    fix="Let the schedule end with the run.",
    causes=("learning_rate_too_small", "not_updating"),
    words=("schedul", "learning rate"),
    source="https://github.com/Lightning-AI/pytorch-lightning/issues/18570",
)
def schedule_ends_at_step_40(seed, cured):
    """Build a convolutional classifier of digits with a warm-up and a linear decay."""
    rate, end = (1e-3, 900) if cured else (3e-4, 40)
    module = Supervised(
        Convolutions(),
        F.cross_entropy,
        lambda p: torch.optim.AdamW(p, lr=rate),
        lambda o: {
            "scheduler": LambdaLR(o, lambda step: min(1.0, (step + 1) / 10) * max(0.0, 1 - step / end)),
            "interval": "step",
        },
    )
    return module, loader(*digits()), {}


class _FirstToken(nn.Module):
    """Two transformer layers over tokens (n, 16), and a score of the first one's vector (n,)."""

    def __init__(self, width=32):
        super().__init__()
        self.embed, self.place = nn.Embedding(12, width), nn.Parameter(0.02 * torch.randn(16, width))
        self.layers, self.head = _transformer(width, 2, dim_feedforward=4 * width), nn.Linear(width, 1)

    def forward(self, x):
        return self.head(self.layers(self.embed(x) + self.place)[:, 0]).squeeze(1)


@passing(
    1500,
    suspicious="The loss stays at 0.693, the value of a guess, for the whole warm-up of a transformer's schedule.",
    fine="It falls once the learning rate is high enough; a larger factor of the schedule makes it fall earlier.",
    causes=("saddle_point", "learning_rate_too_small"),
    source="https://discuss.pytorch.org/t/bce-loss-stuck-at-0-693-in-the-beginnng-of-training-and-then-started-to-"
    "decrease-why/183958 https://datascience.stackexchange.com/questions/122686/bce-loss-stuck-at-0-693-in-the-"
    "beginnng-of-training-and-then-started-to-decrease",
)
def guesses_until_the_warm_up_ends(seed, cured):
    """Build a transformer that says whether the first token comes again."""
    x, y = repetitions(seed)
    module = Supervised(
        _FirstToken(),
        F.binary_cross_entropy_with_logits,
        lambda p: torch.optim.Adam(p, lr=0.15 / 32**0.5, betas=(0.9, 0.98), eps=1e-9),
        lambda o: {
            "scheduler": LambdaLR(o, lambda step: min((step + 1) ** -0.5, (step + 1) / 600**1.5)),
            "interval": "step",
        },
    )
    return module, loader(x, y.float()), {}
