"""Stuck runs of the split `fifth` that learn something until their data, their loss or their codes are spoiled."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits
from benchmarks.stuck_runs.fifth.data import seasons
from benchmarks.stuck_runs.fifth.mistakes import changed
from benchmarks.stuck_runs.fifth.networks import RowReader, SeriesReader
from benchmarks.stuck_runs.fifth.schedules import raised
from benchmarks.stuck_runs.fifth.tables import circuits
from benchmarks.stuck_runs.fifth.tasks import flow_of_moons, on_pixels, on_rows, on_seasons
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, sgd, stuck


def batch_in_other_units(seed: int) -> Problem:
    """Return a run of regression, in which one batch with targets in other units turns all units of the network off."""
    x, y = circuits()
    x = (x - x.amin(0)) / (x.amax(0) - x.amin(0))
    problem = finite(mlp(4, 24, 1), F.mse_loss, (x, y), 16, sgd(0.03), trivial=1.0, floor=0.02)

    def batch(generator: Generator, step: int) -> Batch:
        drawn, target = problem.batch(generator, step)
        return drawn, 150 * target.abs() if step == 300 else target

    return replace(problem, batch=batch)


def erased_pictures(seed: int) -> Problem:
    """Return a run whose random erasing grows with the steps, until it covers the whole picture."""
    problem = on_rows(RowReader(nn.LSTM(8, 24, batch_first=True)), adam(3e-3), 8)

    def erase(batch: Batch, generator: Generator) -> Batch:
        x, y = batch
        return torch.randn(x.shape, generator=generator), y

    return replace(problem, **changed(problem, 400, erase))


def another_series(seed: int) -> Problem:
    """Return a run of a forecast, whose targets come from another series after an index was built again."""
    problem = on_seasons(SeriesReader(), adam(3e-3), floor=0.03)
    later = seasons(24)

    def another(batch: Batch, generator: Generator) -> Batch:
        return batch[0], later(len(batch[0]), generator)[1]

    return replace(problem, **changed(problem, 450, another))


def root_of_zero(seed: int, end: int = 450) -> Problem:
    """Return a run of metric learning, whose pairs are equal once augmentation ends, where a root has no gradient."""
    clean, _ = digits()

    def sample(count: int, generator: Generator, noise: float = 0.4) -> Batch:
        chosen = clean[torch.randint(0, len(clean), (count,), generator=generator)]
        return chosen[:, None] + noise * torch.randn(count, 2, 20, generator=generator), torch.zeros(count)

    def loss(embedded: Tensor, _: Tensor) -> Tensor:
        first, second = embedded.unbind(1)
        near = ((first - second) ** 2).sum(1).sqrt()
        far = ((first - second.roll(1, 0)) ** 2).sum(1).sqrt()
        return near.mean() + F.relu(2 - far).mean()

    problem = endless(mlp(20, 32, 8), loss, sample, 32, adam(1e-3), trivial=2.0)

    def equal(batch: Batch, _: Generator) -> Batch:
        return batch[0][:, :1].expand(-1, 2, -1).clone(), batch[1]

    return replace(problem, **changed(problem, end, equal))


def flow_explodes(seed: int) -> Problem:
    """Return a run of a normalising flow without clipping, whose learning rate is raised in mid-run."""
    return flow_of_moons(sgd(0.02), scale=1.0, floor=1.55, schedule=raised(400, 100.0))


class Quantised(nn.Module):
    """An autoencoder whose codes are replaced by the nearest entries of a codebook, as in a VQ-VAE."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(20, 32, 4), mlp(4, 32, 20)
        self.book = nn.Parameter(spread * torch.randn(48, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return reconstructions, codes, and entries of the codebook."""
        codes = self.encoder(x)
        entries = self.book[torch.cdist(codes, self.book).argmin(1)]
        return self.decoder(codes + (entries - codes).detach()), codes, entries


def book_far_away(seed: int, spread: float = 6.0) -> Problem:
    """Return a run of a vector-quantised autoencoder, which only uses the entries of its codebook near the codes."""
    x, _ = digits()

    def loss(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
        reconstruction, codes, entries = output
        pulled = F.mse_loss(entries, codes.detach()) + 0.25 * F.mse_loss(codes, entries.detach())
        return F.mse_loss(reconstruction, target) + pulled

    return finite(Quantised(spread), loss, (x, x), 32, adam(5e-3), trivial=float((x**2).mean()))


def sparse_codes(seed: int, weight: float = 2.0) -> Problem:
    """Return a run of a sparse autoencoder, whose penalty grows until no code is worth its price."""

    class Sparse(nn.Module):
        """Reconstructions, and the weighted size of the codes."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder, self.weight = mlp(64, 32).append(nn.ReLU()), nn.Linear(32, 64), 0.0

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            codes = self.encoder(x)
            size = self.decoder.weight.norm(dim=0)
            return self.decoder(codes), self.weight * (codes * size).mean()

    def loss(output: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
        return F.mse_loss(output[0], x) + output[1]

    model = Sparse()
    problem = on_pixels(model, adam(3e-3), loss=loss)

    def grow(step: int) -> None:
        model.weight = min(weight, 0.01 * 1.015 ** min(step, 1000))

    return replace(problem, before_step=grow)


SPOILED = (
    stuck("batch_in_other_units", 1000, "flat_region", batch_in_other_units),
    stuck("erased_pictures", 1000, "nothing_to_learn", erased_pictures),
    stuck("targets_of_another_series", 1200, "nothing_to_learn", another_series),
    stuck("root_of_zero", 1200, "diverged", root_of_zero, cure=lambda seed: root_of_zero(seed, 1300)),
    stuck("flow_explodes", 900, "diverged", flow_explodes, "learning_rate_too_large"),
    stuck(
        "codebook_far_away",
        1000,
        "poor_minimum",
        book_far_away,
        "flat_region",
        cure=lambda seed: book_far_away(seed, 0.3),
    ),
    stuck("penalty_too_strong", 1000, "poor_minimum", sparse_codes, cure=lambda s: sparse_codes(s, 0.01)),
)
