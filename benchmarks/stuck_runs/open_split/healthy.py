"""Healthy runs of the split `open`."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.stuck_runs.data import (
    digits,
    entropy,
    gaussian_weights,
    linear_map,
    mixture,
    noisy_labels,
)
from benchmarks.stuck_runs.networks import CausalAttention, Mixture, constant, mlp
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, adam, endless, finite, healthy, resampled, sgd
from benchmarks.stuck_runs.schedules import cosine
from benchmarks.stuck_runs.tasks import on_digits

CENTRES = torch.tensor([[-10.0, 0.0], [8.0, 3.0], [8.0, -3.0]])
"""true centres of the mixture in `mixture_at_its_minimum` and, from a bad start, in `mixture_shares_a_centre`"""


def on_noisy_digits(
    model: torch.nn.Module, optimizer: MakesOptimizer, size: int, share: float, seed: int, **rest: Any
) -> Problem:
    """Return a run that classifies digits of which a share have random labels."""
    x, y = digits()
    labels = noisy_labels(y, share, seed)
    return finite(model, F.cross_entropy, (x, labels), size, optimizer, trivial=entropy(y), **rest)


def noisy_regression(seed: int, size: int, optimizer: MakesOptimizer, **rest: Any) -> Problem:
    """Return a run of linear regression whose residual has variance 1."""
    weights = gaussian_weights(20, seed)
    trivial = float((weights**2).sum() + 1)
    return endless(mlp(20, 1), F.mse_loss, linear_map(weights, noise=1.0), size, optimizer, trivial=trivial, **rest)


def tiny_targets(seed: int, rate: float) -> Problem:
    """Return a run with targets of size 1e-3, so that every loss and gradient is tiny from the start."""
    weights = gaussian_weights(20, seed, scale=1e-3)
    return endless(
        mlp(20, 1, init=constant(0.0)),
        F.mse_loss,
        linear_map(weights, noise=1e-4),
        16,
        sgd(rate),
        trivial=float((weights**2).sum() + 1e-8),
        floor=1e-8,
    )


def separable(seed: int) -> Problem:
    """Return a run of logistic regression on separable classes, whose loss falls like 1/t without end."""
    y = (torch.arange(300) % 2).float()[:, None]
    x = torch.randn(300, 5, generator=Generator().manual_seed(seed)) * 0.5
    x[:, :1] += (2 * y - 1) * 2.5
    loss = F.binary_cross_entropy_with_logits
    return finite(mlp(5, 1), loss, (x, y), 300, sgd(0.1), trivial=math.log(2), floor=0.0)


def curriculum(seed: int) -> Problem:
    """Return a run on digits below 3, then below 5, 7 and 10; the loss jumps when a stage begins."""
    x, y = digits()
    stages = [(x[y < k], y[y < k]) for k in (3, 5, 7, 10)]

    def stage(step: int) -> Batch:
        return stages[min(3, step // 600)]

    return Problem(
        mlp(20, 24, 10),
        F.cross_entropy,
        lambda generator, step: resampled(stage(step), 32)(generator, step),
        stage,
        adam(1e-3),
        trivial=entropy(y),
        floor=0.0,
    )


def autoencoder(seed: int) -> Problem:
    """Return a run of an autoencoder of digits with a bottleneck of 6."""
    x = digits()[0]
    model = mlp(20, 6, 20, activation="tanh")
    return finite(model, F.mse_loss, (x, x), 32, adam(2e-3), trivial=float(x.var(0).mean()))


def markov_chain(seed: int) -> Problem:
    """Return a run that predicts the next state of a Markov chain, whose entropy rate is the floor."""
    states = 12
    transition = torch.softmax(1.5 * torch.randn(states, states, generator=Generator().manual_seed(seed)), 1)
    stationary = torch.linalg.matrix_power(transition, 60)[0]

    def sample(count: int, generator: Generator) -> Batch:
        now = torch.multinomial(stationary, count, replacement=True, generator=generator)
        after = torch.multinomial(transition[now], 1, generator=generator).squeeze(1)
        return F.one_hot(now, states).float(), after

    return endless(
        mlp(states, 16, states, activation="tanh"),
        F.cross_entropy,
        sample,
        32,
        adam(3e-3),
        evaluation_samples=4096,
        trivial=float(torch.special.entr(stationary).sum()),
        floor=float(stationary @ torch.special.entr(transition).sum(1)),
    )


def copying(seed: int) -> Problem:
    """Return a run in which attention has to copy the previous token."""
    tokens, length = 8, 10

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randint(0, tokens, (count, length), generator=generator)
        return x, torch.cat([x[:, :1], x[:, :-1]], 1)

    model = CausalAttention(tokens, length, 12)
    return endless(
        model, F.cross_entropy, sample, 16, adam(5e-3), evaluation_samples=256, trivial=math.log(tokens), floor=0.0
    )


def heavy_tails(seed: int) -> Problem:
    """Return a run of linear regression by the Huber loss, under Student's t noise with 2 degrees of freedom."""
    weights = gaussian_weights(15, seed)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 15, generator=generator)
        chi = torch.randn(count, 2, generator=generator).pow(2).sum(1, keepdim=True) / 2
        return x, x @ weights + torch.randn(count, 1, generator=generator) / chi.sqrt()

    y = sample(8192, Generator().manual_seed(1))[1]
    trivial = float(F.huber_loss(y.median().expand_as(y), y))
    return endless(mlp(15, 1), F.huber_loss, sample, 8, sgd(0.02), evaluation_samples=8192, trivial=trivial)


