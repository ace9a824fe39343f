"""Runs with a learning rate that is too small or too large."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.stuck_runs.data import digit_images, entropy, gaussian_weights, linear_map
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Problem, adam, by, endless, finite, sgd, stuck
from benchmarks.stuck_runs.seen import networks
from benchmarks.stuck_runs.seen.tasks import friedman, language_model, on_images


def decayed_too_early(seed: int) -> Problem:
    """Return a run with an exponential decay at every step that was meant for every epoch."""
    return on_images(networks.conv_net(nn.Tanh), adam(1e-3), schedule=lambda step: 0.97**step)


def starved_adagrad(seed: int) -> Problem:
    """Return a run by Adagrad with initial accumulators so large that the weights hardly move."""
    optimizer = by(torch.optim.Adagrad, lr=0.01, initial_accumulator_value=1e8)
    return finite(mlp(10, 24, 1), F.mse_loss, friedman(), 32, optimizer, trivial=1.0, floor=0.2)


def divided_loss(seed: int) -> Problem:
    """Return a run by plain gradient descent whose loss is divided by the number of all pixels of all samples."""
    x, y = digit_images()
    problem = on_images(networks.conv_net(normalise=nn.BatchNorm2d), sgd(0.1))
    scale = 1 / (64 * len(x))
    return replace(problem, loss=lambda out, target: scale * F.cross_entropy(out, target), trivial=scale * entropy(y))


def bouncing_rmsprop(seed: int) -> Problem:
    """Return a run by RMSprop at a learning rate of 0.5."""
    optimizer = by(torch.optim.RMSprop, lr=0.5)
    return finite(mlp(10, 24, 1, activation="tanh"), F.mse_loss, friedman(), 32, optimizer, trivial=1.0, floor=0.2)


def steps_of_one_size(seed: int) -> Problem:
    """Return a run of sign descent on a quadratic, with steps that are too long to converge."""
    weights = gaussian_weights(16, seed)
    optimizer = by(torch.optim.Adam, lr=1.0, betas=(0.0, 0.0))
    trivial = float((weights**2).sum())
    sample = linear_map(weights, noise=0.1)
    return endless(mlp(16, 1), F.mse_loss, sample, 16, optimizer, trivial=trivial, floor=0.01)


TOO_SMALL = (
    stuck(
        "warmup_without_end",
        1200,
        "learning_rate_too_small",
        lambda seed: language_model(adam(1e-2), floor=0.9, schedule=lambda step: min(1.0, (step + 1) / 1e9)),
    ),
    stuck("decayed_too_early", 1200, "learning_rate_too_small", decayed_too_early),
    stuck("starved_adagrad", 1500, "learning_rate_too_small", starved_adagrad),
    stuck("divided_loss", 1000, "learning_rate_too_small", divided_loss),
)


TOO_LARGE = (
    stuck("bouncing_rmsprop", 1500, "learning_rate_too_large", bouncing_rmsprop),
    stuck("steps_of_one_size", 1500, "learning_rate_too_large", steps_of_one_size),
    stuck(
        "language_model_at_1",
        1200,
        "learning_rate_too_large",
        lambda seed: language_model(adam(1.0), floor=0.9),
        "flat_region",
    ),
    stuck(
        "images_at_2",
        1000,
        "learning_rate_too_large",
        lambda seed: on_images(networks.conv_net(nn.Tanh), sgd(2.0, 0.9)),
        "flat_region",
    ),
)
