"""Stuck runs of the split `fifth` that learn something, and then stand still."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.data import digits
from benchmarks.stuck_runs.fifth.data import CATEGORIES
from benchmarks.stuck_runs.fifth.mistakes import (
    AveragesPutBack,
    ClippedToTheSmallest,
    ScaledHalf,
    frozen_but,
    glitch,
    parts,
)
from benchmarks.stuck_runs.fifth.networks import (
    BiasedFactors,
    Experts,
    FactorisationMachine,
    Recall,
    RowReader,
    SeriesReader,
    Tabular,
    residual,
)
from benchmarks.stuck_runs.fifth.physics import Rounded, diffusion_network
from benchmarks.stuck_runs.fifth.schedules import one_cycle, raised
from benchmarks.stuck_runs.fifth.tasks import (
    diffusion,
    on_clicks,
    on_crossed_columns,
    on_pixels,
    on_ratings,
    on_recall,
    on_rows,
    on_seasons,
    on_turns,
)
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits, pretrained


def products_near_zero(seed: int) -> Problem:
    """Return a run of a factorisation machine, which learns its linear part, and whose factors start near zero."""
    return on_crossed_columns(FactorisationMachine(deviation=1e-7), sgd(6e-3))


def attention_of_zeros(seed: int) -> Problem:
    """Return a run of attention whose query and key matrices both start at zero, so that neither has a gradient."""
    return on_recall(Recall(deviation=0.0), adam(5e-3))


def experts_alike(seed: int) -> Problem:
    """Return a run of a mixture of experts which were copied from one, and so remain alike."""
    model = Experts(8, 1, 4)
    for expert in model.experts:
        expert.load_state_dict(model.experts[0].state_dict())
    nn.init.zeros_(model.gate.weight)
    nn.init.zeros_(model.gate.bias)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        y = torch.where(x[:, 0] > 0, x[:, 1] + x[:, 2], 2 * x[:, 3] - x[:, 1])
        return x, (y + 0.2 * torch.randn(count, generator=generator))[:, None]

    return endless(model, F.mse_loss, sample, 8, sgd(0.02), trivial=3.5, floor=0.04, evaluation_samples=4096)


def gates_hardened(seed: int, sharpest: float = 3000.0) -> Problem:
    """Return a run of a mixture of experts, whose gate is annealed to hard decisions before it has learnt them."""
    maps = torch.randn(4, 8, generator=Generator().manual_seed(seed))

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        region = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
        y = (maps[region] * x).sum(1) / 2 + 0.2 * torch.randn(count, generator=generator)
        return x, y[:, None]

    model = Experts(8, 1, 4)
    problem = endless(model, F.mse_loss, sample, 8, sgd(0.03), evaluation_samples=4096)

    def anneal(step: int) -> None:
        model.sharpness = min(sharpest, 1.06 ** min(step, 400))

    return replace(problem, before_step=anneal)


def rates_by_layer(seed: int, decay: float = 1e-3) -> Problem:
    """Return a run of fine-tuning, in which each layer has a thousandth of the learning rate of the next one."""
    model = pretrained((20, 6, 6, 10), (digits()[0], (digits()[1] > 4).long()), 60)
    optimizer = parts(torch.optim.Adam, ([model[4]], 1e-2), ([model[2]], 1e-2 * decay), ([model[0]], 1e-2 * decay**2))
    return on_digits(model, optimizer)


def smallest_norm(seed: int) -> Problem:
    """Return a run whose gradient is clipped to its smallest norm so far, which is zero once a batch has no error."""
    model = nn.Sequential(nn.Flatten(), mlp(64, 32, 10))
    optimizer = by(ClippedToTheSmallest, lr=0.015)
    return on_rows(model, optimizer, 2, loss=nn.MultiMarginLoss(), trivial=0.9)


def outlier_in_adagrad(seed: int) -> Problem:
    """Return a run by Adagrad, whose sums of squares never recover from one batch with wrong units."""
    problem = on_seasons(SeriesReader(), by(torch.optim.Adagrad, lr=0.03), 8, floor=0.03)
    return replace(problem, batch=glitch(problem.batch, range(60, 61), 1000.0))


def resumed_with_more_workers(seed: int) -> Problem:
    """Return a run of ratings, which is resumed at forty times the learning rate after a change of the machines."""
    return on_ratings(BiasedFactors(), adam(5e-3), 32, schedule=raised(500, 40.0))


def cycle_too_high(seed: int) -> Problem:
    """Return a run of convolutions with a one-cycle schedule, whose peak was taken from a range test of another net."""
    return on_turns(residual(6, 4, 1), adam(1.0), 32, schedule=one_cycle(2000, 0.7), floor=0.2)


def batches_of_two(seed: int) -> Problem:
    """Return a run of diffusion in batches of two, whose noise keeps the loss high at this learning rate."""
    return diffusion(diffusion_network(), adam(0.025), 2, floor=0.48)


def averages_put_back(seed: int) -> Problem:
    """Return a run whose validation loads the averaged weights and forgets to put the trained ones back."""
    problem = on_rows(RowReader(nn.GRU(8, 24, batch_first=True)), adam(2e-3))
    return replace(problem, before_step=AveragesPutBack(problem.model, 150, 0.9999, 5))


def scale_overflows(seed: int) -> Problem:
    """Return a run in mixed precision, whose loss scale is doubled until every scaled gradient overflows."""
    return on_turns(residual(6, 4, 1), by(ScaledHalf, lr=0.02, momentum=0.9, interval=12), 32, floor=0.2)


def unfrozen_without_optimizer(seed: int) -> Problem:
    """Return a run of fine-tuning, whose body is unfrozen, but which the optimizer never got."""
    x, y = digits()
    body = pretrained((20, 6, 5), (x[y < 5], y[y < 5]), 60)
    model = nn.Sequential(body[0], nn.ReLU(), nn.Linear(6, 5))
    data = x[y >= 5], y[y >= 5] - 5
    return finite(
        model, F.cross_entropy, data, 8, parts(torch.optim.Adam, ([model[2]], 5e-3)), trivial=math.log(5), floor=0.0
    )


def rounded_codes(seed: int, *, straight_through: bool = False) -> Problem:
    """Return a run of an autoencoder with rounded codes, through which no gradient reaches the encoder."""
    model = Rounded(mlp(64, 32, 6), mlp(6, 32, 64), straight_through=straight_through)
    return on_pixels(model, adam(2e-3), 8)


def frozen_after_validation(seed: int) -> Problem:
    """Return a run in which validation freezes the model, and only one table of embeddings is made trainable again."""
    model = Tabular(CATEGORIES, 2)
    return on_clicks(adam(3e-3), 16, model=model, before_step=frozen_but(model, model.embeddings[2], 150))


STALLED = (
    stuck("products_near_zero", 1200, "saddle_point", products_near_zero),
    stuck("attention_of_zeros", 1000, "saddle_point", attention_of_zeros, "not_updating", "flat_region"),
    stuck("experts_alike", 1200, "saddle_point", experts_alike),
    stuck("gates_hardened", 1200, "flat_region", gates_hardened, "poor_minimum", cure=lambda s: gates_hardened(s, 5.0)),
    stuck("rates_by_layer", 1200, "learning_rate_too_small", rates_by_layer, "not_updating"),
    stuck("clipped_to_the_smallest_norm", 1000, "not_updating", smallest_norm, "learning_rate_too_small"),
    stuck("outlier_in_adagrad", 1000, "learning_rate_too_small", outlier_in_adagrad, "not_updating"),
    stuck("resumed_with_more_workers", 1500, "learning_rate_too_large", resumed_with_more_workers),
    stuck("cycle_too_high", 1200, "learning_rate_too_large", cycle_too_high),
    stuck("diffusion_in_batches_of_two", 1500, "learning_rate_too_large", batches_of_two),
    stuck("averages_put_back", 900, "not_updating", averages_put_back),
    stuck("loss_scale_overflows", 800, "not_updating", scale_overflows),
    stuck("unfrozen_without_optimizer", 1000, "not_updating", unfrozen_without_optimizer),
    stuck("rounded_codes", 1200, "not_updating", rounded_codes, cure=lambda s: rounded_codes(s, straight_through=True)),
    stuck("frozen_after_validation", 1200, "not_updating", frozen_after_validation),
)
