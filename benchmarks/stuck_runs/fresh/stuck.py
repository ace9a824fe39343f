"""Stuck runs of the split `fresh`: everyday mistakes, by cause."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digit_images, digits, entropy, table
from benchmarks.stuck_runs.fresh.healthy import Ratings, diabetes, on_images, rated, small_convolutions, sums_by_gru
from benchmarks.stuck_runs.networks import factorised, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, resampled, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits


def linear_codes(seed: int) -> Problem:
    """Return a run of a linear autoencoder that starts from tiny weights."""
    x, _ = digits()
    values = torch.linalg.svdvals(x)
    floor = float((values[4:] ** 2).sum() / x.numel())
    trivial = float((x**2).mean())
    return finite(factorised(20, 4, 1e-4), F.mse_loss, (x, x), 64, sgd(0.05), trivial=trivial, floor=floor)


def rectified_answers(seed: int) -> Problem:
    """Return a run whose last layer is followed by a ReLU by mistake, and whose outputs start below zero."""
    (x, y), residual = diabetes()
    model = mlp(10, 16, 1).append(nn.ReLU())
    nn.init.constant_(model[2].bias, -4.0)
    return finite(model, F.mse_loss, (x, y + 2), 32, sgd(0.02), trivial=1.0, floor=residual)


def raw_table(seed: int) -> Problem:
    """Return a run of one sigmoid unit with positive initial weights on unscaled inputs, up to thousands."""
    inputs, labels = datasets.load_breast_cancer(return_X_y=True)
    x, y = torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)[:, None]
    model = mlp(30, 1).append(nn.Sigmoid())
    nn.init.uniform_(model[0].weight, 0.0, 0.3)
    return finite(model, F.mse_loss, (x, y), 32, sgd(0.01), trivial=float(y.var()), floor=0.0)


class Delayed(nn.Module):
    """A wave packet after a learnt delay: times (samples, 1) to heights (samples, 1)."""

    def __init__(self, delay: float) -> None:
        super().__init__()
        self.delay = nn.Parameter(torch.tensor(delay))

    def forward(self, x: Tensor) -> Tensor:
        """Return the heights of the packet, (samples, 1)."""
        return packet(x - self.delay)


def packet(x: Tensor) -> Tensor:
    """Return the values at `x` of a cosine of period 1 under a Gaussian envelope."""
    return torch.cos(2 * math.pi * x) * torch.exp(-(x**2) / 4)


def delay(seed: int, start: float = 1.05) -> Problem:
    """Return a run that fits the delay of a wave packet, from a start that is one period off."""
    x = torch.linspace(-5, 5, 200)[:, None]
    y = packet(x) + 0.02 * torch.randn(200, 1)
    trivial = float(y.var())
    return finite(Delayed(start), F.mse_loss, (x, y), 32, sgd(0.01), trivial=trivial, floor=4e-4)


class Process(nn.Module):
    """A Gaussian process with learnt length scale and noise, which returns its negative log-likelihood."""

    def __init__(self, scale: float, noise: float) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise)))

    def forward(self, data: Tensor) -> Tensor:
        """Return the negative log-likelihood per sample, 0-dim; `data` holds x and y, (samples, 2)."""
        x, y = data[:, :1], data[:, 1:]
        near = torch.exp(-0.5 * ((x - x.T) / self.log_scale.exp()) ** 2)
        factor = torch.linalg.cholesky(near + ((2 * self.log_noise).exp() + 1e-4) * torch.eye(len(x)))
        whitened = torch.linalg.solve_triangular(factor, y, upper=False)
        return (0.5 * (whitened**2).sum() + factor.diagonal().log().sum()) / len(x)


def process(seed: int, scale: float = 20.0, noise: float = 1.0) -> Problem:
    """Return a run that fits a Gaussian process, from a start that takes a wave for noise about a straight line."""
    generator = Generator().manual_seed(seed)
    x = torch.linspace(-4, 4, 24)[:, None]
    y = torch.sin(3 * x) * 1.4 + 0.1 * torch.randn(24, 1, generator=generator)
    data = torch.cat([x, y], 1), torch.zeros(24, 1)
    trivial = 0.5 + 0.5 * math.log(float(y.var()))
    return finite(Process(scale, noise), lambda loss, _: loss, data, 24, adam(5e-3), trivial=trivial)


def forgotten_epochs(seed: int) -> Problem:
    """Return a run whose learning rate decays in every step, though the decay was meant for every epoch."""
    x, y = table("wine")
    optimizer, trivial = adam(1e-3), entropy(y)
    schedule = 0.95
    return finite(
        mlp(13, 16, 3), F.cross_entropy, (x, y), 16, optimizer, trivial=trivial, floor=0.0, schedule=schedule.__pow__
    )


def sums_at_1(seed: int) -> Problem:
    """Return a run of a GRU by Adam at a learning rate of 1."""
    problem = sums_by_gru(seed)
    return Problem(problem.model, problem.loss, problem.batch, problem.evaluation_data, adam(1.0), problem.trivial, 0.0)


class ZeroedFirst(torch.optim.SGD):
    """SGD after `zero_grad` in the wrong place: the gradients are set to zero between backward pass and step."""

    def step(self, closure: Any = None) -> Any:
        """Set all gradients to zero, take a step, and return the closure's loss, or None without a closure."""
        loss = None if closure is None else closure()
        self.zero_grad(set_to_none=False)
        super().step()
        return loss


