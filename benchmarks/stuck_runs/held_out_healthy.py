"""Healthy runs of the held-out split: nothing may be tuned on them."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs import held_out_networks as networks
from benchmarks.stuck_runs.data import digit_images, digits, entropy, gaussian_weights, noisy_labels, table
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.open_healthy import cosine, on_digits
from benchmarks.stuck_runs.problem import Batch, Problem, adam, endless, finite, healthy, resampled, sgd


def on_images(model: nn.Module, optimizer, size: int = 32, **rest) -> Problem:
    """Classify images of digits."""
    trivial = entropy(digit_images()[1])
    return finite(model, F.cross_entropy, digit_images(), size, optimizer, trivial=trivial, floor=0.0, **rest)


def triangle(period: int, low: float):
    """From `low` to 1 and back, in `period` steps."""
    return lambda step: 1 - (1 - low) * abs(2 * (step % period) / period - 1)


def wine(seed: int) -> Problem:
    """178 wines, dropout on half of the units."""
    data = table("wine")
    optimizer = lambda parameters: torch.optim.NAdam(parameters, lr=2e-3)  # noqa: E731
    return finite(mlp(13, 32, 3, dropout=0.5), F.cross_entropy, data, 16, optimizer, trivial=entropy(data[1]))


def progressions(count: int, generator: Generator) -> Batch:
    """Arithmetic progressions modulo 12 with a tenth of the tokens random, and the tokens that follow."""
    start, stride = (torch.randint(low, high, (count, 1), generator=generator) for low, high in ((0, 12), (1, 4)))
    tokens = (start + stride * torch.arange(11)) % 12
    wrong = torch.rand(tokens.shape, generator=generator) < 0.1
    tokens = torch.where(wrong, torch.randint(0, 12, tokens.shape, generator=generator), tokens)
    return tokens[:, :-1], tokens[:, 1:]


def language_model(optimizer, **rest) -> Problem:
    """Predict the next token of a progression."""
    model = networks.LanguageModel(12, 10)
    return endless(model, F.cross_entropy, progressions, 16, optimizer, judged_on=512, trivial=math.log(12), **rest)


@cache
def friedman() -> Batch:
    """1000 points of scikit-learn's friedman1 with standardised targets."""
    x, y = datasets.make_friedman1(1000, noise=1.0, random_state=0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]


def density(seed: int) -> Problem:
    """A narrow Gaussian: the loss goes through zero and settles at a negative value."""
    centre = torch.randn(4, generator=Generator().manual_seed(seed))

    def sample(count: int, generator: Generator) -> Batch:
        x = centre + 0.05 * torch.randn(count, 4, generator=generator)
        return x, x

    floor = 4 * (math.log(0.05) + 0.5 + 0.9189385)
    return endless(networks.Gaussian(4), lambda out, y: out.mean(), sample, 32, adam(2e-2), floor=floor)


def contrastive(seed: int) -> Problem:
    """Tell which of 32 second views belongs to a first one."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 1, 8, generator=generator)
        return x + 0.5 * torch.randn(count, 2, 8, generator=generator), torch.arange(count)

    model = networks.TwoViews(mlp(8, 24, 8))
    return endless(model, F.cross_entropy, sample, 32, adam(1e-3), judged_on=32, trivial=math.log(32))


def running_mean(seed: int) -> Problem:
    """A recurrent network averages its inputs."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, 1, generator=generator)
        return x, x.mean(1) * math.sqrt(8)

    model = networks.Recurrent(nn.GRU(1, 12, batch_first=True), 12)
    return endless(model, F.mse_loss, sample, 16, adam(5e-3), judged_on=512, trivial=1.0, floor=0.0)


def outlying_inputs(seed: int) -> Problem:
    """Inputs whose scale is heavy-tailed; clipping keeps the gradient in bounds."""
    weights = gaussian_weights(12, seed, scale=0.5)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 12, generator=generator) * torch.randn(count, 1, generator=generator).exp()
        return x, x @ weights

    trivial = float((weights**2).sum()) * math.e**2
    model = mlp(12, 1)
    return endless(model, F.mse_loss, sample, 16, sgd(0.01), judged_on=4096, trivial=trivial, floor=0.0, clip=1.0)


def pretrained(widths: tuple[int, ...], data: Batch, steps: int) -> nn.Sequential:
    """A network after some full-batch steps of Adam."""
    model = mlp(*widths)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()
    return model


