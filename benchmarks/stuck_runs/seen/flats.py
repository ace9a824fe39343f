"""Runs in flat regions."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, nn

from benchmarks.stuck_runs.data import digits, table
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, finite, resampled, sgd, stuck
from benchmarks.stuck_runs.seen import networks
from benchmarks.stuck_runs.seen.tasks import on_images
from benchmarks.stuck_runs.tasks import on_digits


def circles(seed: int) -> Problem:
    """Return a run of eight layers of five sigmoid units on two circles, after a demonstration of AUTOTRAINER."""
    x, y = datasets.make_circles(1000, noise=0.1, factor=0.4, random_state=1)
    data = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    model = mlp(2, *[5] * 8, 1, activation="sigmoid")
    return finite(model, F.binary_cross_entropy_with_logits, data, 64, sgd(0.05), trivial=math.log(2), floor=0.05)


def dead_convolutions(seed: int) -> Problem:
    """Return a run with a bias of −10 before the ReLUs of the second convolution."""
    model = networks.conv_net()
    nn.init.constant_(model[3].bias, -10.0)
    return on_images(model, adam(1e-3))


def sure_and_wrong(seed: int) -> Problem:
    """Return a run of a sigmoid under squared error, of which all outputs start at almost 0."""
    x, y = table("breast_cancer")
    model = mlp(30, 12, 1, activation="tanh").append(nn.Sigmoid())
    nn.init.constant_(model[2].bias, -18.0)
    share = float(y.double().mean())
    data = x, y.float()[:, None]
    return finite(model, F.mse_loss, data, 16, sgd(0.1), trivial=share * (1 - share), floor=0.0)


def poisoned_batch(seed: int) -> Problem:
    """Return a run that learns until one batch comes unscaled, ten thousand times too large."""
    clean = resampled(digits(), 32)

    def batch(generator: Generator, step: int) -> Batch:
        x, y = clean(generator, step)
        return (1e4 * x if step == 400 else x), y

    return replace(on_digits(mlp(20, 16, 16, 10), sgd(0.02)), batch=batch)


FLAT = (
    stuck("deep_sigmoid_on_circles", 2000, "flat_region", circles, "saddle_point"),
    stuck("dead_convolutions", 1000, "flat_region", dead_convolutions),
    stuck("sure_and_wrong", 1500, "flat_region", sure_and_wrong),
    stuck("poisoned_batch", 1500, "flat_region", poisoned_batch),
)
