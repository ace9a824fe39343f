"""Runs of the split `fifth` that take a quarter of a minute or more, healthy and stuck."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.fifth.data import WORDS
from benchmarks.stuck_runs.fifth.mistakes import late_labels
from benchmarks.stuck_runs.fifth.networks import WordEncoder, residual
from benchmarks.stuck_runs.fifth.schedules import linear_after_warm_up, one_cycle
from benchmarks.stuck_runs.fifth.tasks import on_masked_words, on_shifted_digits, pixels
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, healthy, sgd, stuck


def masked_sources(seed: int) -> Problem:
    """Return a run of a transformer with dropout that fills in masked words, with a warm-up and a linear decay."""
    model = WordEncoder(WORDS, 24, 48, dropout=0.1)
    return on_masked_words(model, adam(2e-3, 0.01), 32, schedule=linear_after_warm_up(120, 1200), clip=1.0)


def shifted_by_residuals(seed: int) -> Problem:
    """Return a run of a residual network on noisy digits at random places, with a one-cycle schedule."""
    return on_shifted_digits(residual(18), sgd(0.06, 0.9, decay=5e-4), 32, schedule=one_cycle(1600))


def one_epoch_long(seed: int, steps: int = 220) -> Problem:
    """Return a run of masked words, whose linear decay was made for the number of steps of a single epoch."""
    model = WordEncoder(WORDS, 24, 40)
    schedule = linear_after_warm_up(40, steps, 1e-4)
    return on_masked_words(model, adam(1.5e-3), 24, schedule=schedule, floor=3.0)


def labels_out_of_step(seed: int) -> Problem:
    """Return a run of a residual network, whose labels lag by a batch after the loader has dropped one."""
    problem = on_shifted_digits(residual(16), adam(3e-3), 32)
    x, y = problem.evaluation_data(0)
    late = x, y.roll(32)
    return replace(
        problem,
        batch=late_labels(problem.batch, 400),
        evaluation_data=lambda step: (x, y) if step < 400 else late,
    )


def cleaned(seed: int, outputs: int = 1) -> Problem:
    """Return a run that removes noise from images by convolutions, of which the middle has one channel only."""
    clean = pixels().view(-1, 1, 8, 8)

    def sample(count: int, generator: Generator) -> Batch:
        x = clean[torch.randint(0, len(clean), (count,), generator=generator)]
        return x + 0.5 * torch.randn(x.shape, generator=generator), x

    channels = 16
    model = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(channels, outputs, 3, stride=4, padding=1),
        nn.GELU(),
        nn.ConvTranspose2d(outputs, channels, 4, stride=4),
        nn.GELU(),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(channels, 1, 3, padding=1),
    )
    return endless(model, F.mse_loss, sample, 64, adam(1e-2), trivial=1.0, evaluation_samples=1024)


LONGER = (
    healthy("masked_sources", 1200, "improving", masked_sources, future=1.2),
    healthy("shifted_by_residuals", 1600, "schedule", shifted_by_residuals, future=1.2),
    stuck("decay_of_a_single_epoch", 1300, "learning_rate_too_small", one_epoch_long, "not_updating"),
    stuck("labels_out_of_step", 1800, "nothing_to_learn", labels_out_of_step),
    stuck("narrow_passage", 1200, "poor_minimum", cleaned, cure=lambda seed: cleaned(seed, 16)),
)