def frozen_body(seed: int) -> Problem:
    """Features learnt on five digits, and a fresh head for all ten."""
    x, y = digits()
    model = pretrained((20, 10, 5), (x[y < 5], y[y < 5]), 60)
    model[0].requires_grad_(requires_grad=False)
    model[2] = nn.Linear(10, 10)
    return on_digits(model, sgd(0.1, 0.9), floor=None)


def resumed_at_the_optimum(seed: int) -> Problem:
    """Fine-tuning that begins where training had ended: flat from the first step."""
    x, y = digits()
    data = x, noisy_labels(y, 0.3, seed + 50)
    model = pretrained((20, 6, 10), data, 1500)
    return finite(model, F.cross_entropy, data, 32, adam(1e-4), trivial=entropy(y))


def support_vectors(seed: int) -> Problem:
    """A linear classifier by the hinge loss, with a learning rate of 1/t."""
    x, y = table("breast_cancer")
    signs = y.float()[:, None] * 2 - 1
    return finite(
        mlp(30, 1),
        lambda out, target: (1 - out * target).relu().mean(),
        (x, signs),
        8,
        sgd(0.1, decay=1e-3),
        trivial=float(1 - abs(signs.mean())),
        schedule=lambda step: 1 / (1 + step / 100),
    )


def bags_of_words(seed: int) -> Problem:
    """Two topics with different words, by embeddings and Adagrad."""
    odds = torch.softmax(torch.randn(2, 200, generator=Generator().manual_seed(seed)), 1)

    def sample(count: int, generator: Generator) -> Batch:
        y = torch.randint(0, 2, (count,), generator=generator)
        return torch.multinomial(odds[y], 12, replacement=True, generator=generator), y

    model = nn.Sequential(nn.EmbeddingBag(200, 6), nn.Linear(6, 2))
    optimizer = lambda parameters: torch.optim.Adagrad(parameters, lr=0.05)  # noqa: E731
    return endless(model, F.cross_entropy, sample, 32, optimizer, trivial=math.log(2), judged_on=2048)


def summed_loss(seed: int) -> Problem:
    """Squared errors of large targets, summed over the batch: losses of a million."""
    x, y = datasets.make_regression(1000, 20, noise=10.0, random_state=seed)
    data = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    scale = 64 * float(data[1].var())
    return Problem(
        mlp(20, 1),
        lambda out, target: 64 * F.mse_loss(out, target),
        resampled(data, 64),
        lambda step: data,
        sgd(3e-5),
        trivial=scale,
    )


def upper_quantile(seed: int) -> Problem:
    """The 90% quantile of a linear model with Laplace noise, by the pinball loss."""
    weights = gaussian_weights(10, seed)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 10, generator=generator)
        u = torch.rand(count, 1, generator=generator) - 0.5
        return x, x @ weights - u.sign() * torch.log1p(-2 * u.abs().clamp(max=0.4999))

    def pinball(out: Tensor, target: Tensor) -> Tensor:
        return torch.maximum(0.9 * (target - out), 0.1 * (out - target)).mean()

    y = sample(8192, Generator().manual_seed(1))[1]
    trivial = float(pinball(torch.quantile(y, 0.9).expand_as(y), y))
    schedule = lambda step: (1 + step / 50) ** -0.5  # noqa: E731
    return endless(mlp(10, 1), pinball, sample, 8, sgd(0.3), judged_on=8192, trivial=trivial, schedule=schedule)


def counts(seed: int) -> Problem:
    """Poisson regression with large counts: a negative loss."""
    weights = gaussian_weights(8, seed, scale=0.2)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        return x, torch.poisson((2 + x @ weights).exp(), generator=generator)

    return endless(mlp(8, 1), F.poisson_nll_loss, sample, 32, adam(1e-2), judged_on=4096)


