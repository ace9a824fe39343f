"""Healthy runs that predict a target."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits, entropy, gaussian_weights, noisy_labels, table
from benchmarks.stuck_runs.networks import Recurrent, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, resampled, sgd
from benchmarks.stuck_runs.schedules import cosine
from benchmarks.stuck_runs.seen.tasks import friedman
from benchmarks.stuck_runs.tasks import on_digits, pretrained


def wine(seed: int) -> Problem:
    """Return a run that classifies 178 wines, with dropout of half of the units."""
    data = table("wine")
    optimizer = by(torch.optim.NAdam, lr=2e-3)
    return finite(mlp(13, 32, 3, dropout=0.5), F.cross_entropy, data, 16, optimizer, trivial=entropy(data[1]))


def running_mean(seed: int) -> Problem:
    """Return a run in which a recurrent network learns the mean of its inputs."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, 1, generator=generator)
        return x, x.mean(1) * math.sqrt(8)

    model = Recurrent(nn.GRU(1, 12, batch_first=True), 12)
    return endless(model, F.mse_loss, sample, 16, adam(5e-3), evaluation_samples=512, trivial=1.0, floor=0.0)


def outlying_inputs(seed: int) -> Problem:
    """Return a run with inputs of heavy-tailed scale, under gradient clipping."""
    weights = gaussian_weights(12, seed, scale=0.5)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 12, generator=generator) * torch.randn(count, 1, generator=generator).exp()
        return x, x @ weights

    trivial = float((weights**2).sum()) * math.e**2
    model = mlp(12, 1)
    return endless(
        model, F.mse_loss, sample, 16, sgd(0.01), evaluation_samples=4096, trivial=trivial, floor=0.0, clip=1.0
    )


def frozen_body(seed: int) -> Problem:
    """Return a run that trains a new head for ten digits on frozen features learnt from five."""
    x, y = digits()
    model = pretrained((20, 10, 5), (x[y < 5], y[y < 5]), 60)
    model[0].requires_grad_(requires_grad=False)
    model[2] = nn.Linear(10, 10)
    return on_digits(model, sgd(0.1, 0.9), floor=None)


def resumed_at_the_optimum(seed: int) -> Problem:
    """Return a run that starts where training had ended, with a loss that is flat from the first step."""
    x, y = digits()
    data = x, noisy_labels(y, 0.3, seed + 50)
    model = pretrained((20, 6, 10), data, 1500)
    return finite(model, F.cross_entropy, data, 32, adam(1e-4), trivial=entropy(y))


def support_vectors(seed: int) -> Problem:
    """Return a run of a linear classifier by the hinge loss, with a learning rate of 1/t."""
    x, y = table("breast_cancer")
    signs = y.float()[:, None] * 2 - 1
    return finite(
        mlp(30, 1),
        lambda out, target: (1 - out * target).relu().mean(),
        (x, signs),
        8,
        sgd(0.1, decay=1e-3),
        trivial=float(1 - abs(signs.mean())),
        schedule=lambda step: 1 / (1 + step / 100),
    )


def bags_of_words(seed: int) -> Problem:
    """Return a run that classifies texts of two topics by their words, with embeddings and Adagrad."""
    odds = torch.softmax(torch.randn(2, 200, generator=Generator().manual_seed(seed)), 1)

    def sample(count: int, generator: Generator) -> Batch:
        y = torch.randint(0, 2, (count,), generator=generator)
        return torch.multinomial(odds[y], 12, replacement=True, generator=generator), y

    model = nn.Sequential(nn.EmbeddingBag(200, 6), nn.Linear(6, 2))
    optimizer = by(torch.optim.Adagrad, lr=0.05)
    return endless(model, F.cross_entropy, sample, 32, optimizer, trivial=math.log(2), evaluation_samples=2048)


def summed_loss(seed: int) -> Problem:
    """Return a run that sums the squared errors of large targets over the batch, to losses of a million."""
    x, y = datasets.make_regression(1000, 20, noise=10.0, random_state=seed)
    data = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    scale = 64 * float(data[1].var())
    return Problem(
        mlp(20, 1),
        lambda out, target: 64 * F.mse_loss(out, target),
        resampled(data, 64),
        lambda step: data,
        sgd(3e-5),
        trivial=scale,
    )


def upper_quantile(seed: int) -> Problem:
    """Return a run that fits the 90% quantile of a linear model with Laplace noise by the pinball loss."""
    weights = gaussian_weights(10, seed)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        u = torch.rand(count, 1, generator=generator) - 0.5
        return x, x @ weights - u.sign() * torch.log1p(-2 * u.abs().clamp(max=0.4999))

    def pinball(out: Tensor, target: Tensor) -> Tensor:
        return torch.maximum(0.9 * (target - out), 0.1 * (out - target)).mean()

    y = sample(8192, Generator().manual_seed(1))[1]
    trivial = float(pinball(torch.quantile(y, 0.9).expand_as(y), y))
    return endless(
        mlp(10, 1),
        pinball,
        sample,
        8,
        sgd(0.3),
        evaluation_samples=8192,
        trivial=trivial,
        schedule=lambda step: (1 + step / 50) ** -0.5,
    )


def counts(seed: int) -> Problem:
    """Return a run of Poisson regression with large counts, whose loss is negative."""
    weights = gaussian_weights(8, seed, scale=0.2)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        return x, torch.poisson((2 + x @ weights).exp(), generator=generator)

    return endless(mlp(8, 1), F.poisson_nll_loss, sample, 32, adam(1e-2), evaluation_samples=4096)


def widening_inputs(seed: int) -> Problem:
    """Return a run whose range of inputs grows in three stages, and the loss with it."""

    def sample(count: int, generator: Generator, width: float) -> Batch:
        x = width * (2 * torch.rand(count, 2, generator=generator) - 1)
        return x, torch.sin(3 * x[:, :1]) + x[:, 1:] ** 2

    def width(step: int) -> float:
        return (0.4, 0.8, 1.2)[min(2, step // 500)]

    truths = {w: sample(1024, Generator().manual_seed(123), w) for w in (0.4, 0.8, 1.2)}
    return Problem(
        mlp(2, 32, 1, activation="tanh"),
        F.mse_loss,
        lambda generator, step: sample(32, generator, width(step)),
        lambda step: truths[width(step)],
        adam(5e-3),
        trivial=float(truths[1.2][1].var()),
        floor=0.0,
    )


def correlation(seed: int) -> Problem:
    """Return a run that maximises a correlation, whose loss goes from 0 towards −1."""
    data = friedman()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        a, b = out - out.mean(), target - target.mean()
        return -(a * b).sum() / (a.norm() * b.norm() + 1e-6)

    return finite(mlp(10, 24, 1), loss, data, 64, adam(1e-3), trivial=0.0)


def friedman_by_rmsprop(seed: int) -> Problem:
    """Return a run of noisy regression that overfits slowly."""
    optimizer = by(torch.optim.RMSprop, lr=1e-3)
    return finite(mlp(10, 24, 1), F.mse_loss, friedman(), 32, optimizer, trivial=1.0)


def smoothed_labels(seed: int) -> Problem:
    """Return a run under label smoothing by a fifth, whose cross-entropy cannot reach zero."""
    x, y = digits()
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    return finite(mlp(20, 32, 10), loss, (x, y), 16, sgd(0.05, 0.9), trivial=entropy(y), schedule=cosine(1500))
