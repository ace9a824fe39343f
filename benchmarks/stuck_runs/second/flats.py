"""Runs of the split `second` in flat regions: gradients that vanish, dead and saturated units."""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from benchmarks.stuck_runs.data import digits
from benchmarks.stuck_runs.networks import mlp, scaled
from benchmarks.stuck_runs.problem import Problem, adam, finite, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits


def dead_second_layer(seed: int) -> Problem:
    """Return a run by Adam with a bias of −40 before the second layer of ReLUs."""
    model = mlp(20, 16, 16, 10)
    nn.init.constant_(model[2].bias, -40.0)
    return on_digits(model, adam(2e-3))


def sure_sigmoid(seed: int) -> Problem:
    """Return a run under squared error whose only output is a sigmoid with a bias of 14."""
    x, y = digits()
    odd = (y % 2).float()[:, None]
    model = mlp(20, 12, 1, activation="tanh").append(nn.Sigmoid())
    nn.init.constant_(model[2].bias, 14.0)
    return finite(model, F.mse_loss, (x, odd), 32, sgd(0.2), trivial=0.25, floor=0.0)


FLAT = (
    stuck(
        "seven_narrow_tanh_layers",
        2000,
        "flat_region",
        lambda seed: on_digits(mlp(20, *[12] * 7, 10, activation="tanh", init=scaled(0.35)), sgd(0.05)),
        "saddle_point",
    ),
    stuck(
        "five_relu_layers_of_small_weights",
        2000,
        "flat_region",
        lambda seed: on_digits(mlp(20, *[16] * 5, 10, init=scaled(0.25)), sgd(0.05)),
        "saddle_point",
    ),
    stuck("dead_second_layer", 2000, "flat_region", dead_second_layer),
    stuck("sure_sigmoid", 2000, "flat_region", sure_sigmoid),
    stuck(
        "sigmoids_of_huge_weights",
        1500,
        "flat_region",
        lambda seed: on_digits(mlp(20, 16, 16, 10, activation="sigmoid", init=scaled(80.0)), sgd(1e-3)),
        *("saddle_point", "poor_minimum", "learning_rate_too_small"),
    ),
)
