"""Runs whose weights do not move, that have nothing to learn, or whose loss diverges."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, nn

from benchmarks.stuck_runs.data import digit_images, entropy, gaussian_weights, linear_map, table
from benchmarks.stuck_runs.networks import Recurrent, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, sgd, stuck
from benchmarks.stuck_runs.seen import networks
from benchmarks.stuck_runs.seen.tasks import on_images
from benchmarks.stuck_runs.tasks import on_digits


def only_a_bias_trains(seed: int) -> Problem:
    """Return a run in which all but the last bias is frozen, as for fine-tuning."""
    model = mlp(20, 16, 10)
    for parameter in list(model.parameters())[:-1]:
        parameter.requires_grad_(requires_grad=False)
    return on_digits(model, adam(1e-2))


def head_of_yesterday(seed: int) -> Problem:
    """Return a run whose optimizer holds a head that has been replaced, while the body is frozen."""
    model = networks.conv_net()
    old = model[7]
    model[:7].requires_grad_(requires_grad=False)
    model[7] = nn.Linear(64, 10)
    return replace(on_images(model, sgd(0.1)), optimized_module=old)


def shuffled_labels(seed: int) -> Problem:
    """Return a run whose labels do not belong to their images."""
    images, labels = digit_images()

    def batch(generator: Generator, step: int) -> Batch:
        first, second = (torch.randint(0, len(images), (32,), generator=generator) for _ in range(2))
        return images[first], labels[second]

    other = labels[torch.randperm(len(labels), generator=Generator().manual_seed(0))]
    return replace(on_images(networks.conv_net(), sgd(0.05)), batch=batch, evaluation_data=lambda step: (images, other))


def memoryless_tokens(seed: int) -> Problem:
    """Return a run of a language model on tokens that are independent of one another."""

    def sample(count: int, generator: Generator) -> Batch:
        tokens = torch.randint(0, 12, (count, 11), generator=generator)
        return tokens[:, :-1], tokens[:, 1:]

    model = networks.LanguageModel(12, 10)
    trivial = math.log(12)
    return endless(model, F.cross_entropy, sample, 16, adam(1e-3), evaluation_samples=512, trivial=trivial, floor=0.0)


def one_row_for_all(seed: int) -> Problem:
    """Return a run in which an indexing mistake gives every sample the features of the first."""
    x, y = table("wine")
    data = x[:1].expand(len(x), -1).contiguous(), y
    return finite(mlp(13, 16, 3), F.cross_entropy, data, 16, adam(1e-3), trivial=entropy(y), floor=0.0)


def raw_inputs(seed: int) -> Problem:
    """Return a run of plain gradient descent on features up to thousands that were not scaled."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    data = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    return finite(mlp(30, 1), F.mse_loss, data, 16, sgd(3e-6), trivial=float(y.var()), floor=0.0)


def growing_rate(seed: int) -> Problem:
    """Return a run whose learning rate grows by 1% in every step: the loss falls first and diverges then."""
    weights = gaussian_weights(10, seed)
    trivial = float((weights**2).sum())
    sample = linear_map(weights, noise=0.5)
    return endless(
        mlp(10, 1), F.mse_loss, sample, 32, sgd(1e-3), trivial=trivial, floor=0.25, schedule=lambda step: 1.01**step
    )


def exploding_recurrence(seed: int) -> Problem:
    """Return a run of a linear recurrence over twelve steps whose gradient explodes."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 12, 1, generator=generator)
        return x, x.sum(1)

    model = Recurrent(networks.LinearRecurrence(8), 8)
    return endless(model, F.mse_loss, sample, 16, sgd(0.02, 0.9), evaluation_samples=512, trivial=12.0, floor=0.0)


BROKEN = (
    stuck("only_a_bias_trains", 1500, "not_updating", only_a_bias_trains),
    stuck("head_of_yesterday", 1000, "not_updating", head_of_yesterday),
    stuck(
        "rate_of_zero",
        1500,
        "not_updating",
        lambda seed: on_digits(mlp(20, 24, 10), sgd(0.1), schedule=lambda step: 0.0),
        "learning_rate_too_small",
    ),
    stuck("shuffled_labels", 1200, "nothing_to_learn", shuffled_labels),
    stuck("memoryless_tokens", 1200, "nothing_to_learn", memoryless_tokens),
    stuck("one_row_for_all", 1500, "nothing_to_learn", one_row_for_all),
    stuck("raw_inputs", 1000, "diverged", raw_inputs),
    stuck("growing_rate", 1500, "diverged", growing_rate),
    stuck("exploding_recurrence", 1000, "diverged", exploding_recurrence),
)