def overlapping_classes(seed: int) -> Problem:
    """Return a run on two classes that overlap, with a Bayes loss of 75% of the trivial loss."""

    def sample(count: int, generator: Generator) -> Batch:
        y = (torch.rand(count, 1, generator=generator) < 0.5).float()
        x = torch.randn(count, 6, generator=generator)
        x[:, :1] += 1.2 * (y - 0.5)
        return x, y

    loss = F.binary_cross_entropy_with_logits
    return endless(mlp(6, 12, 1), loss, sample, 32, adam(3e-3), evaluation_samples=4096, trivial=math.log(2))


def mixture_of_three(start: Tensor) -> Problem:
    """Return a run that fits the centres of three Gaussians by maximum likelihood, from this start."""
    return endless(Mixture(start), _likelihood, mixture(CENTRES), 32, sgd(0.1), evaluation_samples=2048)


def _likelihood(output: Tensor, target: Tensor) -> Tensor:
    return output.mean() + math.log(3) + math.log(2 * math.pi)


def near_the_centres(seed: int) -> Tensor:
    """Return initial centres, (3, 2), each of which finds a cluster of its own."""
    return CENTRES + 1.5 * torch.randn(3, 2, generator=Generator().manual_seed(seed))


def full_batch(seed: int) -> Problem:
    """Return a run of gradient descent above the edge of stability: the loss falls, but not in every step."""
    x, y = digits()
    data = x[:400], y[:400]
    model = mlp(20, 16, 10, activation="tanh")
    return finite(model, F.cross_entropy, data, 400, sgd(1.2), trivial=entropy(y), floor=0.0)


HEALTHY = (
    healthy("digits", 2000, "improving", lambda seed: on_digits(mlp(20, 24, 10), adam(1e-3))),
    healthy("batches_of_4", 3000, "noisy", lambda seed: on_digits(mlp(20, 24, 10), sgd(0.01), 4)),
    healthy("batches_of_2_slow", 4000, "noisy", lambda seed: on_digits(mlp(20, 24, 10), adam(1e-4), 2)),
    healthy("slow_but_steady", 3000, "slow", lambda seed: on_digits(mlp(20, 24, 10), sgd(0.003))),
    healthy("autoencoder", 3000, "improving", autoencoder),
    healthy("attention_copies", 1500, "improving", copying),
    healthy("tiny_targets", 2000, "improving", lambda seed: tiny_targets(seed, 0.002)),
    healthy("separable_classes", 2500, "power law", separable),
    healthy("edge_of_stability", 2000, "improving", full_batch),
    healthy("curriculum", 3000, "level shift", curriculum),
    healthy(
        "long_warmup",
        2500,
        "schedule",
        lambda seed: on_digits(
            mlp(20, 24, 10, activation="tanh"), sgd(0.05, 0.9), schedule=lambda step: min(1.0, ((step + 1) / 1000) ** 3)
        ),
    ),
    healthy(
        "cosine_to_zero",
        2500,
        "schedule",
        lambda seed: on_noisy_digits(mlp(20, 16, 10), sgd(0.05, 0.9), 16, 0.2, seed + 78, schedule=cosine(2500)),
        future=1.2,
    ),
    healthy(
        "step_decay",
        3000,
        "schedule",
        lambda seed: noisy_regression(
            seed, 4, sgd(0.03), floor=1.0, schedule=lambda step: 1.0 if step < 1500 else 0.1 if step < 2250 else 0.01
        ),
    ),
    healthy(
        "noisy_labels",
        3000,
        "noise floor",
        lambda seed: on_noisy_digits(mlp(20, 8, 10), adam(3e-3), 32, 0.4, seed + 77),
        future=5.0,
    ),
    healthy("noisy_regression", 2500, "noise floor", lambda seed: noisy_regression(seed, 8, sgd(0.01))),
    healthy("markov_chain", 2500, "noise floor", markov_chain),
    healthy("heavy_tails", 2500, "noise floor", heavy_tails),
    healthy("overlapping_classes", 2000, "noise floor", overlapping_classes),
    healthy("mixture_at_its_minimum", 1500, "minimum", lambda seed: mixture_of_three(near_the_centres(seed))),
)
