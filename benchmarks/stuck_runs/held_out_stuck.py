"""Runs of the held-out split that are meant to be stuck, by cause: nothing may be tuned on them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs import held_out_networks as networks
from benchmarks.stuck_runs.data import digit_images, digits, entropy, gaussian_weights, linear_map, table
from benchmarks.stuck_runs.held_out_healthy import friedman, language_model, on_images
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.open_healthy import on_digits
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, resampled, sgd, stuck


def phase_retrieval(seed: int) -> Problem:
    """A direction known only by its squared projections, from a start near zero."""
    weights = gaussian_weights(12, seed)
    weights /= weights.norm()

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 12, generator=generator)
        return x, (x @ weights) ** 2

    model = networks.Square(1e-4 * torch.randn(12, 1))
    return endless(model, F.mse_loss, sample, 16, sgd(1.2e-3), judged_on=4096, trivial=2.0, floor=0.0)


def tied_autoencoder(seed: int) -> Problem:
    """Principal components by tied weights that begin near zero."""
    x = digits()[0]
    values = torch.linalg.svdvals(x - x.mean(0)) ** 2 / len(x) / 20
    model = networks.Tied(1e-8 * torch.randn(3, 20))
    floor = float(values[3:].sum())
    return finite(model, F.mse_loss, (x, x), 32, sgd(0.03, 0.5), trivial=float((x**2).mean()), floor=floor)


def matrix_completion(seed: int) -> Problem:
    """Embeddings of rows and columns that begin near zero."""
    generator = Generator().manual_seed(seed)
    matrix = torch.randn(16, 2, generator=generator) @ torch.randn(2, 16, generator=generator)
    cells = torch.cartesian_prod(torch.arange(16), torch.arange(16))
    data = cells, matrix.reshape(-1, 1)
    model = networks.Completion(16, 2, 1e-6)
    trivial = float((matrix**2).mean())
    return finite(model, F.mse_loss, data, 64, sgd(0.15), trivial=trivial, floor=0.0)


def deep_linear_filter(seed: int) -> Problem:
    """Three convolutions in a row, without activations, have to find one filter."""
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
    return endless(model, F.mse_loss, sample, 16, sgd(0.03), judged_on=512, trivial=1.0, floor=0.0)


def identical_units(seed: int) -> Problem:
    """All hidden units begin alike, and gradient descent never tells them apart."""
    model = mlp(20, 12, 10, activation="tanh")
    nn.init.constant_(model[0].weight, 0.05)
    nn.init.constant_(model[2].weight, 0.05)
    nn.init.zeros_(model[0].bias)
    return on_digits(model, sgd(0.05))


def zeros_at_both_ends(seed: int) -> Problem:
    """The last two layers begin at zero, so neither of them ever gets a gradient."""
    x, y = table("breast_cancer")
    model = mlp(30, 16, 8, 1, activation="tanh")
    for layer in (model[2], model[4]):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    loss = F.binary_cross_entropy_with_logits
    return finite(model, loss, (x, y.float()[:, None]), 16, sgd(0.1, 0.9), trivial=entropy(y), floor=0.0)


def circles(seed: int) -> Problem:
    """Eight layers of five sigmoid units on two circles; after a demonstration of AUTOTRAINER."""
    x, y = datasets.make_circles(1000, noise=0.1, factor=0.4, random_state=1)
    data = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    model = mlp(2, *[5] * 8, 1, activation="sigmoid")
    return finite(model, F.binary_cross_entropy_with_logits, data, 64, sgd(0.05), trivial=math.log(2), floor=0.05)


def dead_convolutions(seed: int) -> Problem:
    """A bias of −10 before the ReLUs of the second convolution."""
    model = networks.conv_net()
    nn.init.constant_(model[3].bias, -10.0)
    return on_images(model, adam(1e-3))


def sure_and_wrong(seed: int) -> Problem:
    """A sigmoid under a squared error that begins with the answer "surely not" to everything."""
    x, y = table("breast_cancer")
    model = mlp(30, 12, 1, activation="tanh").append(nn.Sigmoid())
    nn.init.constant_(model[2].bias, -18.0)
    share = float(y.double().mean())
    data = x, y.float()[:, None]
    return finite(model, F.mse_loss, data, 16, sgd(0.1), trivial=share * (1 - share), floor=0.0)


def poisoned_batch(seed: int) -> Problem:
    """Healthy until one batch comes unscaled, ten thousand times too large."""
    clean = resampled(digits(), 32)

    def batch(generator: Generator, step: int) -> Batch:
        x, y = clean(generator, step)
        return (1e4 * x if step == 400 else x), y

    return replace(on_digits(mlp(20, 16, 16, 10), sgd(0.02)), batch=batch)


def decayed_too_early(seed: int) -> Problem:
    """An exponential decay meant for epochs is applied at every step."""
    return on_images(networks.conv_net(nn.Tanh), adam(1e-3), schedule=lambda step: 0.97**step)


def starved_adagrad(seed: int) -> Problem:
    """Adagrad's accumulators begin so high that nothing moves."""
    optimizer = lambda parameters: torch.optim.Adagrad(parameters, lr=0.01, initial_accumulator_value=1e8)  # noqa: E731
    return finite(mlp(10, 24, 1), F.mse_loss, friedman(), 32, optimizer, trivial=1.0, floor=0.2)


