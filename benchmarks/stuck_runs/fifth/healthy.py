"""Healthy runs of the split `fifth`: noisy, slow, late, with schedules, and with parts that are frozen on purpose."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits
from benchmarks.stuck_runs.fifth.data import WORDS
from benchmarks.stuck_runs.fifth.mistakes import unfrozen_from
from benchmarks.stuck_runs.fifth.networks import (
    AngleMixture,
    BagOfWords,
    BiasedFactors,
    FactorisationMachine,
    RowReader,
    Sets,
    residual,
)
from benchmarks.stuck_runs.fifth.physics import EchoState, Neighbourhood, Oscillator
from benchmarks.stuck_runs.fifth.schedules import linear_after_warm_up, restarts
from benchmarks.stuck_runs.fifth.tables import circuits, multilabel, rare_class, wine_neighbours
from benchmarks.stuck_runs.fifth.tasks import (
    flow_of_moons,
    on_arm,
    on_crossed_columns,
    on_hunters,
    on_modules,
    on_oscillator,
    on_ratings,
    on_rows,
    on_seasons,
    on_sets,
    on_turns,
)
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, finite, healthy, sgd
from benchmarks.stuck_runs.schedules import cosine, milestones
from benchmarks.stuck_runs.tasks import pretrained


def rows_by_gru(seed: int) -> Problem:
    """Return a run of a GRU that reads digits row by row, with a warm-up and a linear decay."""
    return on_rows(RowReader(nn.GRU(8, 24, batch_first=True)), adam(4e-3), schedule=linear_after_warm_up(100, 1000))


def turned_by_convolutions(seed: int) -> Problem:
    """Return a run of convolutions with BatchNorm and Nesterov momentum, and steps of the learning rate."""
    optimizer = by(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-4)
    return on_turns(residual(6, 4, 1), optimizer, 32, schedule=milestones(400, 600))


def ratings_in_small_batches(seed: int) -> Problem:
    """Return a run that factorises ratings in batches of eight, with weight decay and steps of the rate."""
    return on_ratings(BiasedFactors(), sgd(0.4, decay=1e-5), 8, schedule=milestones(1500, 2100))


def flow_below_zero(seed: int) -> Problem:
    """Return a run of a normalising flow, whose loss falls far below zero."""
    return flow_of_moons(adam(4e-3), schedule=cosine(900), clip=5.0)


def angles(seed: int) -> Problem:
    """Return a run that learns the two ways in which an arm reaches a place."""
    return on_arm(AngleMixture(), adam(5e-3), schedule=cosine(1500))


def restarted_labels(seed: int) -> Problem:
    """Return a run on several labels for each sample, whose cosine schedule is restarted every 250 steps."""
    x, y = multilabel()
    optimizer, loss = sgd(0.1, 0.9, decay=1e-3), F.binary_cross_entropy_with_logits
    model = mlp(16, 24, 6, dropout=0.1)
    return finite(model, loss, (x, y), 32, optimizer, trivial=0.65, schedule=restarts(250))


def slow_oscillator(seed: int) -> Problem:
    """Return a run that solves an equation slowly, with an exponential decay that fits its length."""
    return on_oscillator(Oscillator(), adam(3e-3), schedule=lambda step: 0.9995**step)


def student(seed: int) -> Problem:
    """Return a run that distils a larger network into a smaller one at a temperature of three."""
    x, _ = digits()
    teacher = pretrained((20, 64, 10), digits(), 100)
    with torch.no_grad():
        targets = (teacher(x) / 3).softmax(1)

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        return 9 * F.kl_div((logits / 3).log_softmax(1), target, reduction="batchmean")

    return finite(mlp(20, 12, 10), loss, (x, targets), 64, adam(5e-3), schedule=cosine(1200))


def frozen_reservoir(seed: int) -> Problem:
    """Return a run of an echo state network, whose recurrent weights are random and frozen on purpose."""
    return on_seasons(EchoState(), adam(1e-2), schedule=cosine(800))


def unfrozen_gradually(seed: int) -> Problem:
    """Return a run of fine-tuning: the head learns first, and the pretrained body from step 200 on."""
    x, y = digits()
    body = pretrained((20, 32, 5), (x[y < 5], y[y < 5]), 40)
    model = nn.Sequential(body[0], nn.ReLU(), nn.Linear(32, 5))
    problem = finite(model, F.cross_entropy, (x[y >= 5], y[y >= 5] - 5), 32, adam(2e-3), trivial=math.log(5), floor=0.0)
    return replace(problem, before_step=unfrozen_from(model[0], 200))


def harder_and_harder(seed: int) -> Problem:
    """Return a run of a curriculum: digits get more noise in each of six stages, up to that of the evaluation."""
    x, y = digits()

    def noisy(count: int, generator: Generator, noise: float) -> Batch:
        chosen = torch.randint(0, len(y), (count,), generator=generator)
        return x[chosen] + noise * torch.randn(count, 20, generator=generator), y[chosen]

    final = noisy(4096, Generator().manual_seed(9), 0.6)
    return Problem(
        mlp(20, 48, 10),
        F.cross_entropy,
        lambda generator, step: noisy(32, generator, 0.1 * min(6, 1 + step // 60)),
        lambda step: final,
        adam(2e-3),
        trivial=math.log(10),
        schedule=cosine(1200),
    )


def rare(seed: int) -> Problem:
    """Return a run on a rare class with the focal loss."""

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()

    return finite(mlp(12, 32, 1), loss, rare_class(), 64, adam(2e-3, 1e-3), schedule=linear_after_warm_up(50, 1000))


def hunted(seed: int) -> Problem:
    """Return a run that learns a differential equation from its solutions, with clipping."""
    return on_hunters(mlp(2, 24, 2, activation="tanh"), adam(1e-2), clip=1.0)


def shapes_of_sets(seed: int) -> Problem:
    """Return a run that tells shapes apart by their points with RMSprop in batches of eight."""
    return on_sets(Sets(2, 3), by(torch.optim.RMSprop, lr=1e-3), 8, schedule=cosine(1000))


def wines_by_neighbours(seed: int) -> Problem:
    """Return a full-batch run on a graph of wines, with weight decay in the gradient."""
    means, (x, y) = wine_neighbours()
    optimizer = by(torch.optim.Adam, lr=5e-3, weight_decay=2e-3)
    return finite(Neighbourhood(means), F.cross_entropy, (x, y), len(y), optimizer, trivial=1.09)


def pause_before_products(seed: int) -> Problem:
    """Return a run that learns a linear part, pauses, and then finds the products of columns on its own."""
    return on_crossed_columns(FactorisationMachine(deviation=3e-3), sgd(8e-3), 32)


def which_module(seed: int) -> Problem:
    """Return a run of a bag of words that improves slowly and steadily."""
    return on_modules(BagOfWords(WORDS), adam(3e-3), 32)


def robust_circuits(seed: int) -> Problem:
    """Return a run of regression under the Huber loss in batches of four, with momentum and steps of the rate."""
    return finite(
        mlp(4, 24, 1), nn.HuberLoss(), circuits(), 4, sgd(5e-3, 0.9), trivial=0.4, schedule=milestones(900, 1200)
    )


HEALTHY = (
    healthy("rows_by_gru", 1000, "improving", rows_by_gru),
    healthy("turned_by_convolutions", 800, "schedule", turned_by_convolutions, future=1.5),
    healthy("ratings_in_small_batches", 2500, "noisy", ratings_in_small_batches),
    healthy("flow_below_zero", 900, "negative", flow_below_zero, future=1.5),
    healthy("angles_of_an_arm", 1500, "negative", angles, future=1.5),
    healthy("restarted_cosine", 1000, "schedule", restarted_labels, future=1.5),
    healthy("slow_oscillator", 2500, "slow", slow_oscillator),
    healthy("distilled_student", 1200, "improving", student, future=1.5),
    healthy("frozen_reservoir", 800, "frozen", frozen_reservoir, future=1.5),
    healthy("unfrozen_gradually", 800, "frozen", unfrozen_gradually),
    healthy("harder_and_harder", 1200, "curriculum", harder_and_harder, future=1.5),
    healthy("focal_loss", 1000, "improving", rare, future=1.5),
    healthy("hunters_and_prey", 800, "improving", hunted),
    healthy("shapes_of_sets", 1000, "noisy", shapes_of_sets, future=1.5),
    healthy("wines_by_neighbours", 600, "minimum", wines_by_neighbours, future=2.0),
    healthy("pause_before_products", 1500, "late", pause_before_products),
    healthy("which_module", 1000, "slow", which_module, future=1.5),
    healthy("robust_circuits", 1500, "noisy", robust_circuits, future=1.5),
)
