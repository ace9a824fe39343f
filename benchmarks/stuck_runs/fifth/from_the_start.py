"""Stuck runs of the split `fifth` that learn nothing, or hardly anything, from the beginning."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import entropy, table
from benchmarks.stuck_runs.fifth.data import WORDS, measured_levels
from benchmarks.stuck_runs.fifth.mistakes import EveryNth
from benchmarks.stuck_runs.fifth.networks import BagOfWords, RowReader, WordEncoder
from benchmarks.stuck_runs.fifth.physics import Bumps, TiedAutoencoder, convolution_in_time
from benchmarks.stuck_runs.fifth.tasks import (
    on_hunters,
    on_masked_words,
    on_modules,
    on_patients,
    on_pixels,
    on_rows,
    on_seasons,
)
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits


def tied_codes(seed: int, deviation: float = 0.0) -> Problem:
    """Return a run of an autoencoder with tied weights of zero, where decoder and encoder switch each other off."""
    return on_pixels(TiedAutoencoder(8, deviation), sgd(0.3))


def raw_wines(seed: int, *, standardise: bool = False) -> Problem:
    """Return a run of tanh units on raw columns of wines of up to 1700, which saturate them."""
    x, y = table("wine")
    scales = torch.tensor([13.0, 2.3, 2.4, 19.5, 100, 2.3, 2.0, 0.36, 1.6, 5.1, 0.96, 2.6, 747])
    raw = x if standardise else (1 + 0.3 * x) * scales
    return finite(
        mlp(13, 16, 16, 3, activation="tanh"), F.cross_entropy, (raw, y), 32, sgd(0.05, 0.9), trivial=entropy(y)
    )


def bumps_far_away(seed: int, distance: float = 12.0) -> Problem:
    """Return a run of a network of Gaussian bumps, whose centres start far from the data, so that all are zero."""
    centres = torch.randn(40, 20, generator=Generator().manual_seed(seed))
    return on_digits(Bumps(distance * F.normalize(centres, dim=1), 10), adam(5e-3))


def rate_of_adam_in_adadelta(seed: int) -> Problem:
    """Return a run of Adadelta at a learning rate that suits Adam."""
    return on_seasons(convolution_in_time(), by(torch.optim.Adadelta, lr=1e-3), floor=0.027)


def sgd_on_rows(seed: int) -> Problem:
    """Return a run of an LSTM by plain SGD at the learning rate of a recipe for Adam."""
    return on_rows(RowReader(nn.LSTM(8, 24, batch_first=True)), sgd(3e-4))


def violent_words(seed: int) -> Problem:
    """Return a run of a transformer on masked words by Adam at a learning rate of 0.1."""
    return on_masked_words(WordEncoder(WORDS, 24, 24, 1), adam(0.1), 16, floor=3.0)


def counted_in_samples(seed: int) -> Problem:
    """Return a run whose accumulation of gradients was given in samples, so that it never comes to a step."""
    return on_patients(mlp(8, 16, 1), by(EveryNth, lr=3e-3, every=4096), floor=2.26)


def level_removed(seed: int, *, normalise: bool = True) -> Problem:
    """Return a run that predicts a level from readings, from each sample of which its own mean was subtracted."""
    drawn = measured_levels()

    def sample(count: int, generator: Generator) -> Batch:
        x, y = drawn(count, generator)
        return (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True) if normalise else x, y

    return endless(mlp(12, 32, 1), F.mse_loss, sample, 32, adam(3e-3), trivial=1.0, evaluation_samples=4096)


def unknown_words(seed: int, *, known: bool = False) -> Problem:
    """Return a run that tells modules apart by words, all of which the vocabulary of another language does not know."""
    problem = on_modules(BagOfWords(WORDS), adam(1e-2))
    if known:
        return problem

    def unknown(batch: Batch) -> Batch:
        return torch.zeros_like(batch[0]), batch[1]

    return replace(
        problem,
        batch=lambda generator, step: unknown(problem.batch(generator, step)),
        evaluation_data=lambda step: unknown(problem.evaluation_data(step)),
    )


def cubic_hunters(seed: int) -> Problem:
    """Return a run that learns an equation of motion with cubic features, by SGD at a rate that makes it explode."""

    class Cubes(nn.Module):
        """All products of up to three of the two numbers."""

        def forward(self, x: Tensor) -> Tensor:
            a, b = x.unbind(1)
            return torch.stack([a, b, a * a, a * b, b * b, a**3, a * a * b, a * b * b, b**3], 1)

    linear = nn.Linear(9, 2)
    nn.init.zeros_(linear.weight)
    return on_hunters(nn.Sequential(Cubes(), linear), sgd(0.5))


FROM_THE_START = (
    stuck(
        "tied_codes_of_zeros",
        900,
        "saddle_point",
        tied_codes,
        "not_updating",
        "flat_region",
        cure=lambda seed: tied_codes(seed, 0.1),
    ),
    stuck("raw_columns_of_wines", 800, "flat_region", raw_wines, cure=lambda seed: raw_wines(seed, standardise=True)),
    stuck("bumps_far_away", 900, "flat_region", bumps_far_away, "not_updating"),
    stuck("rate_of_adam_in_adadelta", 700, "learning_rate_too_small", rate_of_adam_in_adadelta),
    stuck("rate_of_adam_in_sgd", 800, "learning_rate_too_small", sgd_on_rows),
    stuck("violent_masked_words", 800, "learning_rate_too_large", violent_words, "flat_region"),
    stuck("accumulation_in_samples", 800, "not_updating", counted_in_samples),
    stuck("level_removed", 1200, "nothing_to_learn", level_removed, cure=lambda s: level_removed(s, normalise=False)),
    stuck("unknown_words", 800, "nothing_to_learn", unknown_words, cure=lambda s: unknown_words(s, known=True)),
    stuck("cubic_hunters", 800, "diverged", cubic_hunters, "learning_rate_too_large"),
)