def divided_loss(seed: int) -> Problem:
    """A loss divided by the number of all pixels and samples, under plain gradient descent."""
    x, y = digit_images()
    problem = on_images(networks.conv_net(normalise=nn.BatchNorm2d), sgd(0.1))
    scale = 1 / (64 * len(x))
    loss = lambda out, target: scale * F.cross_entropy(out, target)  # noqa: E731
    return replace(problem, loss=loss, trivial=scale * entropy(y))


def bouncing_rmsprop(seed: int) -> Problem:
    """RMSprop at a learning rate of one half."""
    optimizer = lambda parameters: torch.optim.RMSprop(parameters, lr=0.5)  # noqa: E731
    return finite(mlp(10, 24, 1, activation="tanh"), F.mse_loss, friedman(), 32, optimizer, trivial=1.0, floor=0.2)


def steps_of_one_size(seed: int) -> Problem:
    """Sign descent on a quadratic with steps too long to come to rest."""
    weights = gaussian_weights(16, seed)
    optimizer = lambda parameters: torch.optim.Adam(parameters, lr=1.0, betas=(0.0, 0.0))  # noqa: E731
    trivial = float((weights**2).sum())
    sample = linear_map(weights, noise=0.1)
    return endless(mlp(16, 1), F.mse_loss, sample, 16, optimizer, trivial=trivial, floor=0.01)


def only_a_bias_trains(seed: int) -> Problem:
    """Everything was frozen for fine-tuning but the last bias."""
    model = mlp(20, 16, 10)
    for parameter in list(model.parameters())[:-1]:
        parameter.requires_grad_(requires_grad=False)
    return on_digits(model, adam(1e-2))


def head_of_yesterday(seed: int) -> Problem:
    """The optimizer holds a head that was replaced, and the body is frozen."""
    model = networks.conv_net()
    old = model[7]
    model[:7].requires_grad_(requires_grad=False)
    model[7] = nn.Linear(64, 10)
    return replace(on_images(model, sgd(0.1)), held=old)


def shuffled_labels(seed: int) -> Problem:
    """Labels that do not belong to their images."""
    images, labels = digit_images()

    def batch(generator: Generator, step: int) -> Batch:
        first, second = (torch.randint(0, len(images), (32,), generator=generator) for _ in range(2))
        return images[first], labels[second]

    other = labels[torch.randperm(len(labels), generator=Generator().manual_seed(0))]
    return replace(on_images(networks.conv_net(), sgd(0.05)), batch=batch, truth=lambda step: (images, other))


