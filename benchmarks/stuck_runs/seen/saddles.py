"""Runs at saddle points."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.data import digits, entropy, gaussian_weights, table
from benchmarks.stuck_runs.networks import Completion, Square, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, endless, finite, sgd, stuck
from benchmarks.stuck_runs.seen import networks
from benchmarks.stuck_runs.tasks import on_digits


def phase_retrieval(seed: int) -> Problem:
    """Return a run that learns a direction from squared projections, from a start near zero."""
    weights = gaussian_weights(12, seed)
    weights /= weights.norm()

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 12, generator=generator)
        return x, (x @ weights) ** 2

    model = Square(1e-4 * torch.randn(12, 1))
    return endless(model, F.mse_loss, sample, 16, sgd(1.2e-3), evaluation_samples=4096, trivial=2.0, floor=0.0)


def tied_autoencoder(seed: int) -> Problem:
    """Return a run that learns principal components by tied weights that start near zero."""
    x = digits()[0]
    values = torch.linalg.svdvals(x - x.mean(0)) ** 2 / len(x) / 20
    model = networks.Tied(1e-8 * torch.randn(3, 20))
    floor = float(values[3:].sum())
    return finite(model, F.mse_loss, (x, x), 32, sgd(0.03, 0.5), trivial=float((x**2).mean()), floor=floor)


def matrix_completion(seed: int) -> Problem:
    """Return a run that completes a matrix by embeddings of rows and columns that start near zero."""
    generator = Generator().manual_seed(seed)
    matrix = torch.randn(16, 2, generator=generator) @ torch.randn(2, 16, generator=generator)
    cells = torch.cartesian_prod(torch.arange(16), torch.arange(16))
    data = cells, matrix.reshape(-1, 1)
    model = Completion(16, 2, 1e-6)
    trivial = float((matrix**2).mean())
    return finite(model, F.mse_loss, data, 64, sgd(0.15), trivial=trivial, floor=0.0)


def deep_linear_filter(seed: int) -> Problem:
    """Return a run in which three convolutions without activations have to learn one filter."""
    generator = Generator().manual_seed(seed)
    teacher = torch.randn(1, 1, 7, generator=generator)
    teacher /= teacher.norm()

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 1, 20, generator=generator)
        return x, F.conv1d(x, teacher, padding=3)

    shapes = ((1, 4), (4, 4), (4, 1))
    layers = [nn.Conv1d(a, b, 3, padding=1, bias=False) for a, b in shapes]
    for layer in layers:
        nn.init.normal_(layer.weight, std=0.02)
    model = nn.Sequential(*layers)
    return endless(model, F.mse_loss, sample, 16, sgd(0.03), evaluation_samples=512, trivial=1.0, floor=0.0)


def identical_units(seed: int) -> Problem:
    """Return a run whose hidden units start equal, and which gradient descent keeps equal."""
    model = mlp(20, 12, 10, activation="tanh")
    nn.init.constant_(model[0].weight, 0.05)
    nn.init.constant_(model[2].weight, 0.05)
    nn.init.zeros_(model[0].bias)
    return on_digits(model, sgd(0.05))


def zeros_at_both_ends(seed: int) -> Problem:
    """Return a run whose last two layers start at zero, so that their weights never get a gradient."""
    x, y = table("breast_cancer")
    model = mlp(30, 16, 8, 1, activation="tanh")
    for layer in (model[2], model[4]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    loss = F.binary_cross_entropy_with_logits
    return finite(model, loss, (x, y.float()[:, None]), 16, sgd(0.1, 0.9), trivial=entropy(y), floor=0.0)


SADDLES = (
    stuck("phase_retrieval", 1500, "saddle_point", phase_retrieval),
    stuck("tied_autoencoder", 1500, "saddle_point", tied_autoencoder),
    stuck("matrix_completion", 1500, "saddle_point", matrix_completion),
    stuck("deep_linear_filter", 1500, "saddle_point", deep_linear_filter),
    stuck("identical_units", 2000, "saddle_point", identical_units),
    stuck("zeros_at_both_ends", 1500, "saddle_point", zeros_at_both_ends, "flat_region"),
)
