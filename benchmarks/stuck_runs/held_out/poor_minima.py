"""Held-out runs that stop in a poor local minimum."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.problem import Batch, Problem, endless, sgd, stuck


def robust_line(seed: int, slope: float, height: float) -> Problem:
    """Return a run that fits a line by Welsch's loss, from this start; a quarter of the points lie on another line."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 4 * torch.rand(count, 1, generator=generator) - 2
        inlier = torch.rand(count, 1, generator=generator) < 0.75
        y = torch.where(inlier, 1.5 * x + 4, -x - 5)
        return x, y + 0.3 * torch.randn(count, 1, generator=generator)

    def welsch(output: Tensor, target: Tensor) -> Tensor:
        return (1 - (-0.5 * (output - target) ** 2).exp()).mean()

    model = nn.Linear(1, 1)
    jitter = 0.2 * torch.randn(2, generator=Generator().manual_seed(seed))
    nn.init.constant_(model.weight, slope + float(jitter[0]))
    nn.init.constant_(model.bias, height + float(jitter[1]))
    return endless(model, welsch, sample, 64, sgd(0.2), evaluation_samples=4096, trivial=1.0)


class Positions(nn.Module):
    """Positions of points on a line: pairs of indices (samples, 2) to distances (samples, 1)."""

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self.places = nn.Parameter(places)

    def forward(self, x: Tensor) -> Tensor:
        """Return the distances, (samples, 1)."""
        return (self.places[x[:, :1]] - self.places[x[:, 1:]]).abs()


def scaling(seed: int, order: tuple[int, ...]) -> Problem:
    """Return a run that places ten towns along a road by noisy distances; on a line, no town can pass another."""
    truth = torch.arange(10.0)

    def sample(count: int, generator: Generator) -> Batch:
        first = torch.randint(0, 10, (count,), generator=generator)
        pairs = torch.stack([first, (first + torch.randint(1, 10, (count,), generator=generator)) % 10], 1)
        distance = (truth[pairs[:, :1]] - truth[pairs[:, 1:]]).abs()
        return pairs, distance + 0.1 * torch.randn(count, 1, generator=generator)

    start = torch.tensor(order).float() + 0.1 * torch.randn(10, generator=Generator().manual_seed(seed))
    return endless(Positions(start), F.mse_loss, sample, 90, sgd(0.02), evaluation_samples=2048, trivial=5.0)


class Turned(nn.Module):
    """Points rotated by a learnt angle: (samples, 2) to squared distances from a shape's nearest point, (samples,)."""

    def __init__(self, shape: Tensor, angle: float) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.tensor(angle))
        self.register_buffer("shape", shape)

    def forward(self, x: Tensor) -> Tensor:
        """Return the squared distances, (samples,)."""
        c, s = self.angle.cos(), self.angle.sin()
        turned = torch.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], 1)
        return ((turned[:, None] - self.shape) ** 2).sum(-1).min(1).values


def registration(seed: int, angle: float) -> Problem:
    """Return a run that rotates a scan onto a shape with a handle; upside down, all but the handle fits."""
    side = torch.linspace(-1, 1, 21)[:, None]
    rectangle = [
        torch.cat([2 * side, side.new_full((21, 1), 0.5)], 1),
        torch.cat([2 * side, side.new_full((21, 1), -0.5)], 1),
        torch.cat([side.new_full((21, 1), 2.0), side / 2], 1),
        torch.cat([side.new_full((21, 1), -2.0), side / 2], 1),
    ]
    handle = torch.cat([3 + side, side.new_full((21, 1), 0.0)], 1)
    shape = torch.cat([*rectangle, handle])

    def sample(count: int, generator: Generator) -> Batch:
        chosen = torch.randint(0, len(shape), (count,), generator=generator)
        x = shape[chosen] + 0.05 * torch.randn(count, 2, generator=generator)
        return x, x

    start = angle + 0.1 * float(torch.randn(1, generator=Generator().manual_seed(seed)))
    return endless(
        Turned(shape, start), lambda out, y: out.mean(), sample, 32, sgd(0.05), evaluation_samples=2048, trivial=0.5
    )


POOR_MINIMA = (
    stuck(
        "line_through_the_outliers",
        1500,
        "poor_minimum",
        lambda seed: robust_line(seed, -1.0, -4.5),
        cure=lambda seed: robust_line(seed, 1.5, 3.5),
    ),
    stuck(
        "towns_out_of_order",
        1500,
        "poor_minimum",
        lambda seed: scaling(seed, (6, 3, 5, 2, 7, 9, 1, 0, 8, 4)),
        cure=lambda seed: scaling(seed, tuple(range(10))),
    ),
    stuck(
        "scan_upside_down",
        1500,
        "poor_minimum",
        lambda seed: registration(seed, math.pi - 0.4),
        cure=lambda seed: registration(seed, 0.4),
    ),
)