def widening_inputs(seed: int) -> Problem:
    """The range of the inputs grows in three stages, and the loss with it."""

    def sample(count: int, generator: Generator, width: float) -> Batch:
        x = width * (2 * torch.rand(count, 2, generator=generator) - 1)
        return x, torch.sin(3 * x[:, :1]) + x[:, 1:] ** 2

    def width(step: int) -> float:
        return (0.4, 0.8, 1.2)[min(2, step // 500)]

    truths = {w: sample(1024, Generator().manual_seed(123), w) for w in (0.4, 0.8, 1.2)}
    return Problem(
        mlp(2, 32, 1, activation="tanh"),
        F.mse_loss,
        lambda generator, step: sample(32, generator, width(step)),
        lambda step: truths[width(step)],
        adam(5e-3),
        trivial=float(truths[1.2][1].var()),
        floor=0.0,
    )


def correlation(seed: int) -> Problem:
    """Maximise a correlation: the loss goes from 0 towards −1."""
    data = friedman()

    def loss(out: Tensor, target: Tensor) -> Tensor:
        a, b = out - out.mean(), target - target.mean()
        return -(a * b).sum() / (a.norm() * b.norm() + 1e-6)

    return finite(mlp(10, 24, 1), loss, data, 64, adam(1e-3), trivial=0.0)


def image_autoencoder(seed: int) -> Problem:
    """Convolutions down and up again, with a learning rate that goes up and down."""
    x = digit_images()[0]
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1),
        nn.GELU(),
        nn.Conv2d(6, 4, 3, stride=2, padding=1),
        nn.GELU(),
        nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
        nn.GELU(),
        nn.ConvTranspose2d(6, 1, 4, stride=2, padding=1),
    )
    trivial = float(x.var(0).mean())
    return finite(model, F.mse_loss, (x, x), 16, adam(5e-3), trivial=trivial, schedule=triangle(300, 0.1))


def variational(seed: int) -> Problem:
    """A variational autoencoder of digits."""
    x = digits()[0]
    model = networks.Variational(20, 24, 3)
    return finite(model, networks.evidence_bound, (x, x), 32, adam(3e-3), trivial=float(0.5 * x.var(0).sum()))


def friedman_by_rmsprop(seed: int) -> Problem:
    """A noisy regression that overfits slowly."""
    optimizer = lambda parameters: torch.optim.RMSprop(parameters, lr=1e-3)  # noqa: E731
    return finite(mlp(10, 24, 1), F.mse_loss, friedman(), 32, optimizer, trivial=1.0)


def smoothed_labels(seed: int) -> Problem:
    """Cross-entropy against labels of which a fifth is spread out: it cannot reach zero."""
    x, y = digits()
    loss = nn.CrossEntropyLoss(label_smoothing=0.2)
    return finite(mlp(20, 32, 10), loss, (x, y), 16, sgd(0.05, 0.9), trivial=entropy(y), schedule=cosine(1500))


HEALTHY = (
    healthy(
        "images_one_cycle",
        800,
        "schedule",
        lambda seed: on_images(
            networks.conv_net(normalise=nn.BatchNorm2d), sgd(0.1, 0.9), schedule=triangle(800, 0.02)
        ),
    ),
    healthy(
        "images_warm_restarts",
        1200,
        "schedule",
        lambda seed: on_images(networks.conv_net(), sgd(0.1), schedule=lambda step: cosine(400)(step % 400)),
    ),
    healthy(
        "language_model",
        1500,
        "schedule",
        lambda seed: language_model(adam(1e-2), schedule=lambda step: min(1.0, (step + 1) / 150) * cosine(1500)(step)),
        future=1.2,
    ),
    healthy("image_autoencoder", 1200, "schedule", image_autoencoder),
    healthy("support_vectors", 1500, "schedule", support_vectors),
    healthy("upper_quantile", 2000, "noise floor", upper_quantile),
    healthy("wine_with_dropout", 1500, "noisy", wine),
    healthy("friedman_by_rmsprop", 2000, "slow", friedman_by_rmsprop),
    healthy("narrow_density", 1500, "negative loss", density),
    healthy("counts", 1500, "negative loss", counts),
    healthy("correlation", 1500, "negative loss", correlation),
    healthy("contrastive", 1500, "improving", contrastive),
    healthy("variational_autoencoder", 1500, "noise floor", variational),
    healthy("running_mean", 1200, "improving", running_mean),
    healthy(
        "accumulated_batches", 800, "improving", lambda seed: on_digits(mlp(20, 24, 10), sgd(0.1), 4, accumulate=4)
    ),
    healthy("outlying_inputs", 2000, "noisy", outlying_inputs),
    healthy("frozen_body", 1500, "minimum", frozen_body),
    healthy("resumed_at_the_optimum", 1500, "noise floor", resumed_at_the_optimum, future=2.0),
    healthy("bags_of_words", 1500, "improving", bags_of_words),
    healthy(
        "strong_weight_decay",
        2000,
        "minimum",
        lambda seed: on_digits(mlp(20, 24, 10), adam(3e-3, decay=1.0), floor=None),
    ),
    healthy("summed_loss", 1500, "noise floor", summed_loss),
    healthy("smoothed_labels", 1500, "minimum", smoothed_labels, future=1.2),
    healthy("widening_inputs", 2000, "level shift", widening_inputs),
)
