"""Healthy runs of the split `midway`, many of which look as if they stood still."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits, entropy, noisy_labels, table
from benchmarks.stuck_runs.midway.data import two_targets
from benchmarks.stuck_runs.midway.networks import (
    Embedded,
    MixtureDensity,
    Transformer,
    TwoHeads,
    convolutions,
    dice_loss,
    gaussian_nll,
    segmenter,
)
from benchmarks.stuck_runs.midway.tasks import (
    by_variational_autoencoder,
    denoising,
    grammar_gru,
    on_branches,
    on_citations,
    on_discs,
    on_equation,
    on_friedman,
    on_grammar,
    on_images,
    on_oscillation,
    on_preferences,
    on_text,
    on_triplets,
    standardised,
    text_gru,
)
from benchmarks.stuck_runs.networks import Recurrent, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, healthy, sgd
from benchmarks.stuck_runs.schedules import cosine, milestones, triangle, warm_up


def converged_grammar(seed: int) -> Problem:
    """Return a run that reaches the entropy rate of a grammar early, and stays there."""
    return on_grammar(grammar_gru(), adam(1e-2))


def warmed_grammar(seed: int) -> Problem:
    """Return a run of a transformer whose warm-up takes half of the run."""
    return on_grammar(Transformer(12, 12, 16, layers=1), adam(4e-3), schedule=warm_up(500))


def oscillation_by_lstm(seed: int) -> Problem:
    """Return a run of an LSTM by RMSprop that reaches the noise of a time series."""
    model = Recurrent(nn.LSTM(1, 16, batch_first=True), 16)
    return on_oscillation(model, by(torch.optim.RMSprop, lr=2e-3), schedule=cosine(1000))


def overlapping_discs(seed: int) -> Problem:
    """Return a run that segments discs under the dice loss, at a learning rate that is halved every 100 steps."""
    return on_discs(
        segmenter(), adam(5e-3, 0.01), loss=dice_loss, trivial=0.75, schedule=lambda step: 0.5 ** (step // 100)
    )


def staircase(seed: int) -> Problem:
    """Return a run of regression at a large learning rate that is divided by ten after the loss has stood still."""
    return on_friedman(mlp(10, 32, 1), adam(0.1), 8, schedule=milestones(220, 900))


def quantiles(seed: int) -> Problem:
    """Return a run that learns the upper decile of a target under the pinball loss, down to its noise."""

    def loss(output: Tensor, y: Tensor) -> Tensor:
        error = y - output
        return torch.maximum(0.9 * error, -0.1 * error).mean()

    floor = 0.2 * math.exp(-0.5 * 1.28155**2) / math.sqrt(2 * math.pi)
    return on_friedman(mlp(10, 32, 1), adam(5e-3), 64, loss=loss, trivial=0.17, floor=floor, schedule=cosine(1500))


def uneven_noise(seed: int) -> Problem:
    """Return a run that learns mean and variance of a target; its negative log-likelihood falls below zero."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 2 * torch.rand(count, 2, generator=generator) - 1
        deviation = 0.1 * torch.exp(x[:, 1:])
        return x, torch.sin(3 * x[:, :1]) + deviation * torch.randn(count, 1, generator=generator)

    return endless(
        mlp(2, 32, 2, activation="tanh"),
        gaussian_nll,
        sample,
        64,
        adam(5e-3),
        trivial=1.1,
        evaluation_samples=4096,
        schedule=cosine(1500),
    )


def counts(seed: int) -> Problem:
    """Return a run of Poisson regression, whose loss without its constant is negative throughout."""
    weights = 0.3 * torch.randn(6, 1, generator=Generator().manual_seed(seed))

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 6, generator=generator)
        return x, torch.poisson((2 + x @ weights).exp(), generator=generator)

    return endless(mlp(6, 1), nn.PoissonNLLLoss(), sample, 32, sgd(2e-3), evaluation_samples=4096)


def tiny_targets(seed: int) -> Problem:
    """Return a run on targets of a thousandth, so that the loss is a millionth."""
    x, y = standardised("diabetes")
    model = mlp(10, 1)
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    return finite(model, F.mse_loss, (x, 1e-3 * y), 32, sgd(2e-3, momentum=0.9), trivial=1e-6)


def offset_loss(seed: int) -> Problem:
    """Return a run whose loss has an additive constant of 30, and which halves its remainder a few times."""
    return on_friedman(
        mlp(10, 32, 1), sgd(0.02), loss=lambda output, y: 30 + F.mse_loss(output, y), floor=30.04, trivial=30.99
    )


