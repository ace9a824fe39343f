"""Stuck runs of the split `open`, by cause."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digits, entropy, gaussian_weights, linear_map, singular_map
from benchmarks.stuck_runs.networks import Committee, CutOff, constant, factorised, mlp, normal, scaled
from benchmarks.stuck_runs.open_split.healthy import CENTRES, mixture_of_three, tiny_targets
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, sgd, stuck
from benchmarks.stuck_runs.tasks import on_digits


def through_a_saddle(model: nn.Module, weights: Tensor, size: int, rate: float) -> Problem:
    """Return a run of linear factors, for which the origin and every partial solution are saddle points."""
    trivial = float((weights**2).sum() / weights.shape[1])
    return endless(model, F.mse_loss, linear_map(weights), size, sgd(rate), trivial=trivial, floor=0.0)


def three_linear_layers(seed: int) -> Problem:
    """Return a run of three linear layers with small weights, near a saddle point of third order."""
    generator = Generator().manual_seed(seed + 9)
    weights = torch.randn(8, 3, generator=generator) @ torch.randn(3, 8, generator=generator) * 0.35
    model = mlp(8, 8, 8, 8, activation="linear", init=normal(0.01), bias=False)
    return through_a_saddle(model, weights, 32, 0.06)


def committee(seed: int, inputs: int = 30, size: int = 8) -> Problem:
    """Return a run on the plateau of a soft committee machine on which all hidden units are alike [Saad95]_.

    .. [Saad95] On-line learning in soft committee machines, Physical Review E 52.
    """
    units = 3
    teacher, _ = torch.linalg.qr(torch.randn(inputs, units, generator=Generator().manual_seed(seed + 21)))

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, inputs, generator=generator)
        return x, torch.erf(x @ teacher / math.sqrt(2)).sum(1, keepdim=True)

    student = Committee(1e-2 * torch.randn(inputs, units))
    return endless(student, F.mse_loss, sample, size, sgd(0.02), evaluation_samples=2048, trivial=1.0, floor=0.0)


def xor(seed: int) -> Problem:
    """Return a run that learns the XOR of two signs from tiny weights, without a second-order direction of descent."""

    def sample(count: int, generator: Generator) -> Batch:
        signs = torch.randint(0, 2, (count, 2), generator=generator).float() * 2 - 1
        y = (signs.prod(1, keepdim=True) > 0).float()
        return signs + 0.2 * torch.randn(count, 2, generator=generator), y

    model = mlp(2, 12, 1, activation="tanh", init=normal(0.01))
    loss = F.binary_cross_entropy_with_logits
    return endless(model, loss, sample, 32, sgd(0.1), trivial=math.log(2), floor=0.0)


def saturated_tanh(seed: int) -> Problem:
    """Return a run under squared error with weights thirty times too large, so that every tanh is saturated."""
    x, y = digits()
    signs = (y % 2).float()[:, None] * 2 - 1
    model = mlp(20, 16, 16, 1, activation="tanh", init=scaled(30.0)).append(nn.Tanh())
    return finite(model, F.mse_loss, (x, signs), 32, sgd(0.05), trivial=1.0, floor=0.0)


def dead_relus(seed: int) -> Problem:
    """Return a run with a bias of −15 before every ReLU."""
    model = mlp(20, 24, 10)
    nn.init.constant_(model[0].bias, -15.0)
    return on_digits(model, sgd(0.1))


def killed_in_mid_run(seed: int) -> Problem:
    """Return a run that learns until three steps at a huge learning rate turn off every ReLU."""
    return on_digits(mlp(20, 16, 16, 10), sgd(0.02), schedule=lambda step: 2500.0 if 700 <= step < 703 else 1.0)


def slow_regression(seed: int) -> Problem:
    """Return a run of linear regression at a learning rate of 2e-7."""
    weights = gaussian_weights(20, seed)
    trivial = float((weights**2).sum() + 0.09)
    sample = linear_map(weights, noise=0.3)
    return endless(mlp(20, 1), F.mse_loss, sample, 16, sgd(2e-7), trivial=trivial, floor=0.09)


def shared_centre(seed: int) -> Tensor:
    """Return two centres in one cluster and one between the other two: a strict local minimum [Jin16]_.

    .. [Jin16] Local maxima in the likelihood of Gaussian mixture models, arXiv:1609.00978.
    """
    start = torch.tensor([[-10.5, 0.3], [-9.5, -0.3], [8.0, 0.0]])
    return start + 0.3 * torch.randn(3, 2, generator=Generator().manual_seed(seed))


def xor_of_two_relus(seed: int) -> Problem:
    """Return a run that learns XOR with two ReLUs, from seeds that end in a poor minimum."""
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    torch.manual_seed((3, 5, 7, 11)[seed % 4])
    return finite(mlp(2, 2, 1), F.mse_loss, (x, y), 4, sgd(0.1), trivial=0.25, floor=0.0)


def optimizer_of_a_copy(seed: int) -> Problem:
    """Return a run whose optimizer holds the weights of a copy of the model."""
    problem = on_digits(mlp(20, 24, 10), adam(2e-3))
    return replace(problem, optimized_module=copy.deepcopy(problem.model))


def overflow(seed: int) -> Problem:
    """Return a run at a learning rate at which the loss is NaN within ten steps."""
    weights = gaussian_weights(20, seed)
    trivial = float((weights**2).sum())
    return endless(mlp(20, 16, 1), F.mse_loss, linear_map(weights), 16, sgd(0.6, 0.9), trivial=trivial, floor=0.0)


def slow_divergence(seed: int) -> Problem:
    """Return a run of gradient descent at a rate 1% above twice the inverse sharpness."""
    generator = Generator().manual_seed(seed)
    x = torch.randn(200, 8, generator=generator)
    y = x @ torch.randn(8, 1, generator=generator)
    sharpness = float(torch.linalg.eigvalsh(2 * x.T @ x / 200)[-1])
    model = mlp(8, 1, bias=False)
    return finite(model, F.mse_loss, (x, y), 200, sgd(2.02 / sharpness), trivial=float(y.var()), floor=0.0)


# The floor of these two is the loss that a working pipeline would reach.
def zeros_for_inputs(seed: int) -> Problem:
    """Return a run whose data pipeline returns zeros as inputs."""
    x, y = digits()
    data = torch.zeros_like(x), y
    return finite(mlp(20, 16, 10), F.cross_entropy, data, 32, adam(1e-3), trivial=entropy(y), floor=0.0)


def noise_for_targets(seed: int) -> Problem:
    """Return a run whose targets are independent of the inputs."""

    def sample(count: int, generator: Generator) -> Batch:
        return torch.randn(count, 12, generator=generator), torch.randn(count, 1, generator=generator)

    model = mlp(12, 16, 1, activation="tanh")
    return endless(model, F.mse_loss, sample, 16, sgd(0.01), evaluation_samples=4096, trivial=1.0, floor=0.0)


SADDLES = (
    stuck(
        "two_modes_of_two_layers",  # closed-form escape time in Saxe et al., arXiv:1312.6120
        3000,
        "saddle_point",
        lambda seed: through_a_saddle(factorised(6, 6, 3e-4), singular_map(6, (1.6, 0.9), seed + 3), 64, 0.015),
    ),
    stuck(
        "saddle_to_saddle",
        2500,
        "saddle_point",
        lambda seed: through_a_saddle(factorised(15, 2, 1e-4), singular_map(15, (2.0, 1.1), seed + 5), 16, 0.05),
    ),
    stuck(
        "tiny_factors_noisy",
        2000,
        "saddle_point",
        lambda seed: through_a_saddle(
            factorised(15, 4, 1e-6), singular_map(15, (3.0, 2.6, 2.3, 2.0), seed + 5), 4, 0.02
        ),
    ),
    stuck("three_linear_layers", 2000, "saddle_point", three_linear_layers),
    stuck(
        "all_weights_zero",
        2000,
        "saddle_point",
        lambda seed: on_digits(mlp(20, 16, 16, 10, activation="tanh", init=constant(0.0)), sgd(0.1)),
        "flat_region",
    ),
    stuck("soft_committee", 2500, "saddle_point", committee),
    stuck("xor_from_tiny_weights", 2000, "saddle_point", xor),
)
FLAT = (
    stuck(
        "deep_sigmoid",
        2000,
        "flat_region",
        lambda seed: on_digits(mlp(20, *[16] * 6, 10, activation="sigmoid"), sgd(0.05)),
        "saddle_point",
    ),
    stuck("saturated_tanh", 2000, "flat_region", saturated_tanh),
    stuck("dead_relus", 2000, "flat_region", dead_relus),
    stuck("killed_in_mid_run", 2500, "flat_region", killed_in_mid_run),
)
RATES = (
    stuck("adam_at_1e-7", 2000, "learning_rate_too_small", lambda seed: on_digits(mlp(20, 24, 10), adam(1e-7))),
    stuck(
        "clipped_to_nothing",
        2000,
        "learning_rate_too_small",
        lambda seed: on_digits(mlp(20, 24, 10), sgd(0.05), clip=1e-4),
    ),
    stuck("regression_at_2e-7", 2000, "learning_rate_too_small", slow_regression),
    stuck("tiny_targets_at_1e-6", 2000, "learning_rate_too_small", lambda seed: tiny_targets(seed, 1e-6)),
    stuck(
        "momentum_at_3",
        2000,
        "learning_rate_too_large",
        lambda seed: on_digits(mlp(20, 16, 16, 10, activation="tanh"), sgd(3.0, 0.9)),
    ),
    stuck(
        "adam_at_1",
        2000,
        "learning_rate_too_large",
        lambda seed: on_digits(mlp(20, 24, 24, 10, activation="tanh"), adam(1.0)),
        "flat_region",
    ),
)
OTHERS = (
    stuck(
        "mixture_shares_a_centre",
        1500,
        "poor_minimum",
        lambda seed: mixture_of_three(shared_centre(seed)),
        cure=lambda seed: mixture_of_three(CENTRES.clone()),
    ),
    stuck("xor_of_two_relus", 2000, "poor_minimum", xor_of_two_relus, "flat_region"),
    stuck("optimizer_of_a_copy", 1500, "not_updating", optimizer_of_a_copy),
    stuck(
        "body_cut_off",
        1500,
        "not_updating",
        lambda seed: on_digits(CutOff(mlp(20, 16, 16), nn.Linear(16, 10)), sgd(0.1)),
        "flat_region",
    ),
    stuck("overflow", 1000, "diverged", overflow),
    stuck("slow_divergence", 1500, "diverged", slow_divergence),
    stuck("zeros_for_inputs", 2000, "nothing_to_learn", zeros_for_inputs),
    stuck("noise_for_targets", 2000, "nothing_to_learn", noise_for_targets),
)
STUCK = (*SADDLES, *FLAT, *RATES, *OTHERS)