def memoryless_tokens(seed: int) -> Problem:
    """A tokenizer gone wrong: every token is independent of those before it."""

    def sample(count: int, generator: Generator) -> Batch:
        tokens = torch.randint(0, 12, (count, 11), generator=generator)
        return tokens[:, :-1], tokens[:, 1:]

    model = networks.LanguageModel(12, 10)
    trivial = math.log(12)
    return endless(model, F.cross_entropy, sample, 16, adam(1e-3), judged_on=512, trivial=trivial, floor=0.0)


def one_row_for_all(seed: int) -> Problem:
    """An indexing mistake gives every sample the features of the first."""
    x, y = table("wine")
    data = x[:1].expand(len(x), -1).contiguous(), y
    return finite(mlp(13, 16, 3), F.cross_entropy, data, 16, adam(1e-3), trivial=entropy(y), floor=0.0)


def raw_inputs(seed: int) -> Problem:
    """Features of a thousand that nobody has scaled, under plain gradient descent."""
    x, y = datasets.load_breast_cancer(return_X_y=True)
    data = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    return finite(mlp(30, 1), F.mse_loss, data, 16, sgd(3e-6), trivial=float(y.var()), floor=0.0)


def growing_rate(seed: int) -> Problem:
    """A learning rate that grows by a percent at every step: first it learns, then it diverges."""
    weights = gaussian_weights(10, seed)
    trivial = float((weights**2).sum())
    sample = linear_map(weights, noise=0.5)
    schedule = lambda step: 1.01**step  # noqa: E731
    return endless(mlp(10, 1), F.mse_loss, sample, 32, sgd(1e-3), trivial=trivial, floor=0.25, schedule=schedule)


def exploding_recurrence(seed: int) -> Problem:
    """A linear recurrence over twelve steps whose gradient explodes."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 12, 1, generator=generator)
        return x, x.sum(1)

    model = networks.Recurrent(networks.LinearRecurrence(8), 8)
    return endless(model, F.mse_loss, sample, 16, sgd(0.02, 0.9), judged_on=512, trivial=12.0, floor=0.0)


def wave(frequency: float) -> Problem:
    """A sine of frequency 3, from this one."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 6 * torch.rand(count, 1, generator=generator) - 3
        return x, torch.sin(3 * x) + 0.1 * torch.randn(count, 1, generator=generator)

    return endless(networks.Wave(frequency), F.mse_loss, sample, 32, sgd(0.05), judged_on=4096, trivial=0.5)