class Ridge(nn.Module):
    """A linear map with a quadratic penalty: (samples, inputs) to outputs (samples, 1) and the penalty."""

    def __init__(self, inputs: int, strength: float) -> None:
        super().__init__()
        self.linear, self.strength = nn.Linear(inputs, 1), strength

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return outputs and penalty."""
        return self.linear(x), self.strength * (self.linear.weight**2).sum()


def ridge(seed: int) -> Problem:
    """Return a full-batch run with a penalty in its loss that reaches its minimum in the first fifth."""
    x, y = standardised("diabetes")
    return finite(
        Ridge(10, 0.1),
        lambda output, target: F.mse_loss(output[0], target) + output[1],
        (x, y),
        len(y),
        sgd(0.05, momentum=0.9),
        trivial=1.0,
    )


def decayed_digits(seed: int) -> Problem:
    """Return a run that settles where its gradient and its weight decay balance."""
    x, y = digits()
    return finite(mlp(20, 24, 10), F.cross_entropy, (x, y), 256, sgd(0.2, 0.9, decay=3e-3), trivial=entropy(y))


def wrong_labels(seed: int) -> Problem:
    """Return a run of a small network with dropout that cannot memorise the random labels of four digits in ten."""
    x, y = digits()
    data = x, noisy_labels(y, 0.4, seed)
    model = nn.Sequential(nn.Linear(20, 12), nn.ReLU(), nn.Linear(12, 10))
    return finite(model, F.cross_entropy, data, 64, adam(1e-2, 0.01), trivial=entropy(y), schedule=cosine(1200))


def accumulated_tumours(seed: int) -> Problem:
    """Return a run on a small table with four batches in each step, weight decay, and clipping that seldom acts."""
    x, y = table("breast_cancer")
    model = mlp(30, 16, 2, dropout=0.2)
    return finite(
        model, F.cross_entropy, (x, y), 8, sgd(0.03, 0.9), accumulate=4, clip=2.0, trivial=entropy(y), floor=0.0
    )


def two_tasks(seed: int) -> Problem:
    """Return a run that learns two targets of different size and difficulty with one body."""
    model = TwoHeads(mlp(6, 32).append(nn.ReLU()), nn.Linear(32, 1), mlp(32, 16, 1))
    return endless(model, F.mse_loss, two_targets, 32, adam(3e-3), trivial=3.0, floor=0.04, evaluation_samples=4096)


def product_of_signs(seed: int) -> Problem:
    """Return a run whose loss waits for a tenth of the run before it falls."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        return x, ((x[:, 0] * x[:, 1]) > 0).float()[:, None]

    loss = F.binary_cross_entropy_with_logits
    return endless(
        mlp(10, 32, 1), loss, sample, 64, adam(1.5e-3), trivial=math.log(2), floor=0.0, evaluation_samples=4096
    )


def cyclic_convolutions(seed: int) -> Problem:
    """Return a run of small convolutions whose learning rate goes up and down."""
    return on_images(convolutions(8, 8), sgd(0.05, momentum=0.9), schedule=triangle(150, 0.05))


def embedded_digits(seed: int) -> Problem:
    """Return a run of metric learning, in which more and more triplets have no loss."""
    return on_triplets(Embedded(mlp(20, 32, 8)), adam(2e-3))


def graph_with_decay(seed: int) -> Problem:
    """Return a full-batch run on a graph by Adam with weight decay in its gradient."""
    return on_citations(by(torch.optim.Adam, lr=1e-2, weight_decay=5e-3))


def slow_equation(seed: int) -> Problem:
    """Return a run that solves a differential equation slowly and steadily."""
    return on_equation(adam(2e-3))


def clipped_text(seed: int) -> Problem:
    """Return a run of a GRU on text, with clipping in most steps."""
    return on_text(text_gru(), adam(3e-3), 8, clip=0.5)


def denoised_digits(seed: int) -> Problem:
    """Return a run that removes noise from digits, whose loss cannot reach zero."""
    return denoising(mlp(20, 64, 20), adam(3e-3), schedule=cosine(1200))


def two_modes(seed: int) -> Problem:
    """Return a run that learns the mean of two branches first, and tells the branches apart soon after."""
    return on_branches(MixtureDensity(3), adam(1e-2), schedule=cosine(1500))


HEALTHY = (
    healthy("grammar_reached_early", 1000, "noise floor", converged_grammar),
    healthy("half_a_run_of_warm_up", 1000, "schedule", warmed_grammar),
    healthy("oscillation_by_lstm", 1000, "noise floor", oscillation_by_lstm),
    healthy("overlapping_discs", 600, "schedule", overlapping_discs, future=1.5),
    healthy("discs_with_momentum", 500, "improving", lambda seed: on_discs(segmenter(), sgd(0.1, 0.9)), future=1.5),
    healthy("preferred_items", 1500, "noise floor", lambda seed: on_preferences(0.3, adam(1e-2))),
    healthy("graph_with_decay", 500, "minimum", graph_with_decay, future=1.5),
    healthy("friedman_on_a_staircase", 1500, "schedule", staircase),
    healthy("upper_decile", 1500, "noise floor", quantiles),
    healthy("embedded_digits", 600, "noisy", embedded_digits),
    healthy("mixture_of_branches", 1500, "late", two_modes),
    healthy("uneven_noise", 1500, "negative", uneven_noise),
    healthy("poisson_counts", 1000, "negative", counts, future=1.5),
    healthy("targets_of_a_thousandth", 800, "tiny", tiny_targets),
    healthy("a_loss_of_thirty", 1500, "offset", offset_loss),
    healthy("ridge_by_full_batches", 500, "minimum", ridge),
    healthy("balanced_by_decay", 1000, "minimum", decayed_digits),
    healthy("four_labels_in_ten_wrong", 1200, "noise floor", wrong_labels, future=1.5),
    healthy("accumulated_tumours", 400, "noisy", accumulated_tumours),
    healthy("two_targets", 1500, "improving", two_tasks),
    healthy("product_of_signs", 1500, "late", product_of_signs),
    healthy("cyclic_convolutions", 600, "schedule", cyclic_convolutions),
    healthy("equation_without_data", 3000, "slow", slow_equation),
    healthy("clipped_text", 600, "improving", clipped_text, future=1.5),
    healthy("denoised_digits", 1200, "noise floor", denoised_digits, future=1.5),
    healthy("digits_variationally", 1200, "noisy", lambda seed: by_variational_autoencoder(adam(3e-3)), future=1.5),
)
