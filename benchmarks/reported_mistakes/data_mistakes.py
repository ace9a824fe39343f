"""Mistakes in the data: inputs, targets, their scale and their order."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import Dataset

from benchmarks.reported_mistakes.data import brackets, cancer, digits, generator, loader, standardised, surface, waves
from benchmarks.reported_mistakes.modules import Recipe, Recurrent, Rows, Supervised
from benchmarks.reported_mistakes.registry import failing


@failing(
    600,
    mistake="The images are scaled to [0, 1] while they are still integers, so all pixels are 0.",
    fix="Convert to float before the division.",
    causes=("nothing_to_learn", "flat_region"),
    words=(
        "inputs are constant",
        "same input",
        "inputs are all",
        "all zero",
        "inputs do not",
        "constant input",
        "does not use its input",
        "ignores",
        "look at a batch",
        "same for all",
    ),
    source="https://github.com/keras-team/keras/issues/255",
)
def images_scaled_as_integers(seed, cured):
    """Build a classifier of digits that are stored as bytes."""
    x, y = digits()
    stored = (16 * x).to(torch.uint8)
    scaled = stored.float() / 17 if cured else stored // 17
    return Supervised(Rows(10), nn.CrossEntropyLoss()), loader(scaled.float(), y), {}


@failing(
    700,
    mistake="The columns are between 0.001 and 4000 and are not scaled.",
    fix="Standardise each column.",
    causes=("learning_rate_too_large", "flat_region", "diverged"),
    words=("scale", "standardi", "normali"),
    source="https://github.com/BrainJS/brain.js/issues/278 https://github.com/dnouri/nolearn/issues/72",
)
def columns_not_scaled(seed, cured):
    """Build a classifier of tumours."""
    x, y = cancer()
    net = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 2))
    module = Supervised(net, nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9))
    return module, loader(standardised(x) if cured else x, y, batch=32), {}


class _Prices(Recipe):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale
        self.net = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))

    def loss_of(self, batch):
        x, y = batch
        return (self.net(x) - y).abs().mean()

    def quality(self, batches):
        """Return the mean error as a share of the mean price."""
        with torch.no_grad():
            errors = [float((self.net(x) - y).abs().mean()) for x, y in batches]
        return sum(errors) / len(errors) * self.scale / 250_000


@failing(
    900,
    mistake="The targets are prices near 250,000, far beyond what Adam's steps of 0.001 can reach.",
    fix="Divide the targets by 100,000 or standardise them.",
    causes=("learning_rate_too_small",),
    words=("scale", "standardi", "normali", "larger learning rate", "learning rate is too small"),
    source="https://github.com/DeepRank/deeprank/issues/16 https://github.com/keras-team/keras/issues/1462",
)
def prices_not_scaled(seed, cured):
    """Build a regression of the prices of houses."""
    x, y = surface(seed)
    scale = 100_000 if cured else 1
    return _Prices(scale), loader(x, (250_000 + 60_000 * y) / scale), {}


@failing(
    800,
    mistake="The images and the labels are listed in different orders, so a label belongs to another image.",
    fix="Sort both lists of files in the same way.",
    causes=("nothing_to_learn",),
    words=("belong", "pairing", "labels do not match", "labels match", "mismatch", "wrong labels", "look at a batch"),
    source="https://github.com/NoahVl/Explaining-In-Style-Reproducibility-Study/issues/9 "
    "https://github.com/minar09/cp-vton-plus/issues/8",
)
def labels_out_of_step(seed, cured):
    """Build a classifier of 12,000 waves whose labels are listed by name: 1, 10, 100, 1000, 1001, ..."""
    x, y = waves(seed, n=12_000)
    order = torch.tensor(sorted(range(len(y)), key=str))
    return Supervised(Recurrent(6), nn.CrossEntropyLoss()), loader(x[:, ::2], y if cured else y[order]), {}


class _Encoded(Dataset):
    """Token sequences whose kinds are numbered anew whenever an epoch begins, as from an unordered set."""

    def __init__(self, data, kinds, cured):
        self.x, self.y, self.kinds, self.cured = *data, kinds, cured
        self.numbers, self.read = torch.arange(kinds), 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        if self.read % len(self.x) == 0 and not self.cured:
            self.numbers = torch.randperm(self.kinds)
        self.read += 1
        return self.x[index], self.numbers[self.y[index]]


@failing(
    800,
    mistake="The classes are numbered by list(set(names)) at the beginning of each epoch, each time otherwise.",
    fix="Number the classes once, by sorted(set(names)).",
    causes=("nothing_to_learn",),
    words=(
        "belong",
        "labels change",
        "targets change",
        "labels are not the same",
        "wrong labels",
        "look at a batch",
        "inconsistent",
        "mismatch",
    ),
    source="https://github.com/tkipf/pygcn/issues/41 https://github.com/JoakimEdin/explainable-medical-coding/issues/7",
)
def classes_numbered_anew(seed, cured):
    """Build a classifier of digits from a small file, which is read every ten batches."""
    x, y = digits()
    pick = torch.randperm(len(x), generator=generator(seed))[:640]
    return Supervised(Rows(10), nn.CrossEntropyLoss()), loader(_Encoded((x[pick], y[pick]), 10, cured)), {}


@failing(
    900,
    mistake="The file is sorted by its target and is not shuffled, so the network follows the order.",
    fix="Set shuffle=True in the loader.",
    causes=("learning_rate_too_large", "nothing_to_learn"),
    words=("shuffl", "order", "sorted"),
    source="https://github.com/BVLC/caffe/issues/1445 https://github.com/megvii-model/ShuffleNet-Series/issues/24",
)
def file_sorted_by_target(seed, cured):
    """Build a classifier of token sequences: all sequences of one kind come first."""
    x, y = brackets(seed)
    order = y.argsort(stable=True)
    module = Supervised(
        Recurrent(2, tokens=10), nn.CrossEntropyLoss(), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)
    )
    return module, loader(x[order], y[order], shuffle=cured), {}
