"""Healthy runs of the split `second` whose loss falls to the end, be it slowly or noisily."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, nn

from benchmarks.stuck_runs.data import digits, entropy, gaussian_weights, linear_map, singular_map
from benchmarks.stuck_runs.networks import Recurrent, constant, mlp, normal, scaled
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, healthy, resampled, sgd
from benchmarks.stuck_runs.tasks import on_digits, pretrained


def many_scales(seed: int) -> Problem:
    """Return a run of linear regression on features of many scales, whose loss falls as a power of the step."""
    size = torch.arange(1, 151).float()
    scales = size**-0.75
    weights = gaussian_weights(150, seed) * size[:, None] ** 0.25

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 150, generator=generator) * scales
        return x, x @ weights

    model = mlp(150, 1, init=constant(0.0), bias=False)
    trivial = float(((scales[:, None] * weights) ** 2).sum())
    return endless(model, F.mse_loss, sample, 32, sgd(0.05), trivial=trivial, floor=0.0)


def circles(seed: int) -> Problem:
    """Return a run that separates a circle from one of half its radius."""
    points, labels = datasets.make_circles(800, noise=0.08, factor=0.5, random_state=seed)
    data = torch.tensor(points).float(), torch.tensor(labels).float()[:, None]
    loss = F.binary_cross_entropy_with_logits
    return finite(mlp(2, 16, 1), loss, data, 32, adam(5e-3), trivial=math.log(2))


def recovered_factors(seed: int) -> Problem:
    """Return a run that factorises a matrix of rank four from weights of a good size."""
    weights = singular_map(15, (3.0, 2.6, 2.3, 2.0), seed + 5)
    model = mlp(15, 4, 15, activation="linear", init=normal(0.3), bias=False)
    trivial = float((weights**2).sum() / 15)
    return endless(model, F.mse_loss, linear_map(weights), 32, sgd(0.1), trivial=trivial, floor=0.0)


def modular_sums(seed: int) -> Problem:
    """Return a run that memorises 60% of the table of addition modulo 13 under a strong weight decay."""
    pairs = torch.cartesian_prod(torch.arange(13), torch.arange(13))
    chosen = pairs[torch.randperm(169, generator=Generator().manual_seed(seed))[:101]]
    data = F.one_hot(chosen, 13).flatten(1).float(), chosen.sum(1) % 13
    return finite(mlp(26, 48, 13), F.cross_entropy, data, 101, adam(3e-3, decay=1.0), trivial=math.log(13))


def corrupt_batches(seed: int) -> Problem:
    """Return a run in which one batch in fifty has inputs four times too large and labels out of order."""
    problem = on_digits(mlp(20, 24, 10), adam(1e-3))
    drawn = resampled(digits(), 16)

    def batch(generator: Generator, step: int) -> Batch:
        x, y = drawn(generator, step)
        if float(torch.rand((), generator=generator)) >= 0.02:
            return x, y
        return 4 * x, y[torch.randperm(len(y), generator=generator)]

    return replace(problem, batch=batch)


def two_sines(seed: int) -> Problem:
    """Return a run that fits the sum of two sines."""
    x = torch.linspace(-1, 1, 200)[:, None]
    y = torch.sin(2 * math.pi * x) + 0.4 * torch.sin(6 * math.pi * x)
    model = mlp(1, 32, 1, activation="tanh")
    return finite(model, F.mse_loss, (x, y), 64, adam(1e-2), trivial=float(y.var()), floor=0.0)


def turned_digits(seed: int) -> Problem:
    """Return a run that tunes a trained classifier to inputs that were slightly turned, at a small learning rate."""
    x, y = digits()
    turn = torch.eye(20) + 0.08 * torch.randn(20, 20, generator=Generator().manual_seed(seed))
    model = pretrained((20, 24, 10), (x, y), 200)
    return finite(model, F.cross_entropy, (x @ turn, y), 32, adam(2e-4), trivial=entropy(y), floor=0.0)


def small_teacher(seed: int) -> Problem:
    """Return a run in which 24 units learn the function of a network of six."""
    student = mlp(10, 24, 1, activation="tanh")
    torch.manual_seed(1000 + seed)
    teacher = mlp(10, 6, 1, activation="tanh", init=scaled(1.5))

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        with torch.no_grad():
            return x, 2 * teacher(x)

    trivial = float(sample(4096, Generator().manual_seed(1))[1].var())
    return endless(student, F.mse_loss, sample, 16, sgd(0.05), trivial=trivial, floor=0.0)


def distant_minority(seed: int) -> Problem:
    """Return a run of binary classification in which one sample in twenty is positive, and lies apart."""

    def sample(count: int, generator: Generator) -> Batch:
        y = (torch.rand(count, 1, generator=generator) < 0.05).float()
        x = torch.randn(count, 8, generator=generator)
        x[:, :1] += 3.5 * y
        return x, y

    share = torch.tensor([0.05, 0.95])
    trivial = float(torch.special.entr(share).sum())
    loss = F.binary_cross_entropy_with_logits
    return endless(mlp(8, 12, 1), loss, sample, 16, adam(2e-3), evaluation_samples=4096, trivial=trivial)


def large_targets(seed: int) -> Problem:
    """Return a run of linear regression with targets of size 300, so that every loss and gradient is large."""
    weights = gaussian_weights(20, seed, scale=300.0)
    trivial = float((weights**2).sum() + 900)
    return endless(
        mlp(20, 1), F.mse_loss, linear_map(weights, noise=30.0), 16, sgd(0.002), trivial=trivial, floor=900.0
    )


def normalised_convolution(seed: int) -> Problem:
    """Return a run of a convolution with BatchNorm over the components of the digits as a picture of 4 by 5."""
    return on_digits(
        nn.Sequential(
            *(nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(160, 10)),
        ),
        adam(1e-3),
    )


def means_by_gru(seed: int) -> Problem:
    """Return a run in which a GRU learns twice the mean of six numbers."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 6, 1, generator=generator)
        return x, 2 * x.mean(1)

    model = Recurrent(nn.GRU(1, 10, batch_first=True), 10)
    return endless(model, F.mse_loss, sample, 32, adam(3e-3), evaluation_samples=512, trivial=4 / 6, floor=0.0)