def bump(centre: float) -> Problem:
    """A tall and a low bump, and one to fit them with, which begins at this place."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 20 * torch.rand(count, 1, generator=generator) - 10
        y = 2 * torch.exp(-0.5 * (x - 5) ** 2) + 0.8 * torch.exp(-0.5 * (x + 5) ** 2)
        return x, y + 0.05 * torch.randn(count, 1, generator=generator)

    model = networks.Bump(0.3, centre)
    return endless(model, F.mse_loss, sample, 64, sgd(0.3), judged_on=4096, trivial=0.29)


def clusters(seed: int, shared: Tensor | None = None) -> Problem:
    """Three centres for three groups of points; `shared` puts two of them into one group."""
    generator = Generator().manual_seed(seed)
    groups = torch.tensor([[0.0, 0.0], [6.0, 3.0], [6.0, -3.0]])
    points = groups[torch.arange(600) % 3] + 0.5 * torch.randn(600, 2, generator=generator)
    start = (groups if shared is None else shared) + 0.2 * torch.randn(3, 2, generator=generator)
    model = networks.Nearest(start)
    trivial = float(((points - points.mean(0)) ** 2).sum(1).mean())
    return finite(model, lambda out, y: out.mean(), (points, points), 32, sgd(0.05), trivial=trivial)


SHARED = torch.tensor([[-0.5, 0.0], [0.5, 0.0], [6.0, 0.0]])


def nudged(value: float, seed: int) -> float:
    """A start that differs a little between seeds."""
    return value + 0.1 * float(np.random.RandomState(seed).randn())


SADDLES = (
    stuck("phase_retrieval", 1500, "saddle_point", phase_retrieval),
    stuck("tied_autoencoder", 1500, "saddle_point", tied_autoencoder),
    stuck("matrix_completion", 1500, "saddle_point", matrix_completion),
    stuck("deep_linear_filter", 1500, "saddle_point", deep_linear_filter),
    stuck("identical_units", 2000, "saddle_point", identical_units),
    stuck("zeros_at_both_ends", 1500, "saddle_point", zeros_at_both_ends, "flat_region"),
)
FLAT = (
    stuck("deep_sigmoid_on_circles", 2000, "flat_region", circles, "saddle_point"),
    stuck("dead_convolutions", 1000, "flat_region", dead_convolutions),
    stuck("sure_and_wrong", 1500, "flat_region", sure_and_wrong),
    stuck("poisoned_batch", 1500, "flat_region", poisoned_batch),
)
TOO_SMALL = (
    stuck(
        "warmup_without_end",
        1200,
        "learning_rate_too_small",
        lambda seed: language_model(adam(1e-2), floor=0.9, schedule=lambda step: min(1.0, (step + 1) / 1e9)),
    ),
    stuck("decayed_too_early", 1200, "learning_rate_too_small", decayed_too_early),
    stuck("starved_adagrad", 1500, "learning_rate_too_small", starved_adagrad),
    stuck("divided_loss", 1000, "learning_rate_too_small", divided_loss),
)
TOO_LARGE = (
    stuck("bouncing_rmsprop", 1500, "learning_rate_too_large", bouncing_rmsprop),
    stuck("steps_of_one_size", 1500, "learning_rate_too_large", steps_of_one_size),
    stuck(
        "language_model_at_1",
        1200,
        "learning_rate_too_large",
        lambda seed: language_model(adam(1.0), floor=0.9),
        "flat_region",
    ),
    stuck(
        "images_at_2",
        1000,
        "learning_rate_too_large",
        lambda seed: on_images(networks.conv_net(nn.Tanh), sgd(2.0, 0.9)),
        "flat_region",
    ),
)
OTHERS = (
    stuck("only_a_bias_trains", 1500, "not_updating", only_a_bias_trains),
    stuck("head_of_yesterday", 1000, "not_updating", head_of_yesterday),
    stuck(
        "rate_of_zero",
        1500,
        "not_updating",
        lambda seed: on_digits(mlp(20, 24, 10), sgd(0.1), schedule=lambda step: 0.0),
        "learning_rate_too_small",
    ),
    stuck("shuffled_labels", 1200, "nothing_to_learn", shuffled_labels),
    stuck("memoryless_tokens", 1200, "nothing_to_learn", memoryless_tokens),
    stuck("one_row_for_all", 1500, "nothing_to_learn", one_row_for_all),
    stuck("raw_inputs", 1000, "diverged", raw_inputs),
    stuck("growing_rate", 1500, "diverged", growing_rate),
    stuck("exploding_recurrence", 1000, "diverged", exploding_recurrence),
    stuck(
        "wrong_frequency",
        1500,
        "poor_minimum",
        lambda seed: wave(nudged(1.2, seed)),
        cure=lambda seed: wave(2.9),
    ),
    stuck(
        "lower_of_two_bumps",
        1500,
        "poor_minimum",
        lambda seed: bump(nudged(-4.5, seed)),
        cure=lambda seed: bump(4.5),
    ),
    stuck(
        "clusters_share_a_centre",
        1500,
        "poor_minimum",
        lambda seed: clusters(seed, SHARED),
        cure=lambda seed: clusters(seed),
    ),
)
STUCK = (*SADDLES, *FLAT, *TOO_SMALL, *TOO_LARGE, *OTHERS)
