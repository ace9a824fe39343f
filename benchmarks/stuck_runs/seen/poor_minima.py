"""Runs that stop in a poor local minimum."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.stuck_runs.networks import Wave
from benchmarks.stuck_runs.problem import Batch, Problem, endless, finite, sgd, stuck
from benchmarks.stuck_runs.seen import networks


def wave(frequency: float) -> Problem:
    """Return a run that fits a sine of frequency 3, from this frequency."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 6 * torch.rand(count, 1, generator=generator) - 3
        return x, torch.sin(3 * x) + 0.1 * torch.randn(count, 1, generator=generator)

    return endless(Wave(frequency), F.mse_loss, sample, 32, sgd(0.05), evaluation_samples=4096, trivial=0.5)


def bump(centre: float) -> Problem:
    """Return a run that fits one bump to a tall and a low one, from this place."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 20 * torch.rand(count, 1, generator=generator) - 10
        y = 2 * torch.exp(-0.5 * (x - 5) ** 2) + 0.8 * torch.exp(-0.5 * (x + 5) ** 2)
        return x, y + 0.05 * torch.randn(count, 1, generator=generator)

    model = networks.Bump(0.3, centre)
    return endless(model, F.mse_loss, sample, 64, sgd(0.3), evaluation_samples=4096, trivial=0.29)


def clusters(seed: int, shared: Tensor | None = None) -> Problem:
    """Return a run that fits three centres to three groups of points, from near the groups or from `shared`, (3, 2)."""
    generator = Generator().manual_seed(seed)
    groups = torch.tensor([[0.0, 0.0], [6.0, 3.0], [6.0, -3.0]])
    points = groups[torch.arange(600) % 3] + 0.5 * torch.randn(600, 2, generator=generator)
    start = (groups if shared is None else shared) + 0.2 * torch.randn(3, 2, generator=generator)
    model = networks.Nearest(start)
    trivial = float(((points - points.mean(0)) ** 2).sum(1).mean())
    return finite(model, lambda out, y: out.mean(), (points, points), 32, sgd(0.05), trivial=trivial)


SHARED = torch.tensor([[-0.5, 0.0], [0.5, 0.0], [6.0, 0.0]])


def nudged(value: float, seed: int) -> float:
    """Return the value plus a small random number that depends on the seed."""
    return value + 0.1 * float(np.random.RandomState(seed).randn())


POOR_MINIMA = (
    stuck(
        "wrong_frequency",
        1500,
        "poor_minimum",
        lambda seed: wave(nudged(1.2, seed)),
        cure=lambda seed: wave(2.9),
    ),
    stuck(
        "lower_of_two_bumps",
        1500,
        "poor_minimum",
        lambda seed: bump(nudged(-4.5, seed)),
        cure=lambda seed: bump(4.5),
    ),
    stuck(
        "clusters_share_a_centre",
        1500,
        "poor_minimum",
        lambda seed: clusters(seed, SHARED),
        cure=lambda seed: clusters(seed),
    ),
)
