"""Held-out runs at saddle points."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.held_out.networks import Adapter
from benchmarks.stuck_runs.held_out.structures import adapters
from benchmarks.stuck_runs.problem import Batch, Problem, endless, sgd, stuck


class Pooling(nn.Module):
    """Attention of one query over all elements: (samples, elements, features) to (samples, 1)."""

    def __init__(self, features: int, width: int, deviation: float) -> None:
        super().__init__()
        self.score, self.value = nn.Linear(features, 1), nn.Linear(features, width, bias=False)
        self.head = nn.Linear(width, 1, bias=False)
        for layer in (self.value, self.head):
            nn.init.normal_(layer.weight, std=deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Return a projection of the attended values, (samples, 1)."""
        return self.head((torch.softmax(self.score(x), 1) * self.value(x)).sum(1))


def attention_without_values(seed: int) -> Problem:
    """Return a run in which attention has to find a marked element; values and output projection start near zero."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 5, 6, generator=generator)
        x[..., 0] = F.one_hot(torch.randint(0, 5, (count,), generator=generator), 5)
        return x, (x[..., :1] * x[..., 1:2]).sum(1)

    return endless(Pooling(6, 8, 1e-10), F.mse_loss, sample, 32, sgd(0.15), trivial=1.0, floor=0.0)


def adapters_from_nothing(seed: int) -> Problem:
    """Return a run of low-rank adapters whose matrices all start at zero, so that none ever gets a gradient."""
    problem = adapters(seed)
    for adapter in problem.model.children():
        if isinstance(adapter, Adapter):
            nn.init.zeros_(adapter.down.weight)
            adapter.up.bias.requires_grad_(requires_grad=False)
    return problem


class Product(nn.Module):
    """The function x ↦ (a·x)(b·x)(c·x) + d·x: (samples, inputs) to (samples, 1)."""

    def __init__(self, inputs: int, deviation: float) -> None:
        super().__init__()
        self.factors = nn.Linear(inputs, 3, bias=False)
        nn.init.normal_(self.factors.weight, std=deviation)
        self.line = nn.Linear(inputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the product of three projections plus a fourth projection, (samples, 1)."""
        return self.factors(x).prod(1, keepdim=True) + self.line(x)


def product_after_a_line(seed: int) -> Problem:
    """Return a run that learns a linear part first; the derivatives of the product vanish at zero up to the second."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 6, generator=generator)
        return x, x[:, :3].prod(1, keepdim=True) + x[:, 3:4]

    return endless(Product(6, 0.06), F.mse_loss, sample, 32, sgd(0.01), evaluation_samples=4096, trivial=2.0, floor=0.0)


class Opposed(nn.Module):
    """Negative log-likelihood of a mixture of two linear regressions: (samples, inputs + 1) to (samples,)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the negative log-likelihoods up to a constant, for residuals of deviation 1/2, (samples,)."""
        return -torch.logsumexp(-2 * (x[:, -1:] - x[:, :-1] @ self.weight) ** 2, 1) + math.log(2)


def two_regressions(seed: int, starts: int) -> Problem:
    """Return a run that fits two opposite regressions from one or two starts; from one start, both stay equal."""
    direction = torch.randn(8, 1, generator=Generator().manual_seed(seed))
    direction /= direction.norm()

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        sign = 2.0 * torch.randint(0, 2, (count, 1), generator=generator) - 1
        y = sign * (x @ direction) + 0.5 * torch.randn(count, 1, generator=generator)
        return torch.cat([x, y], 1), y

    model = Opposed((0.1 * torch.randn(8, starts)).repeat(1, 2 // starts))
    return endless(model, lambda out, y: out.mean(), sample, 32, sgd(0.02), evaluation_samples=4096, trivial=2.5)


SADDLES = (
    stuck("attention_without_values", 1500, "saddle_point", attention_without_values),
    stuck(
        "adapters_from_nothing",
        1200,
        "saddle_point",
        adapters_from_nothing,
        "flat_region",
        "not_updating",
        cure=adapters,
    ),
    stuck("product_after_a_line", 2000, "saddle_point", product_after_a_line),
    stuck(
        "two_regressions_alike",
        1500,
        "saddle_point",
        lambda seed: two_regressions(seed, 1),
        cure=lambda seed: two_regressions(seed, 2),
    ),
)
