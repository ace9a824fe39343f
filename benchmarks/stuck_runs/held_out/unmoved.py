"""Held-out runs whose weights do not move."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits, entropy, table
from benchmarks.stuck_runs.held_out.optimizers import Guarded, Lookahead
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck


class Scaled(nn.Module):
    """Directions of a body's answers times a learnt scale."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.log_scale = body, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.log_scale.exp() * F.normalize(self.body(x), dim=1)


def only_a_scale_trains(seed: int) -> Problem:
    """Of a fresh network only the temperature is left to train: the rest was frozen as if it were pretrained."""
    x, y = digits()
    model = Scaled(mlp(20, 24, 10).requires_grad_(requires_grad=False))
    return finite(model, F.cross_entropy, (x, y), 32, adam(1e-2), trivial=entropy(y), floor=0.0)


def lookahead_of_zero(seed: int) -> Problem:
    """Slow weights that take nothing from the fast ones, which go back to them at every fifth step."""
    x, y = table("wine")
    optimizer = by(Lookahead, lr=0.01, share=0.0)
    return finite(mlp(13, 16, 3), F.cross_entropy, (x, y), 16, optimizer, trivial=entropy(y), floor=0.0)


def all_steps_left_out(seed: int) -> Problem:
    """A guard against outlying batches, whose limit is below every gradient there is."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        return x, x[:, :1] * x[:, 1:2] + x[:, 2:3]

    optimizer = by(Guarded, lr=0.02, limit=0.01)
    return endless(mlp(10, 32, 1), F.mse_loss, sample, 32, optimizer, trivial=2.0, floor=0.0)


class Gains(nn.Module):
    """A learnt gain for every feature: (samples, features) to the same."""

    def __init__(self, features: int, precision: torch.dtype) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(features, dtype=precision))

    def forward(self, x: Tensor) -> Tensor:
        """In the precision of the inputs."""
        return x * self.gain.to(x.dtype)


def gains_in_bfloat16(seed: int, precision: torch.dtype = torch.bfloat16) -> Problem:
    """Gains of one in a format in which the next number is 1.0078: every step is rounded away."""
    gains = 1 + 0.3 * torch.randn(16, generator=Generator().manual_seed(seed))

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 16, generator=generator)
        return x, x * gains

    trivial = float(((gains - 1) ** 2).mean())
    return endless(Gains(16, precision), F.mse_loss, sample, 32, sgd(8e-3), trivial=trivial, floor=0.0)


UNMOVED = (
    stuck("only_a_scale_trains", 1500, "not_updating", only_a_scale_trains),
    stuck("lookahead_of_zero", 1500, "not_updating", lookahead_of_zero),
    stuck("all_steps_left_out", 1500, "not_updating", all_steps_left_out),
    stuck("gains_in_bfloat16", 1500, "not_updating", gains_in_bfloat16, "learning_rate_too_small"),
)
