"""Healthy runs of the split `second` that come to rest at the lowest loss that noise or the model allows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.data import digits, entropy, gaussian_weights
from benchmarks.stuck_runs.networks import Completion, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, healthy, sgd
from benchmarks.stuck_runs.tasks import on_digits


def decayed_softmax(seed: int) -> Problem:
    """Return a run of full-batch gradient descent on a linear classifier, held above zero by weight decay."""
    x, y = digits()
    data = x[100 * seed :], y[100 * seed :]
    optimizer = sgd(1.0, 0.5, decay=0.01)
    return finite(mlp(20, 10), F.cross_entropy, data, len(y), optimizer, trivial=entropy(y))


def full_batch_least_squares(seed: int) -> Problem:
    """Return a run of full-batch gradient descent on noisy linear regression, which converges to the last bit."""
    generator = Generator().manual_seed(seed)
    x, weights = torch.randn(200, 10, generator=generator), torch.randn(10, 1, generator=generator)
    y = x @ weights + 0.7 * torch.randn(200, 1, generator=generator)
    return finite(mlp(10, 1), F.mse_loss, (x, y), 200, sgd(0.05), trivial=float(y.var()))


def product_beyond_a_line(seed: int) -> Problem:
    """Return a run of a linear model on a product of inputs plus a linear term, of which it can learn the term only."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 4, generator=generator)
        return x, x[:, :1] * x[:, 1:2] + 0.6 * x[:, 2:3]

    return endless(mlp(4, 1), F.mse_loss, sample, 32, sgd(0.02), evaluation_samples=4096, trivial=1.36)


def small_counts(seed: int) -> Problem:
    """Return a run of Poisson regression on small counts."""
    weights = gaussian_weights(8, seed, scale=0.5)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        return x, torch.poisson((0.5 + x @ weights).exp(), generator=generator)

    return endless(mlp(8, 1), F.poisson_nll_loss, sample, 32, sgd(0.01), evaluation_samples=4096)


def noisy_ratings(seed: int) -> Problem:
    """Return a run that learns ratings of rank three from embeddings, under noise of deviation 0.5."""
    generator = Generator().manual_seed(seed)
    table = torch.randn(30, 3, generator=generator) @ torch.randn(3, 30, generator=generator) / 2

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randint(0, 30, (count, 2), generator=generator)
        return x, table[x[:, 0], x[:, 1]][:, None] + 0.5 * torch.randn(count, 1, generator=generator)

    model, trivial = Completion(30, 4, 0.3), float(table.var() + 0.25)
    return endless(model, F.mse_loss, sample, 64, adam(1e-2), evaluation_samples=4096, trivial=trivial)


def smoothed(seed: int) -> Problem:
    """Return a run under label smoothing by 0.3."""
    loss = nn.CrossEntropyLoss(label_smoothing=0.3)
    return finite(mlp(20, 24, 10), loss, digits(), 32, adam(3e-3), trivial=entropy(digits()[1]))


AT_A_FLOOR = (
    healthy("softmax_with_decay", 2500, "minimum", decayed_softmax, future=2.0),
    healthy("full_batch_least_squares", 1500, "minimum", full_batch_least_squares, future=2.0),
    healthy("product_beyond_a_line", 2000, "minimum", product_beyond_a_line),
    healthy("labels_smoothed_by_0.3", 2000, "noise floor", smoothed),
    healthy("small_counts", 2000, "noise floor", small_counts),
    healthy(
        "adamw_with_a_decay_of_3",
        2500,
        "minimum",
        lambda seed: on_digits(mlp(20, 24, 10), adam(3e-3, decay=3.0), floor=None),
        future=2.0,
    ),
    healthy("noisy_ratings", 2500, "noise floor", noisy_ratings),
)
