"""Healthy runs of the split `fresh`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digit_images, digits, entropy, noisy_labels, table
from benchmarks.stuck_runs.networks import CausalAttention, Recurrent, mlp
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, adam, by, endless, finite, healthy, sgd
from benchmarks.stuck_runs.schedules import cosine, warm_up
from benchmarks.stuck_runs.tasks import on_digits, pretrained


def diabetes() -> tuple[Batch, float]:
    """Return the diabetes table with inputs and targets of deviation 1, and the mean squared error of least squares."""
    x, y = table("diabetes")
    targets = ((y - y.mean()) / y.std()).float()[:, None]
    residual = targets - x @ torch.linalg.lstsq(x, targets).solution
    return (x, targets), float((residual**2).mean())


def small_convolutions(dropout: float = 0.0) -> nn.Sequential:
    """Return two convolutions, dropout and a linear layer: (samples, 1, 8, 8) to logits (samples, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(256, 10),
    )


def on_images(model: nn.Module, optimizer: MakesOptimizer, size: int = 32) -> Problem:
    """Return a run that classifies images of digits."""
    x, y = digit_images()
    return finite(model, F.cross_entropy, (x, y), size, optimizer, trivial=entropy(y), floor=0.0)


class Ratings(nn.Module):
    """Inner products of embeddings of users and items: indices (samples, 2) to ratings (samples, 1)."""

    def __init__(self, deviation: float) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(30, 4), nn.Embedding(30, 4)
        for factors in (self.user, self.item):
            nn.init.normal_(factors.weight, std=deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predicted ratings, (samples, 1)."""
        return (self.user(x[:, 0]) * self.item(x[:, 1])).sum(1, keepdim=True)


def rated(model: nn.Module, seed: int, size: int, optimizer: MakesOptimizer) -> Problem:
    """Return a run that learns ratings of rank two and deviation about 1, with noise of deviation 0.3."""
    generator = Generator().manual_seed(seed + 50)
    table = torch.randn(30, 2, generator=generator) @ torch.randn(2, 30, generator=generator) / 2**0.5

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randint(0, 30, (count, 2), generator=generator)
        return x, table[x[:, 0], x[:, 1]][:, None] + 0.3 * torch.randn(count, 1, generator=generator)

    trivial = float((table**2).mean()) + 0.09
    return endless(model, F.mse_loss, sample, size, optimizer, trivial=trivial, floor=0.09, evaluation_samples=4096)


def batch_normalised(seed: int) -> Problem:
    """Return a run that classifies digits with BatchNorm, momentum and a cosine schedule."""
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))
    return on_digits(model, sgd(0.03, momentum=0.9), 64, schedule=cosine(1000))


def wine_by_fours(seed: int) -> Problem:
    """Return a run that classifies wines in batches of four."""
    x, y = table("wine")
    return finite(mlp(13, 16, 3), F.cross_entropy, (x, y), 4, sgd(0.01), trivial=entropy(y), floor=0.0)


def logistic_regression(seed: int) -> Problem:
    """Return a run of logistic regression on tumours at a small learning rate, whose loss falls slowly and steadily."""
    x, y = table("breast_cancer")
    return finite(mlp(30, 2), F.cross_entropy, (x, y), 32, sgd(0.003), trivial=entropy(y), floor=0.0)


def mislabelled_digits(seed: int) -> Problem:
    """Return a run of a linear classifier that cannot memorise the random labels of a fifth of the digits."""
    x, y = digits()
    y = noisy_labels(y, 0.2, seed)
    return finite(mlp(20, 10), F.cross_entropy, (x, y), 32, adam(5e-3), trivial=entropy(y))


def least_squares(seed: int) -> Problem:
    """Return a run of linear regression on the diabetes table, which cannot explain about half of the variance."""
    data, floor = diabetes()
    return finite(mlp(10, 1), F.mse_loss, data, 16, sgd(0.01), trivial=1.0, floor=floor)


def sums_by_gru(seed: int) -> Problem:
    """Return a run in which a GRU learns the sum of ten numbers."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, 1, generator=generator)
        return x, x.sum(1) / 10**0.5

    model = Recurrent(nn.GRU(1, 12, batch_first=True), 12)
    return endless(model, F.mse_loss, sample, 32, adam(3e-3), trivial=1.0, floor=0.0)


def largest_so_far(seed: int) -> Problem:
    """Return a run in which attention learns the largest token so far, with a warm-up."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randint(0, 8, (count, 8), generator=generator)
        return x, x.cummax(1).values

    model = CausalAttention(8, 8, 16)
    return endless(model, F.cross_entropy, sample, 32, adam(3e-3, 0.01), evaluation_samples=256, schedule=warm_up(50))


def codes_of_images(seed: int) -> Problem:
    """Return a run of an autoencoder that describes each image by eight numbers."""
    x = digit_images()[0].flatten(1)
    return finite(mlp(64, 32, 8, 32, 64), F.mse_loss, (x, x), 64, adam(2e-3), trivial=float(x.var(0).mean()))


def rare_positives(seed: int) -> Problem:
    """Return a run of binary classification in which one sample in twenty is positive and weighs five times as much."""

    def sample(count: int, generator: Generator) -> Batch:
        y = (torch.rand(count, 1, generator=generator) < 0.05).float()
        return torch.randn(count, 8, generator=generator) + 0.8 * y, y

    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(5.0))
    return endless(mlp(8, 16, 1), loss, sample, 64, by(torch.optim.RMSprop, lr=1e-3), evaluation_samples=4096)


def tuned_further(seed: int) -> Problem:
    """Return a run that goes on training a trained classifier, at a small learning rate."""
    return on_digits(pretrained((20, 32, 10), digits(), 120), adam(1e-4))


HEALTHY = (
    healthy("batch_normalised_digits", 1000, "schedule", batch_normalised),
    healthy("wine_by_fours", 1200, "noisy", wine_by_fours),
    healthy("tumours_by_a_line", 1500, "slow", logistic_regression),
    healthy("convolutions_with_dropout", 600, "noisy", lambda seed: on_images(small_convolutions(0.3), adam(1e-3))),
    healthy("mislabelled_digits", 1000, "noise floor", mislabelled_digits, future=1.5),
    healthy("diabetes_by_a_line", 1500, "noise floor", least_squares),
    healthy("sums_by_gru", 600, "improving", sums_by_gru),
    healthy("largest_so_far", 800, "improving", largest_so_far, future=1.5),
    healthy("codes_of_images", 800, "improving", codes_of_images, future=1.5),
    healthy("ratings", 1200, "noise floor", lambda seed: rated(Ratings(0.5), seed, 64, adam(1e-2))),
    healthy("rare_positives", 1000, "noise floor", rare_positives, future=1.5),
    healthy("tuned_further", 1000, "minimum", tuned_further),
    healthy("large_batches", 1000, "slow", lambda seed: on_digits(mlp(20, 32, 10), sgd(0.01, momentum=0.9), 512)),
)
