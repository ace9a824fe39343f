"""Runs of the split `second` at saddle points."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import Sample, digits, gaussian_weights, singular_map
from benchmarks.stuck_runs.networks import CausalAttention, Square, constant, factorised, mlp, scaled
from benchmarks.stuck_runs.open_split.stuck import committee, through_a_saddle
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits


def tiny_factors(seed: int) -> Problem:
    """Return a run that factorises a matrix of rank four from weights near zero."""
    return through_a_saddle(factorised(15, 4, 1e-5), singular_map(15, (3.0, 2.6, 2.3, 2.0), seed + 5), 32, 0.02)


def product_of_three_signs(bits: int) -> Sample:
    """Return a function that draws rows of `bits` signs, with the sign of the product of the first three as target."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randint(0, 2, (count, bits), generator=generator).float() * 2 - 1
        return x, (x[:, :3].prod(1, keepdim=True) > 0).float()

    return sample


def parity(bits: int, activation: str, gain: float) -> Problem:
    """Return a run that learns the parity of three of these bits, whose gradient is small near the origin."""
    model = mlp(bits, 32, 1, activation=activation, init=scaled(gain))
    loss = F.binary_cross_entropy_with_logits
    sample = product_of_three_signs(bits)
    return endless(model, loss, sample, 32, sgd(0.05), trivial=math.log(2), floor=0.0)


def said_twice(seed: int) -> Problem:
    """Return a run in which two layers of attention have to repeat six tokens from the first half of a sequence."""
    tokens, half = 6, 6

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randint(0, tokens, (count, half), generator=generator).repeat(1, 2)
        return x, x

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output[:, :, half:-1], target[:, half + 1 :])

    model, trivial = CausalAttention(tokens, 2 * half, 16, layers=2), math.log(tokens)
    return endless(model, loss, sample, 16, sgd(0.008, 0.9), evaluation_samples=256, trivial=trivial, floor=0.0)


def squared_projections(seed: int) -> Problem:
    """Return a run that learns a direction of unit length from squared projections, from a start near zero."""
    weights = gaussian_weights(10, seed)
    weights /= weights.norm()

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        return x, (x @ weights) ** 2

    return endless(Square(1e-5 * torch.randn(10, 1)), F.mse_loss, sample, 64, sgd(0.0015), trivial=2.0, floor=0.0)


def linear_autoencoder(seed: int) -> Problem:
    """Return a run of a linear autoencoder of digits with five codes that starts near zero."""
    x, _ = digits()
    floor = float((torch.linalg.svdvals(x)[5:] ** 2).sum() / x.numel())
    trivial = float(x.var(0).mean())
    return finite(factorised(20, 5, 1e-4), F.mse_loss, (x, x), 32, sgd(0.03), trivial=trivial, floor=floor)


class Gated(nn.Module):
    """A hidden layer whose units are multiplied by learnt gates, with gates and output weights of zero at first."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(20, 24), nn.Linear(24, 10)
        self.gates = nn.Parameter(torch.zeros(24))
        nn.init.zeros_(self.head.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (samples, 10), of inputs (samples, 20)."""
        return self.head(self.gates * torch.tanh(self.hidden(x)))


SADDLES = (
    stuck("tiny_factors", 1500, "saddle_point", tiny_factors),
    stuck(
        "equal_units",
        2000,
        "saddle_point",
        lambda seed: on_digits(mlp(20, 16, 10, activation="tanh", init=constant(0.05)), sgd(0.1)),
        "poor_minimum",
    ),
    stuck(
        "zeros_by_adam",
        2000,
        "saddle_point",
        lambda seed: on_digits(mlp(20, 16, 10, activation="tanh", init=constant(0.0)), adam(1e-3)),
    ),
    stuck("committee_in_batches_of_4", 3000, "saddle_point", lambda seed: committee(seed, inputs=40, size=4)),
    stuck("parity_of_nine_bits", 2500, "saddle_point", lambda seed: parity(9, "tanh", 0.4)),
    stuck("parity_of_twenty_bits", 2000, "saddle_point", lambda seed: parity(20, "relu", 0.3)),
    stuck("said_twice", 1500, "saddle_point", said_twice),
    stuck("squared_projections", 2000, "saddle_point", squared_projections),
    stuck("linear_autoencoder", 2000, "saddle_point", linear_autoencoder),
    stuck("closed_gates_and_head", 1500, "saddle_point", lambda seed: on_digits(Gated(), sgd(0.1)), "flat_region"),
)
