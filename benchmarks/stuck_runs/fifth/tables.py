"""Data sets of scikit-learn for the split `fifth`."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn import datasets
from sklearn.neighbors import kneighbors_graph
from torch import Generator, Tensor

from benchmarks.stuck_runs.data import table
from benchmarks.stuck_runs.problem import Batch


@cache
def swiss_roll() -> Tensor:
    """Return 4000 points of the swiss roll of scikit-learn seen from the side, (4000, 2), of deviation 1."""
    points = datasets.make_swiss_roll(4000, noise=0.3, random_state=0)[0][:, [0, 2]]
    return torch.tensor((points - points.mean(0)) / points.std(0), dtype=torch.float32)


@cache
def wine_neighbours() -> tuple[Tensor, Batch]:
    """Return the mean over the six nearest wines as a matrix, and noisy features of wines and their labels."""
    x, y = table("wine")
    noisy = x + 0.8 * torch.randn(x.shape, generator=Generator().manual_seed(5))
    linked = kneighbors_graph(noisy.numpy(), 6).toarray() / 6
    return torch.tensor(linked, dtype=torch.float32), (noisy, y)


@cache
def multilabel() -> Batch:
    """Return 1500 samples of the multi-label problem of scikit-learn, (1500, 16), with six labels each."""
    x, y = datasets.make_multilabel_classification(1500, 16, n_classes=6, n_labels=3, random_state=4)
    x = (x - x.mean(0)) / x.std(0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)


@cache
def rare_class() -> Batch:
    """Return 3000 samples of two classes, of which the second has one sample in twenty."""
    x, y = datasets.make_classification(
        3000, 12, n_informative=6, weights=[0.95], class_sep=1.5, flip_y=0.0, random_state=8
    )
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]


@cache
def circuits() -> Batch:
    """Return 2000 samples of the second function of Friedman, standardised, with targets (2000, 1)."""
    x, y = datasets.make_friedman2(2000, noise=40.0, random_state=6)
    x, y = ((a - a.mean(0)) / a.std(0) for a in (x, np.asarray(y)[:, None]))
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
