"""Healthy runs of the split `second` whose learning rate follows a schedule."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from sklearn import datasets

from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.open_split.healthy import copying
from benchmarks.stuck_runs.problem import Problem, adam, finite, healthy, sgd
from benchmarks.stuck_runs.schedules import cosine, triangle, warm_up
from benchmarks.stuck_runs.tasks import on_digits


def moons_in_cycles(seed: int) -> Problem:
    """Return a run that separates two moons while the learning rate rises and falls every 400 steps."""
    points, labels = datasets.make_moons(800, noise=0.15, random_state=seed)
    data = torch.tensor(points).float(), torch.tensor(labels).float()[:, None]
    model, optimizer = mlp(2, 16, 1, activation="tanh"), sgd(0.3, 0.5)
    loss = F.binary_cross_entropy_with_logits
    return finite(model, loss, data, 32, optimizer, trivial=math.log(2), schedule=triangle(400, 0.02))


def copying_on_schedule(seed: int) -> Problem:
    """Return a run in which attention has to copy the previous token, with a warm-up and a cosine to zero."""
    rise, fall = warm_up(150), cosine(1500)
    return replace(copying(seed), optimizer=adam(6e-3), schedule=lambda step: rise(step) * fall(step))


SCHEDULED = (
    # The cosine ends well above zero, as intended: the lowest loss is the one that it ends with.
    healthy(
        "cosine_from_a_small_rate",
        2500,
        "schedule",
        lambda seed: on_digits(mlp(20, 16, 10), sgd(0.01), 16, floor=None, schedule=cosine(2500)),
        future=1.2,
    ),
    healthy("moons_in_cycles", 2400, "schedule", moons_in_cycles, future=2.0),
    healthy("copies_after_a_warm_up", 1500, "schedule", copying_on_schedule),
    healthy(
        "cosine_restarts",
        2400,
        "schedule",
        lambda seed: on_digits(
            mlp(20, 20, 10, activation="tanh"), sgd(0.05, 0.9), 16, schedule=lambda step: cosine(600)(step % 600)
        ),
    ),
)
