"""Data sets of the programs: made from random numbers, or from scikit-learn."""

from __future__ import annotations

from functools import lru_cache

import torch
from sklearn import datasets
from torch import Generator
from torch.utils.data import DataLoader, Dataset, TensorDataset


def generator(seed):
    """Return a random number generator for the data of the run with this seed."""
    return Generator().manual_seed(1000 + seed)


def loader(*data, batch=64, shuffle=True):
    """Return a loader of full batches of these tensors, or of this data set."""
    dataset = data[0] if isinstance(data[0], Dataset) else TensorDataset(*data)
    return DataLoader(dataset, batch, shuffle=shuffle, drop_last=True)


@lru_cache
def digits():
    """Return 1797 images of digits (n, 8, 8) in [0, 1] and the digits (n,)."""
    data = datasets.load_digits()
    return torch.tensor(data.images, dtype=torch.float32) / 16, torch.tensor(data.target)


@lru_cache
def cancer():
    """Return the 30 raw measurements of 569 tumours (n, 30), between 0 and 4254, and the diagnoses (n,)."""
    data = datasets.load_breast_cancer()
    return torch.tensor(data.data, dtype=torch.float32), torch.tensor(data.target)


def standardised(x):
    """Return `x` with mean 0 and deviation 1 in each column."""
    return (x - x.mean(0)) / x.std(0)


def waves(seed, n=3000, length=48, classes=6):
    """Return noisy sine waves (n, length), and which of `classes` frequencies each one has (n,)."""
    g = generator(seed)
    y = torch.randint(classes, (n,), generator=g)
    phase = 6.28 * torch.rand(n, 1, generator=g)
    time = torch.linspace(0, 6.28, length)
    x = torch.sin((1.0 + y[:, None]) * time + phase)
    return x + 0.3 * torch.randn(n, length, generator=g), y


def surface(seed, n=4000, inputs=6):
    """Return points (n, inputs) and a smooth function of them (n,) with mean near 0 and deviation near 1."""
    g = generator(seed)
    x = torch.randn(n, inputs, generator=g)
    y = torch.sin(1.5 * x[:, 0]) + 0.6 * x[:, 1] * x[:, 2] + 0.5 * x[:, 3]
    return x, (y - y.mean()) / y.std()


def brackets(seed, n=3000, length=12):
    """Return sequences of tokens 0 to 9 (n, length), and whether more than half of them are above 4 (n,)."""
    g = generator(seed)
    share = torch.rand(n, 1, generator=g)
    high = torch.rand(n, length, generator=g) < share
    x = torch.randint(5, (n, length), generator=g) + 5 * high
    return x, (high.float().mean(1) > 0.5).long()
