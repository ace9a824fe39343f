"""Held-out runs whose loss diverges."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits, entropy, table
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck


def logarithm_of_zero(seed: int) -> Problem:
    """Return a run whose cross-entropy, written by hand, is NaN as soon as an output is rounded to 0 or 1."""
    x, y = table("breast_cancer")

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return -(target * output.log() + (1 - target) * (1 - output).log()).mean()

    model = mlp(30, 16, 1).append(nn.Sigmoid())
    return finite(model, loss, (x, y.float()[:, None]), 16, adam(4e-3), trivial=entropy(y), floor=0.0)


def uphill(seed: int) -> Problem:
    """Return a run that maximises its loss by mistake, as if it were a reward."""
    x, y = digits()
    optimizer = by(torch.optim.Adam, lr=2e-3, maximize=True)
    return finite(mlp(20, 24, 10), F.cross_entropy, (x, y), 32, optimizer, trivial=entropy(y), floor=0.0)


def square_root_of_zero(seed: int) -> Problem:
    """Return a run with distances by a bare square root: a pair of two equal samples makes the gradient NaN."""
    x, y = digits()

    def batch(generator: Generator, step: int) -> Batch:
        pairs = torch.randint(0, len(x), (4, 2), generator=generator)
        return x[pairs], (y[pairs[:, 0]] == y[pairs[:, 1]]).float()

    def contrast(output: Tensor, target: Tensor) -> Tensor:
        distance = ((output[:, 0] - output[:, 1]) ** 2).sum(1).sqrt()
        return torch.where(target > 0, distance, (1 - distance).relu()).mean()

    generator = Generator().manual_seed(123)
    parts = [batch(generator, 0) for _ in range(100)]
    truth = torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])
    return Problem(mlp(20, 24, 4), contrast, batch, lambda step: truth, sgd(0.02), floor=0.0)


class Features(nn.Module):
    """Linear values of two states under fixed features; the second value is discounted and detached."""

    def __init__(self, features: Tensor, weight: Tensor, discount: float) -> None:
        super().__init__()
        self.weight, self.discount = nn.Parameter(weight), discount
        self.register_buffer("features", features)

    def forward(self, x: Tensor) -> Tensor:
        """Return the values of the states, (samples, 2)."""
        before, after = (self.features[x] @ self.weight).unbind(1)
        return torch.stack([before, self.discount * after.detach()], 1)


def off_policy_values(seed: int) -> Problem:
    """Return a run that learns values from its own values, on states that the policy would not visit [Baird95]_.

    .. [Baird95] Residual algorithms: reinforcement learning with function approximation, ICML.
    """
    features = torch.cat([torch.cat([2 * torch.eye(7)[:6], torch.eye(7)[6:]]), torch.ones(7, 1)], 1)
    features[6, 7] = 2.0
    start = torch.ones(8) + 0.1 * torch.randn(8, generator=Generator().manual_seed(seed))
    start[6] = 10.0

    def sample(count: int, generator: Generator) -> Batch:
        before = torch.randint(0, 7, (count,), generator=generator)
        return torch.stack([before, torch.full((count,), 6)], 1), torch.zeros(count)

    def error(output: Tensor, target: Tensor) -> Tensor:
        return ((output[:, 0] - output[:, 1]) ** 2).mean()

    return endless(Features(features, start, 0.99), error, sample, 16, sgd(0.02), floor=0.0)


DIVERGENT = (
    stuck("logarithm_of_zero", 1500, "diverged", logarithm_of_zero),
    stuck("uphill", 1000, "diverged", uphill),
    stuck("square_root_of_zero", 1500, "diverged", square_root_of_zero),
    stuck("off_policy_values", 1500, "diverged", off_policy_values),
)
