"""Mistakes in losses: collapse of embeddings, and values that are not finite."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.reported_mistakes.data import brackets, digits, generator, loader
from benchmarks.reported_mistakes.modules import Recipe, Residual
from benchmarks.reported_mistakes.registry import failing


class _Triplets(Dataset):
    """Batches of 32 triplets of images: two of the same class, and one of another class."""

    def __init__(self, x, y):
        self.x, self.y = x, y
        self.members = [(y == k).nonzero().squeeze(1) for k in range(10)]

    def __len__(self):
        return 64

    def __getitem__(self, index):
        anchor = torch.randint(len(self.y), (32,))
        classes = self.y[anchor].tolist()
        others = [(k + 1 + int(torch.randint(9, ()))) % 10 for k in classes]
        rows = [anchor]
        for wanted in (classes, others):
            rows.append(torch.stack([self.members[k][torch.randint(len(self.members[k]), ())] for k in wanted]))
        return tuple(self.x[r] for r in rows)


class _Embedding(Recipe):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), Residual(48, 96), nn.Linear(48, 8))

    def loss_of(self, batch):
        return F.triplet_margin_loss(*(self.net(x) for x in batch), margin=0.5)


@failing(
    700,
    mistake="The triplets are made with the labels of another split, so the loss is least if all embeddings are equal.",
    fix="Make the triplets with the labels that belong to the images.",
    causes=("nothing_to_learn", "poor_minimum", "flat_region", "saddle_point"),
    words=(
        "collapse",
        "same output",
        "output is the same",
        "outputs are the same",
        "constant output",
        "same for all",
        "belong",
        "look at a batch",
    ),
    source="https://github.com/omoindrot/tensorflow-triplet-loss/issues/6 "
    "https://github.com/VisualComputingInstitute/triplet-reid/issues/30",
)
def triplets_of_other_labels(seed, cured):
    """Build a network that embeds digits by triplets."""
    x, y = digits()
    if not cured:
        y = y[torch.randperm(len(y), generator=generator(seed))]
    return _Embedding(), DataLoader(_Triplets(x, y), batch_size=None, shuffle=True), {}


class _Distances(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.net, self.cured = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 3)), cured

    def loss_of(self, batch):
        x, y = batch
        z = self.net(x)
        square = (z[:, None] - z[None]).square().sum(2)
        distance = (square + 1e-9).sqrt() if self.cured else square.sqrt()
        wanted = (y[:, None] - y[None]).abs().float()
        return (distance - wanted).square().mean()


@failing(
    500,
    mistake="sqrt is taken of the distance of each point to itself, and its gradient at 0 is not finite.",
    fix="Add a small number before the root, or leave the diagonal out.",
    causes=("diverged",),
    words=("sqrt", "square root", "detect_anomaly", "pow"),
    source="https://github.com/pytorch/pytorch/issues/2421 https://github.com/akanazawa/cmr/issues/11",
)
def root_of_zero(seed, cured):
    """Build a map of digits in which distances are differences of digits."""
    return _Distances(cured), loader(*digits()), {}


class _Pooling(Recipe):
    def __init__(self, cured):
        super().__init__()
        self.embed, self.score, self.head = nn.Embedding(11, 24), nn.Linear(24, 1), nn.Linear(24, 2)
        self.cured = cured

    def loss_of(self, batch):
        x, y = batch
        padded = x == 10
        if self.cured:
            keep = ~padded.all(1)
            x, y, padded = x[keep], y[keep], padded[keep]
        h = self.embed(x)
        weights = self.score(h).squeeze(2).masked_fill(padded, float("-inf")).softmax(1)
        return F.cross_entropy(self.head((weights[:, :, None] * h).sum(1)), y)


@failing(
    600,
    mistake="A sequence that consists of padding only gives a softmax over -inf alone, which is not a number.",
    fix="Leave empty sequences out.",
    causes=("diverged",),
    words=("softmax", "padding", "mask", "detect_anomaly", "batch that", "look at the batch", "look at a batch"),
    source="https://github.com/pytorch/pytorch/issues/24816 https://github.com/pytorch/pytorch/issues/40932",
)
def row_of_padding(seed, cured):
    """Build an attention pooling over sequences of several lengths; one of them is empty and comes late."""
    x, y = brackets(seed, n=64 * 300)
    length = torch.randint(4, 13, (len(x), 1))
    length[64 * 200] = 0
    x = torch.where(torch.arange(12) < length, x, 10)
    return _Pooling(cured), loader(x, y, shuffle=False), {}
