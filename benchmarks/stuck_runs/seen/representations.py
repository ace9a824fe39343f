"""Healthy runs that model their inputs."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.data import digit_images, digits
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite
from benchmarks.stuck_runs.schedules import triangle
from benchmarks.stuck_runs.seen import networks


def density(seed: int) -> Problem:
    """Return a run that fits a narrow Gaussian, whose loss passes zero and settles at a negative value."""
    centre = torch.randn(4, generator=Generator().manual_seed(seed))

    def sample(count: int, generator: Generator) -> Batch:
        x = centre + 0.05 * torch.randn(count, 4, generator=generator)
        return x, x

    floor = 4 * (math.log(0.05) + 0.5 + 0.9189385)
    return endless(networks.Gaussian(4), lambda out, y: out.mean(), sample, 32, adam(2e-2), floor=floor)


def contrastive(seed: int) -> Problem:
    """Return a run that finds the second view that belongs to a first view, among 32."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 1, 8, generator=generator)
        return x + 0.5 * torch.randn(count, 2, 8, generator=generator), torch.arange(count)

    model = networks.TwoViews(mlp(8, 24, 8))
    return endless(model, F.cross_entropy, sample, 32, adam(1e-3), evaluation_samples=32, trivial=math.log(32))


def variational(seed: int) -> Problem:
    """Return a run of a variational autoencoder of digits."""
    x = digits()[0]
    model = networks.Variational(20, 24, 3)
    return finite(model, networks.evidence_bound, (x, x), 32, adam(3e-3), trivial=float(0.5 * x.var(0).sum()))


def image_autoencoder(seed: int) -> Problem:
    """Return a run of a convolutional autoencoder, under a triangular schedule."""
    x = digit_images()[0]
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(6, 4, 3, stride=2, padding=1),
        nn.GELU(),
        nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
        nn.GELU(),
        nn.ConvTranspose2d(6, 1, 4, stride=2, padding=1),
    )
    trivial = float(x.var(0).mean())
    return finite(model, F.mse_loss, (x, x), 16, adam(5e-3), trivial=trivial, schedule=triangle(300, 0.1))
