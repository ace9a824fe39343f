"""Healthy held-out runs on tables of numbers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, Tensor

from benchmarks.stuck_runs.data import entropy, gaussian_weights, linear_map, table
from benchmarks.stuck_runs.held_out.networks import DeepSet
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, adam, by, endless, finite, sgd
from benchmarks.stuck_runs.schedules import polynomial


def nesterov(rate: float) -> MakesOptimizer:
    """Return a function that makes SGD with Nesterov momentum of 0.9."""
    return by(torch.optim.SGD, lr=rate, momentum=0.9, nesterov=True)


def power_law(seed: int) -> Problem:
    """Return a run whose inputs and weights decay like powers of their index, and whose loss falls like a power."""
    number = torch.arange(1.0, 301.0)
    deviations, weights = (
        number**-0.75,
        torch.randn(300, generator=Generator().manual_seed(seed)).sign() * number**-0.25,
    )

    def sample(count: int, generator: Generator) -> Batch:
        x = deviations * torch.randn(count, 300, generator=generator)
        return x, x @ weights[:, None]

    trivial = float((deviations**2 * weights**2).sum())
    return endless(mlp(300, 1, bias=False), F.mse_loss, sample, 32, sgd(0.15), trivial=trivial, floor=0.0)


def weak_signal(seed: int) -> Problem:
    """Return a run whose inputs explain 6% of the variance, so that the loss falls early and little."""
    weights = gaussian_weights(5, seed)
    sample = linear_map(0.25 * weights / weights.norm(), noise=1.0)
    return endless(mlp(5, 1), F.mse_loss, sample, 64, sgd(0.02), evaluation_samples=8192, trivial=1.0625)


def drifting_target(seed: int) -> Problem:
    """Return a run whose target, a linear map, rotates slowly, so that the weights have to follow without end."""
    first, second = torch.linalg.qr(torch.randn(12, 2, generator=Generator().manual_seed(seed)))[0].T[:, :, None] * 3

    def sample(count: int, generator: Generator, step: int) -> Batch:
        angle = step / 500
        x = torch.randn(count, 12, generator=generator)
        y = x @ (first * math.cos(angle) + second * math.sin(angle))
        return x, y + 0.7 * torch.randn(count, 1, generator=generator)

    return Problem(
        mlp(12, 1),
        F.mse_loss,
        lambda generator, step: sample(16, generator, step),
        lambda step: sample(1024, Generator().manual_seed(123), step),
        sgd(0.03),
        trivial=9.49,
        floor=0.49,
    )


def partial_likelihood(output: Tensor, target: Tensor) -> Tensor:
    """Return Cox's negative partial log-likelihood per event; `target` holds time and event, (samples, 2)."""
    order = target[:, 0].argsort(descending=True)
    risk, event = output[order, 0], target[order, 1]
    return -((risk - torch.logcumsumexp(risk, 0)) * event).sum() / event.sum().clamp(min=1)


def survival(seed: int, optimizer: MakesOptimizer | None = None, **rest: float) -> Problem:
    """Return a run of Cox regression, with a third of the times censored."""
    generator = Generator().manual_seed(seed)
    x = torch.randn(600, 8, generator=generator)
    hazard = (x @ gaussian_weights(8, seed, scale=0.5)).exp()
    time = -torch.rand(600, 1, generator=generator).log() / hazard
    data = x, torch.cat([time.clamp(max=1.0), (time < 1).float()], 1)
    model = mlp(8, 1, bias=False)
    torch.nn.init.zeros_(model[0].weight)
    return finite(model, partial_likelihood, data, 64, optimizer or nesterov(0.005), **rest)


def margins(seed: int) -> Problem:
    """Return a run that classifies wines by a multi-class hinge loss, with a learning rate that falls linearly."""
    data = table("wine")
    return finite(
        mlp(13, 16, 3, activation="tanh"),
        F.multi_margin_loss,
        data,
        32,
        sgd(0.05, decay=2e-3),
        trivial=2 / 3,
        schedule=polynomial(1500, 1.0),
    )


def one_at_a_time(seed: int) -> Problem:
    """Return a run of logistic regression with batches of one sample."""
    x, y = table("breast_cancer")
    loss = F.binary_cross_entropy_with_logits
    return finite(mlp(30, 1), loss, (x, y.float()[:, None]), 1, sgd(0.002), trivial=entropy(y))


def absolute_error(seed: int) -> Problem:
    """Return a run that fits the standardised targets of the diabetes table by absolute error."""
    x, y = table("diabetes")
    y = ((y - y.mean()) / y.std()).float()[:, None]
    trivial = float((y - y.median()).abs().mean())
    return finite(mlp(10, 1), F.l1_loss, (x, y), 32, by(torch.optim.ASGD, lr=0.01), trivial=trivial)


def interpolation(seed: int) -> Problem:
    """Return a run with more weights than samples, whose loss falls to rounding errors and stays there."""
    generator = Generator().manual_seed(seed)
    x = torch.randn(40, 3, generator=generator)
    data = x, (2 * x[:, :1]).sin() + x[:, 1:2] * x[:, 2:]
    optimizer = by(torch.optim.RAdam, lr=1e-2)
    trivial = float(data[1].var())
    return finite(mlp(3, 64, 1, activation="gelu"), F.mse_loss, data, 40, optimizer, trivial=trivial, floor=0.0)


def focal(output: Tensor, target: Tensor) -> Tensor:
    """Return the focal loss times 10: cross-entropy in which samples that are classified well count less."""
    losses = F.binary_cross_entropy_with_logits(output, target, reduction="none")
    return 10 * ((1 - (-losses).exp()) ** 2 * losses).mean()


def rare_class(seed: int) -> Problem:
    """Return a run with one positive in thirty, a focal loss, and dropout of half of the units."""
    x, y = datasets.make_classification(
        3000, 12, n_informative=6, weights=[0.97], class_sep=1.5, flip_y=0.0, random_state=seed
    )
    data = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    return finite(mlp(12, 32, 1, dropout=0.5), focal, data, 64, by(torch.optim.NAdam, lr=2e-3))


def outlying_targets(seed: int) -> Problem:
    """Return a run of linear regression by the log-cosh loss, under noise without a variance."""
    weights = gaussian_weights(10, seed)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        noise = torch.randn(count, 1, generator=generator) / torch.randn(count, 1, generator=generator)
        return x, x @ weights + 0.5 * noise

    def loss(output: Tensor, target: Tensor) -> Tensor:
        distance = (output - target).abs()
        return (distance + F.softplus(-2 * distance)).mean() - math.log(2)

    return endless(mlp(10, 1), loss, sample, 16, sgd(0.02, 0.5), evaluation_samples=8192, clip=2.0)


def largest_of_a_set(seed: int) -> Problem:
    """Return a run in which a function of sets learns the largest of nine numbers."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.rand(count, 9, 1, generator=generator)
        return x, 10 * x.amax(1)

    model = DeepSet(mlp(1, 24, 24), mlp(24, 24, 1))
    return endless(model, F.mse_loss, sample, 32, adam(1e-3), trivial=0.81)
