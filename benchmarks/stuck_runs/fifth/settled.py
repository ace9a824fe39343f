"""Healthy runs of the split `fifth` whose loss ends at noise, or at another value far from zero."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.stuck_runs.data import digits, gaussian_weights
from benchmarks.stuck_runs.fifth.data import WORDS, neighbouring_words
from benchmarks.stuck_runs.fifth.networks import SkipGram, negative_sampling
from benchmarks.stuck_runs.fifth.physics import Documents, Views, convolution_in_time, diffusion_network, listwise
from benchmarks.stuck_runs.fifth.schedules import linear_after_warm_up, one_cycle
from benchmarks.stuck_runs.fifth.tasks import diffusion, on_clicks, on_patients, on_seasons, on_views
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, healthy, sgd
from benchmarks.stuck_runs.schedules import cosine


def rolled_diffusion(seed: int) -> Problem:
    """Return a run of denoising diffusion with small batches, most of whose loss is noise that cannot be removed."""
    return diffusion(diffusion_network(), adam(2e-3), 32, schedule=cosine(2000))


def two_views(seed: int) -> Problem:
    """Return a run of contrastive learning with weight decay and a one-cycle schedule."""
    return on_views(Views(mlp(20, 48, 16)), adam(5e-3, 0.05), schedule=one_cycle(900))


def hazards(seed: int) -> Problem:
    """Return a run of survival analysis, whose loss hardly falls although it reaches its lowest value."""
    return on_patients(mlp(8, 16, 1, dropout=0.1), sgd(0.02, 0.9), schedule=cosine(900))


def clicks_by_adagrad(seed: int) -> Problem:
    """Return a run that predicts clicks by Adagrad, and settles slowly near the noise of the clicks."""
    return on_clicks(by(torch.optim.Adagrad, lr=0.1), 16, floor=None, schedule=cosine(1500))


def smoothed(seed: int) -> Problem:
    """Return a run with label smoothing, whose loss ends at the entropy of the smoothed labels."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(logits, y, label_smoothing=0.2)

    return finite(mlp(20, 48, 10, dropout=0.1), loss, digits(), 64, adam(3e-3), schedule=one_cycle(1000))


def words_in_context(seed: int) -> Problem:
    """Return a run of word2vec with negative sampling in batches of 16, which is very noisy."""
    optimizer = by(torch.optim.Adam, lr=5e-3)
    return endless(
        SkipGram(WORDS),
        negative_sampling,
        neighbouring_words(),
        16,
        optimizer,
        evaluation_samples=8192,
        schedule=lambda step: max(0.02, 1 - step / 1500),
    )


def forecast_by_convolutions(seed: int) -> Problem:
    """Return a run of dilated convolutions that reaches the noise of a series early."""
    return on_seasons(convolution_in_time(), adam(4e-3), 32, schedule=cosine(1000))


def summed_costs(seed: int) -> Problem:
    """Return a run of Gamma regression, whose loss is a sum over the batch, and is in the hundreds."""
    weights = gaussian_weights(6, seed, 0.4)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 6, generator=generator)
        draws = -torch.log(torch.rand(count, 3, generator=generator)).sum(1, keepdim=True) / 3
        return x, torch.exp(1 + x @ weights) * draws

    def loss(output: Tensor, y: Tensor) -> Tensor:
        return 64 * (output + y * torch.exp(-output)).mean()

    return endless(
        mlp(6, 1), loss, sample, 64, adam(2e-3), evaluation_samples=8192, schedule=linear_after_warm_up(10, 800)
    )


def ranked_lists(seed: int) -> Problem:
    """Return a run that ranks lists of documents."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, 6, generator=generator)
        y = 2 * torch.tanh(x[:, :, 0] + x[:, :, 1] * x[:, :, 2])
        return x, y + 0.3 * torch.randn(y.shape, generator=generator)

    return endless(
        Documents(mlp(6, 24, 1)),
        listwise,
        sample,
        16,
        adam(5e-3),
        trivial=math.log(8),
        evaluation_samples=2048,
        schedule=cosine(1000),
    )


SETTLED = (
    healthy("rolled_diffusion", 2000, "noise floor", rolled_diffusion, future=1.5),
    healthy("two_views_of_digits", 900, "noise floor", two_views, future=1.5),
    healthy("hazards_of_patients", 900, "noise floor", hazards, future=1.5),
    healthy("clicks_by_adagrad", 1500, "noise floor", clicks_by_adagrad, future=1.5),
    healthy("smoothed_digits", 1000, "noise floor", smoothed, future=1.5),
    healthy("words_in_context", 1500, "noisy", words_in_context, future=1.5),
    healthy("forecast_by_convolutions", 1000, "noise floor", forecast_by_convolutions, future=1.5),
    healthy("costs_in_the_hundreds", 800, "offset", summed_costs, future=1.5),
    healthy("ranked_lists", 1000, "noise floor", ranked_lists, future=1.5),
)
