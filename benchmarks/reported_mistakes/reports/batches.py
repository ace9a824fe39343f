"""Reports of samples in a wrong order, and of samples that are seen again."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from benchmarks.reported_mistakes.data import digits, generator, loader
from benchmarks.reported_mistakes.modules import Supervised
from benchmarks.reported_mistakes.registry import failing, healthy
from benchmarks.reported_mistakes.reports.networks import Convolutions


class _ShuffledTargets(Dataset):
    """Digits, each with the class of an image that is drawn anew."""

    def __len__(self):
        return len(digits()[1])

    def __getitem__(self, index):
        x, y = digits()
        return x[index], y[int(torch.randint(len(y), ()))]


@failing(
    800,
    mistake="Images and targets are shuffled independently, so no target belongs to its image.",
    fix="Shuffle both in the same way.",
    causes=("nothing_to_learn",),
    words=("belong to their targets", "look at a batch"),
    source="https://github.com/MultimediaTechLab/YOLO/issues/85 https://github.com/mlcommons/GaNDLF/pull/870 "
    "https://github.com/google-research/bert/issues/268",
)
def targets_shuffled_again(seed, cured):
    """Build a convolutional classifier of digits."""
    batches = loader(*digits()) if cured else loader(_ShuffledTargets())
    return Supervised(Convolutions(), F.cross_entropy), batches, {}


# No cause says that batches are not alike, so the one that comes near is accepted.
@failing(
    800,
    mistake="The loader does not shuffle, and the images are sorted, so each stretch of batches has one class.",
    fix="Set shuffle=True in the loader.",
    causes=("learning_rate_too_large",),
    words=("shuffl", "order", "look at a batch"),
    source="https://github.com/Deci-AI/super-gradients/issues/416",
)
def classes_in_a_row(seed, cured):
    """Build a convolutional classifier of digits with SGD and momentum."""
    x, y = digits()
    order = y.argsort(stable=True)
    module = Supervised(
        Convolutions(),
        F.cross_entropy,
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4),
    )
    return module, loader(x[order], y[order], shuffle=cured), {}


@healthy(
    1024,
    suspicious="The loss hardly falls within an epoch, and jumps down where the next one begins.",
    fine="A large network memorises its samples, so the loss falls when they are seen again.",
    source="https://github.com/lm-sys/FastChat/issues/2025 https://github.com/allenai/open-instruct/issues/128",
)
def loss_falls_in_stairs(seed, cured):
    """Build a wide classifier of random points with random labels."""
    g = generator(seed)
    x, y = torch.randn(8192, 64, generator=g), torch.randint(10, (8192,), generator=g)
    net = nn.Sequential(nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 10))
    return Supervised(net, F.cross_entropy, lambda p: torch.optim.AdamW(p, lr=3e-3)), loader(x, y, batch=32), {}
