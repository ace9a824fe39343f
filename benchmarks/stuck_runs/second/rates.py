"""Runs of the split `second` with a learning rate that is too small or too large."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.networks import constant, mlp
from benchmarks.stuck_runs.problem import MakesOptimizer, Problem, finite, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits


def convolution(activation: type[nn.Module], optimizer: MakesOptimizer) -> Problem:
    """Return a run of a convolution over the components of the digits as a picture of 4 by 5."""
    layers = (nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 8, 3, padding=1), activation(), nn.Flatten())
    return on_digits(nn.Sequential(*layers, nn.Linear(160, 10)), optimizer)


def bouncing_descent(seed: int) -> Problem:
    """Return a run of gradient descent just below twice the inverse sharpness: the steepest weight bounces."""
    generator = Generator().manual_seed(seed)
    x, weights = torch.randn(200, 8, generator=generator), torch.randn(8, 1, generator=generator)
    x[:, 0] *= 4
    weights[0] = 2.0
    y = x @ weights
    sharpness = float(torch.linalg.eigvalsh(2 * x.T @ x / 200)[-1])
    model = mlp(8, 1, init=constant(0.0), bias=False)
    return finite(model, F.mse_loss, (x, y), 200, sgd(1.99999 / sharpness), trivial=float(y.var()), floor=0.0)


TOO_SMALL = (
    stuck("descent_at_1e-5", 2000, "learning_rate_too_small", lambda seed: on_digits(mlp(20, 24, 10), sgd(1e-5))),
    stuck("pairs_at_2e-6", 2500, "learning_rate_too_small", lambda seed: on_digits(mlp(20, 24, 10), sgd(2e-6), 2)),
    stuck(
        "decayed_by_3_percent_a_step",
        2500,
        "learning_rate_too_small",
        lambda seed: on_digits(mlp(20, 24, 10), sgd(0.02), schedule=lambda step: 0.97**step),
    ),
    stuck(
        "rate_dropped_at_a_fifth",
        2500,
        "learning_rate_too_small",
        lambda seed: on_digits(mlp(20, 24, 10), sgd(0.01), schedule=lambda step: 1.0 if step < 500 else 1e-4),
    ),
    stuck(
        "convolution_at_1e-5",
        1500,
        "learning_rate_too_small",
        lambda seed: convolution(nn.ReLU, sgd(1e-5, momentum=0.9)),
    ),
)
TOO_LARGE = (
    stuck("bouncing_descent", 1500, "learning_rate_too_large", bouncing_descent),
    stuck(
        "fours_at_2",
        2500,
        "learning_rate_too_large",
        lambda seed: on_digits(mlp(20, 24, 10, activation="tanh"), sgd(2.0, momentum=0.9), 4),
    ),
    stuck(
        "convolution_at_3",
        1500,
        "learning_rate_too_large",
        lambda seed: convolution(nn.Tanh, sgd(3.0)),
        *("flat_region", "diverged"),
    ),
)