def whole_numbers(seed: int) -> Problem:
    """Return a run whose warm-up factor is computed by integer division, and so stays zero."""
    return on_digits(mlp(20, 32, 10), adam(2e-3), schedule=lambda step: min(1.0, float(step // 5000)))


def images_of_others(seed: int) -> Problem:
    """Return a run whose images and labels are drawn independently in every batch."""
    images, labels = digit_images()

    def sample(count: int, generator: Generator) -> Batch:
        image, label = torch.randint(0, len(labels), (2, count), generator=generator)
        return images[image], labels[label]

    trivial = entropy(labels)
    return endless(small_convolutions(), F.cross_entropy, sample, 32, adam(1e-3), trivial=trivial, floor=0.0)


def wrong_columns(seed: int) -> Problem:
    """Return a run whose inputs are columns that have nothing to do with the target."""
    (_, y), residual = diabetes()

    def sample(count: int, generator: Generator) -> Batch:
        rows = torch.randint(0, len(y), (count,), generator=generator)
        return torch.randn(count, 10, generator=generator), y[rows]

    return endless(mlp(10, 16, 1), F.mse_loss, sample, 32, sgd(0.02), trivial=1.0, floor=residual)


def summed_errors(seed: int) -> Problem:
    """Return a run that sums the errors of a batch, at a learning rate that was meant for their mean."""
    data, residual = diabetes()
    loss = nn.MSELoss(reduction="sum")
    trivial, floor = float(len(data[0])), residual * len(data[0])
    return finite(mlp(10, 1), loss, data, 64, sgd(0.02), trivial=trivial, floor=floor)


def missing_value(seed: int) -> Problem:
    """Return a run on a table with one missing value, NaN; the first batch that contains it makes every weight NaN."""
    x, y = table("breast_cancer")
    holed = x.clone()
    holed[100 + seed, 7] = math.nan
    optimizer, trivial = adam(1e-3), entropy(y)
    batch = resampled((holed, y), 16)
    return Problem(mlp(30, 16, 2), F.cross_entropy, batch, lambda step: (x, y), optimizer, trivial, 0.0)


def tiny_ratings(seed: int) -> Problem:
    """Return a run that learns ratings from embeddings that start near zero."""
    return rated(Ratings(1e-3), seed, 64, sgd(0.4))


STUCK = (
    stuck("ratings_from_tiny_embeddings", 1500, "saddle_point", tiny_ratings),
    stuck("linear_codes_from_tiny_weights", 1200, "saddle_point", linear_codes),
    stuck("rectified_answers", 1000, "flat_region", rectified_answers, "not_updating"),
    stuck("sigmoid_of_raw_inputs", 1000, "flat_region", raw_table, "not_updating"),
    stuck("delay_one_period_off", 1000, "poor_minimum", delay, cure=lambda seed: delay(seed, 0.1)),
    stuck("wave_taken_for_noise", 800, "poor_minimum", process, "flat_region", cure=lambda s: process(s, 0.5, 0.2)),
    stuck(
        "convolutions_at_2e-5", 600, "learning_rate_too_small", lambda seed: on_images(small_convolutions(), sgd(2e-5))
    ),
    stuck("decay_at_every_step", 1200, "learning_rate_too_small", forgotten_epochs, "not_updating"),
    stuck(
        "convolutions_by_adam_at_0.3",
        600,
        "learning_rate_too_large",
        lambda seed: on_images(small_convolutions(), adam(0.3)),
        "flat_region",
    ),
    stuck("sums_by_adam_at_1", 600, "learning_rate_too_large", sums_at_1, "flat_region"),
    stuck("warm_up_in_whole_numbers", 1000, "not_updating", whole_numbers, "learning_rate_too_small"),
    stuck(
        "gradients_zeroed_first", 1000, "not_updating", lambda seed: on_digits(mlp(20, 32, 10), by(ZeroedFirst, lr=0.1))
    ),
    stuck("images_of_others", 600, "nothing_to_learn", images_of_others),
    stuck("wrong_columns", 1000, "nothing_to_learn", wrong_columns),
    stuck("errors_summed_over_the_batch", 1000, "diverged", summed_errors, "learning_rate_too_large"),
    stuck("a_missing_value", 1000, "diverged", missing_value),
)