def random_body(seed: int) -> Problem:
    """Return a run that trains the head of a frozen body of random features."""
    model = mlp(20, 64, 10)
    model[0].requires_grad_(requires_grad=False)
    return on_digits(model, adam(3e-3), floor=None)


def memorised_labels(seed: int) -> Problem:
    """Return a run that memorises the random labels of a hundred samples."""
    generator = Generator().manual_seed(seed)
    x, y = torch.randn(100, 20, generator=generator), torch.randint(0, 5, (100,), generator=generator)
    return finite(mlp(20, 48, 5), F.cross_entropy, (x, y), 16, adam(2e-3), trivial=entropy(y), floor=0.0)


def regression_one_by_one(seed: int) -> Problem:
    """Return a run of linear regression from zero with one sample in each step."""
    weights = gaussian_weights(30, seed)
    trivial = float((weights**2).sum() + 0.25)
    sample = linear_map(weights, noise=0.5)
    return endless(mlp(30, 1, init=constant(0.0)), F.mse_loss, sample, 1, sgd(2e-4), trivial=trivial, floor=0.25)


FALLING = (
    healthy("digits_one_by_one", 4000, "noisy", lambda seed: on_digits(mlp(20, 16, 10), sgd(0.002), 1)),
    healthy("features_of_many_scales", 3000, "power law", many_scales),
    healthy("circles", 2000, "improving", circles, future=2.0),
    healthy("recovered_factors", 1500, "improving", recovered_factors),
    healthy("sums_modulo_13", 3000, "improving", modular_sums, future=2.0),
    healthy("dropout_of_one_half", 2500, "noisy", lambda seed: on_digits(mlp(20, 32, 10, dropout=0.5), adam(1e-3), 8)),
    healthy("corrupt_batches", 2500, "noisy", corrupt_batches),
    healthy("two_sines", 3000, "improving", two_sines),
    healthy("tuned_to_turned_digits", 2000, "minimum", turned_digits),
    healthy("teacher_of_six_units", 3000, "power law", small_teacher),
    healthy("distant_minority", 2500, "improving", distant_minority, future=2.0),
    healthy("large_targets", 2000, "improving", large_targets),
    healthy("convolution_with_batch_norm", 1500, "improving", normalised_convolution),
    healthy("means_by_gru", 1200, "improving", means_by_gru),
    healthy("body_of_random_features", 2000, "improving", random_body),
    healthy("memorised_labels", 3000, "improving", memorised_labels),
    healthy("regression_one_by_one", 4000, "noisy", regression_one_by_one),
)
