"""Networks and data of several programs of the split `reports`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from benchmarks.reported_mistakes.data import digits, generator


class Convolutions(nn.Module):
    """Two convolutions and two linear layers, with activations that are functions: (n, 8, 8) to (n, outputs)."""

    def __init__(self, outputs=10, width=16, last=None):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.second = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.hidden, self.scores, self.last = nn.Linear(8 * width, 64), nn.Linear(64, outputs), last

    def forward(self, x):
        """Return the scores, after `last` if there is one."""
        h = x.unsqueeze(1)
        for layer in (self.first, self.second):
            h = F.max_pool2d(F.relu(layer(h)), 2)
        scores = self.scores(F.relu(self.hidden(h.flatten(1))))
        return scores if self.last is None else self.last(scores)


def embedding(outputs, last=None):
    """Return a network that embeds images (n, 8, 8) as vectors (n, outputs); `last` stands before the last layer."""
    return nn.Sequential(Convolutions(64), last or nn.ReLU(), nn.Linear(64, outputs))


class TwoViews(Dataset):
    """Digits, each moved to the side twice and covered with noise (2, 8, 8), and their classes."""

    def __len__(self):
        return len(digits()[1])

    def __getitem__(self, index):
        x, y = digits()
        moved = [torch.roll(x[index], int(torch.randint(-1, 2, ())), 1) for _ in range(2)]
        return torch.stack(moved) + 0.1 * torch.randn(2, 8, 8), y[index]


def repetitions(seed, n=8192, length=16):
    """Return sequences of tokens 1 to 11 (n, length), and whether the first token comes again (n,)."""
    g = generator(seed)
    x = torch.randint(1, 12, (n, length), generator=g)
    y = torch.arange(n) % 2
    first = x[:, :1]
    again = x[:, 1:] == first
    place = torch.randint(1, length, (n,), generator=g)
    missing = (y == 1) & ~again.any(1)
    x[:, 1:] = torch.where(again & (y == 0)[:, None], 1 + first % 11, x[:, 1:])
    x[missing, place[missing]] = x[missing, 0]
    return x, y
