"""Stuck runs of the split `fifth` that learn something, and then stand still."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits
from benchmarks.stuck_runs.fifth.data import seasons
from benchmarks.stuck_runs.fifth.mistakes import (
    AveragesPutBack,
    ClippedToTheSmallest,
    ScaledHalf,
    changed,
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
    Sets,
    residual,
)
from benchmarks.stuck_runs.fifth.physics import Rounded, Views, diffusion_network
from benchmarks.stuck_runs.fifth.schedules import one_cycle, raised
from benchmarks.stuck_runs.fifth.tables import circuits
from benchmarks.stuck_runs.fifth.tasks import (
    diffusion,
    flow_of_moons,
    on_clicks,
    on_crossed_columns,
    on_pixels,
    on_ratings,
    on_recall,
    on_rows,
    on_seasons,
    on_sets,
    on_turns,
    on_views,
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

    return endless(model, F.mse_loss, sample, 32, sgd(0.05), trivial=3.5, floor=0.04, evaluation_samples=4096)


def batch_in_other_units(seed: int) -> Problem:
    """Return a run of regression, in which one batch with targets in other units turns all units of the network off."""
    x, y = circuits()
    x = (x - x.amin(0)) / (x.amax(0) - x.amin(0))
    problem = finite(mlp(4, 24, 1), F.mse_loss, (x, y), 16, sgd(0.03), trivial=1.0, floor=0.02)

    def batch(generator: Generator, step: int) -> Batch:
        drawn, target = problem.batch(generator, step)
        return drawn, FACTOR * target.abs() if 300 <= step < 300 + UN else target

    return replace(problem, batch=batch)


def gates_hardened(seed: int, sharpest: float = 3000.0) -> Problem:
    """Return a run of a mixture of experts, whose gate is annealed to hard decisions before it has learnt them."""
    maps = torch.randn(4, 8, generator=Generator().manual_seed(seed))

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        region = (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()
        y = (maps[region] * x).sum(1) / 2 + 0.2 * torch.randn(count, generator=generator)
        return x, y[:, None]

    model = Experts(8, 1, 4)
    problem = endless(model, F.mse_loss, sample, 32, sgd(0.05), evaluation_samples=4096)

    def anneal(step: int) -> None:
        model.sharpness = min(sharpest, 1.0 * 1.06**step)

    return replace(problem, before_step=anneal)


def rates_by_layer(seed: int, decay: float = 1e-3) -> Problem:
    """Return a run of fine-tuning, in which each layer has a thousandth of the learning rate of the next one."""
    model = pretrained((20, 6, 6, 10), (digits()[0], (digits()[1] > 4).long()), 60)
    optimizer = parts(torch.optim.Adam, ([model[4]], 1e-2), ([model[2]], 1e-2 * decay), ([model[0]], 1e-2 * decay**2))
    return on_digits(model, optimizer)


def smallest_norm(seed: int) -> Problem:
    """Return a run whose gradient is clipped to the smallest norm so far, until a batch without errors makes it zero."""
    model = nn.Sequential(nn.Flatten(), mlp(64, 32, 10))
    optimizer = by(ClippedToTheSmallest, lr=0.1)
    return on_rows(model, optimizer, MSIZE, loss=nn.MultiMarginLoss(), trivial=0.9)


def outlier_in_adagrad(seed: int) -> Problem:
    """Return a run by Adagrad, whose sums of squares never recover from one batch with wrong units."""
    problem = on_seasons(SeriesReader(), by(torch.optim.Adagrad, lr=0.03), floor=0.03)
    return replace(problem, batch=glitch(problem.batch, range(60, 61), 1000.0))


class SeriesReader(nn.Module):
    """A network on the last values of a series: (samples, 1, length) to (samples, 1)."""

    def __init__(self, length: int = 24) -> None:
        super().__init__()
        self.network = mlp(length, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions."""
        return self.network(x[:, 0])


def resumed_with_more_workers(seed: int) -> Problem:
    """Return a run of ratings, which is resumed at forty times the learning rate after a change of the machines."""
    return on_ratings(BiasedFactors(), adam(5e-3), RSIZE, schedule=raised(500, RAISE))


def cycle_too_high(seed: int) -> Problem:
    """Return a run of convolutions with a one-cycle schedule, whose peak was taken from a range test of another net."""
    return on_turns(residual(6, 4, 1), adam(1.0), 32, schedule=one_cycle(2000, 0.7), floor=0.2)


