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
    """Normalised outputs of a body, times a learnt scale."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body, self.log_scale = body, nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (samples, classes)."""
        return self.log_scale.exp() * F.normalize(self.body(x), dim=1)


def only_a_scale_trains(seed: int) -> Problem:
    """Return a run of a new network of which all but a scale is frozen, as if it were pretrained."""
    x, y = digits()
    model = Scaled(mlp(20, 24, 10).requires_grad_(requires_grad=False))
    return finite(model, F.cross_entropy, (x, y), 32, adam(1e-2), trivial=entropy(y), floor=0.0)


def lookahead_of_zero(seed: int) -> Problem:
    """Return a run by Lookahead with a share of zero, so that every fifth step restores the initial weights."""
    x, y = table("wine")
    optimizer = by(Lookahead, lr=0.01, share=0.0)
    return finite(mlp(13, 16, 3), F.cross_entropy, (x, y), 16, optimizer, trivial=entropy(y), floor=0.0)


def all_steps_left_out(seed: int) -> Problem:
    """Return a run whose optimizer skips batches with large gradients, at a limit below every gradient."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        return x, x[:, :1] * x[:, 1:2] + x[:, 2:3]

    optimizer = by(Guarded, lr=0.02, limit=0.01)
    return endless(mlp(10, 32, 1), F.mse_loss, sample, 32, optimizer, trivial=2.0, floor=0.0)


class Gains(nn.Module):
    """A learnt factor for each feature: (samples, features) to the same shape."""

    def __init__(self, features: int, precision: torch.dtype) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(features, dtype=precision))

    def forward(self, x: Tensor) -> Tensor:
        """Return the scaled inputs, in the precision of the inputs."""
        return x * self.gain.to(x.dtype)


def gains_in_bfloat16(seed: int, precision: torch.dtype = torch.bfloat16) -> Problem:
    """Return a run with weights of 1 in bfloat16, where the next number is 1.0078: every step is rounded away."""
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
