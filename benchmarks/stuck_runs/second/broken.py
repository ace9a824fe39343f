"""Runs of the split `second` that do not move, have nothing to learn, diverge, or stop in a poor minimum."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator

from benchmarks.stuck_runs.data import digits, gaussian_weights, linear_map
from benchmarks.stuck_runs.networks import Wave, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, resampled, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits


def all_frozen_but_a_bias(seed: int) -> Problem:
    """Return a run in which everything but the last bias is frozen."""
    model = mlp(20, 16, 10).requires_grad_(requires_grad=False)
    model[2].bias.requires_grad_()
    return on_digits(model, adam(2e-3))


# The floor of the next two is the loss that a working pipeline would reach.
def five_random_classes(seed: int) -> Problem:
    """Return a run whose labels are drawn at random for every sample."""

    def sample(count: int, generator: Generator) -> Batch:
        return torch.randn(count, 20, generator=generator), torch.randint(0, 5, (count,), generator=generator)

    trivial = math.log(5)
    return endless(
        mlp(20, 16, 5), F.cross_entropy, sample, 32, adam(1e-3), evaluation_samples=4096, trivial=trivial, floor=0.0
    )


def out_of_order() -> Batch:
    """Return the digits with their labels in another order."""
    x, y = digits()
    return x, y[torch.randperm(len(y), generator=Generator().manual_seed(4))]


def with_other_labels(generator: Generator, step: int) -> Batch:
    """Draw 32 digits, and the labels of 32 other digits."""
    draw = resampled(digits(), 32)
    return draw(generator, step)[0], draw(generator, step)[1]


def labels_of_other_digits(seed: int) -> Problem:
    """Return a run whose digits and labels are drawn independently in every batch."""
    problem = on_digits(mlp(20, 16, 10), sgd(0.05, 0.9))
    return replace(problem, batch=with_other_labels, evaluation_data=lambda step: out_of_order())


def pipeline_breaks(seed: int) -> Problem:
    """Return a run that learns until step 900, from which on the labels are those of other digits."""
    right = resampled(digits(), 32)
    return replace(
        on_digits(mlp(20, 24, 10), adam(2e-3)),
        batch=lambda generator, step: (right if step < 900 else with_other_labels)(generator, step),
        evaluation_data=lambda step: digits() if step < 900 else out_of_order(),
    )


def endless_warm_up(seed: int) -> Problem:
    """Return a run whose warm-up never ends: the loss falls first and diverges then."""
    weights = gaussian_weights(20, seed)
    return endless(
        mlp(20, 16, 1, activation="tanh"),
        F.mse_loss,
        linear_map(weights, noise=0.3),
        16,
        sgd(0.02),
        trivial=float((weights**2).sum()),
        floor=0.0,
        schedule=lambda step: 1 + (step / 300) ** 4,
    )


def batch_of_nan(seed: int) -> Problem:
    """Return a run that learns until a batch of NaN at step 600 makes every weight NaN."""
    draw = resampled(digits(), 32)

    def spoilt(data: Batch, step: int) -> Batch:
        return (torch.full_like(data[0], math.nan), data[1]) if step == 600 else data

    return replace(
        on_digits(mlp(20, 24, 10), adam(1e-3)),
        batch=lambda generator, step: spoilt(draw(generator, step), step),
        evaluation_data=lambda step: spoilt(digits(), step),
    )


def half_the_frequency(seed: int) -> Problem:
    """Return a run that fits a sine of frequency 18, from about half of it."""
    x = torch.linspace(-1, 1, 128)[:, None]
    y = torch.sin(18 * x)
    return finite(Wave(9.0 + seed, 0.1), F.mse_loss, (x, y), 32, sgd(0.3), trivial=float(y.var()), floor=0.0)


BROKEN = (
    stuck("all_frozen_but_a_bias", 1500, "not_updating", all_frozen_but_a_bias, "flat_region"),
    stuck("five_random_classes", 2000, "nothing_to_learn", five_random_classes),
    stuck("labels_of_other_digits", 2500, "nothing_to_learn", labels_of_other_digits),
    stuck("pipeline_breaks", 2500, "nothing_to_learn", pipeline_breaks),
    stuck("endless_warm_up", 1500, "diverged", endless_warm_up),
    stuck("batch_of_nan", 1500, "diverged", batch_of_nan),
    stuck("half_the_frequency", 1500, "poor_minimum", half_the_frequency),
)