def batches_of_two(seed: int) -> Problem:
    """Return a run of diffusion with momentum in batches of two, whose noise keeps the loss high."""
    return diffusion(diffusion_network(), adam(BRATE), 2, floor=0.48)


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
        model, F.cross_entropy, data, 32, parts(torch.optim.Adam, ([model[2]], 1e-2)), trivial=math.log(5), floor=0.0
    )


def rounded_codes(seed: int, *, straight_through: bool = False) -> Problem:
    """Return a run of an autoencoder with rounded codes, through which no gradient reaches the encoder."""
    model = Rounded(mlp(64, 32, 6), mlp(6, 32, 64), straight_through=straight_through)
    return on_pixels(model, adam(5e-3))


def frozen_after_validation(seed: int) -> Problem:
    """Return a run in which validation freezes the model, and only the embeddings are made trainable again."""
    problem = on_clicks(adam(1e-3))
    return replace(problem, before_step=frozen_but(problem.model, problem.model.embeddings[2], 150))


def erased_pictures(seed: int) -> Problem:
    """Return a run whose random erasing grows with the steps, until it covers the whole picture."""
    problem = on_rows(RowReader(nn.LSTM(8, 24, batch_first=True)), adam(5e-3))

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


def logarithm_of_zero(seed: int) -> Problem:
    """Return a run whose cross-entropy is written by hand, and is not a number once a probability is exactly one."""
    x, y = digits()

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        p = torch.sigmoid(logits)
        return -(target * torch.log(p) + (1 - target) * torch.log(1 - p)).mean()

    data = x, F.one_hot(y, 10).float()
    return finite(mlp(20, 32, 10), loss, data, 32, adam(LRATE), trivial=0.325, floor=0.0)


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
    """Return a run of a vector-quantised autoencoder, of whose codebook only the few entries near the codes are used."""
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
        model.weight = min(weight, 0.01 * 1.015**step)

    return replace(problem, before_step=grow)


STALLED = (
    stuck("products_near_zero", 1200, "saddle_point", products_near_zero),
    stuck("attention_of_zeros", 1000, "saddle_point", attention_of_zeros, "not_updating", "flat_region"),
    stuck("experts_alike", 1200, "saddle_point", experts_alike),
    stuck("batch_in_other_units", 1000, "flat_region", batch_in_other_units),
    stuck("gates_hardened", 1200, "flat_region", gates_hardened, "poor_minimum", cure=lambda s: gates_hardened(s, 5.0)),
    stuck("rates_by_layer", 1200, "learning_rate_too_small", rates_by_layer, "not_updating"),
    stuck("clipped_to_the_smallest_norm", 1000, "learning_rate_too_small", smallest_norm),
    stuck("outlier_in_adagrad", 1000, "learning_rate_too_small", outlier_in_adagrad, "not_updating"),
    stuck("resumed_with_more_workers", 1500, "learning_rate_too_large", resumed_with_more_workers),
    stuck("cycle_too_high", 1200, "learning_rate_too_large", cycle_too_high),
    stuck("diffusion_in_batches_of_two", 1500, "learning_rate_too_large", batches_of_two),
    stuck("averages_put_back", 900, "not_updating", averages_put_back),
    stuck("loss_scale_overflows", 800, "not_updating", scale_overflows),
    stuck("unfrozen_without_optimizer", 1000, "not_updating", unfrozen_without_optimizer),
    stuck("rounded_codes", 1200, "not_updating", rounded_codes, cure=lambda s: rounded_codes(s, straight_through=True)),
    stuck("frozen_after_validation", 1200, "not_updating", frozen_after_validation),
    stuck("erased_pictures", 1000, "nothing_to_learn", erased_pictures),
    stuck("targets_of_another_series", 1200, "nothing_to_learn", another_series),
    stuck("logarithm_of_zero", 1200, "diverged", logarithm_of_zero),
    stuck("flow_explodes", 900, "diverged", flow_explodes, "learning_rate_too_large"),
    stuck("codebook_far_away", 1000, "poor_minimum", book_far_away, "flat_region", cure=lambda s: book_far_away(s, 0.3)),
    stuck("penalty_too_strong", 1000, "poor_minimum", sparse_codes, cure=lambda s: sparse_codes(s, 0.01)),
)
