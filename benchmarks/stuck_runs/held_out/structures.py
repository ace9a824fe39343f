"""Healthy held-out runs on sequences, graphs, images and differential equations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digit_images, digits, entropy
from benchmarks.stuck_runs.held_out import networks
from benchmarks.stuck_runs.held_out.measurements import nesterov
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, adam, by, endless, finite, sgd
from benchmarks.stuck_runs.schedules import cosine, polynomial, triangle, warm_up
from benchmarks.stuck_runs.tasks import pretrained


def skip_gram(seed: int) -> Problem:
    """Return a run that distinguishes a neighbour of a word from four random words, with words of six topics."""

    def sample(count: int, generator: Generator) -> Batch:
        central = torch.randint(0, 60, (count, 1), generator=generator)
        beside = central // 10 * 10 + torch.randint(0, 10, (count, 1), generator=generator)
        others = torch.randint(0, 60, (count, 4), generator=generator)
        return torch.cat([central, beside, others], 1), F.one_hot(torch.zeros(count, dtype=torch.long), 5).float()

    optimizer = by(torch.optim.RAdam, lr=5e-3)
    loss = F.binary_cross_entropy_with_logits
    trivial = math.log(5) - 0.8 * math.log(4)
    return endless(networks.SkipGram(60, 8), loss, sample, 32, optimizer, evaluation_samples=4096, trivial=trivial)


def mixture_likelihood(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of three Gaussians, given by weights, centres and log deviations."""
    shares, centres, deviations = output.chunk(3, 1)
    inside = -0.5 * ((target - centres) * (-deviations).exp()) ** 2 - deviations - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(F.log_softmax(shares, 1) + inside, 1).mean()


def inverse_problem(seed: int, optimizer: MakesOptimizer | None = None) -> Problem:
    """Return a run that fits a curve with up to three values at one input [Bishop94]_, under a triangular schedule.

    .. [Bishop94] Mixture density networks, Aston University.
    """

    def sample(count: int, generator: Generator) -> Batch:
        y = torch.rand(count, 1, generator=generator)
        return y + 0.3 * (2 * math.pi * y).sin() + 0.05 * torch.randn(count, 1, generator=generator), y

    model = mlp(1, 24, 9, activation="tanh")
    return endless(
        model,
        mixture_likelihood,
        sample,
        64,
        optimizer or adam(2e-2),
        evaluation_samples=4096,
        schedule=None if optimizer else triangle(2000, 0.05),
    )


def communities(seed: int) -> Batch:
    """Return nodes of four communities, (240, 12), by four noisy indicators and eight features of noise, and labels."""
    generator = Generator().manual_seed(seed)
    y = torch.arange(240) % 4
    x = F.one_hot(y, 4) + 1.5 * torch.randn(240, 4, generator=generator)
    return torch.cat([x, torch.randn(240, 8, generator=generator)], 1), y


def edges(y: Tensor, inside: float, outside: float, seed: int) -> Tensor:
    """Return an adjacency matrix with one probability of an edge within classes and another between them."""
    odds = torch.where(y[:, None] == y, inside, outside)
    upper = (torch.rand(len(y), len(y), generator=Generator().manual_seed(seed)) < odds).float().triu(1)
    return upper + upper.T


def graph(seed: int) -> Problem:
    """Return a run that classifies all nodes of a graph at once."""
    x, y = communities(seed)
    model = networks.MessagePassing(edges(y, 0.1, 0.02, seed), 12, 24, 4)
    return finite(model, F.cross_entropy, (x, y), len(x), adam(3e-3, decay=1e-2), trivial=entropy(y))


def oscillator(seed: int) -> Problem:
    """Return a run that learns a damped oscillation from its differential equation alone."""

    def sample(count: int, generator: Generator) -> Batch:
        return 3 * torch.rand(count, 1, generator=generator), torch.zeros(count, 1)

    model = networks.Oscillator(mlp(1, 24, 24, 1, activation="tanh"))
    return endless(model, F.mse_loss, sample, 32, adam(2e-3), floor=0.0)


def denoiser(seed: int) -> Problem:
    """Return a run that predicts the noise that was added to points at eight places; most of it cannot be known."""

    def sample(count: int, generator: Generator) -> Batch:
        angle = torch.randint(0, 8, (count, 1), generator=generator) * math.pi / 4
        point = 2 * torch.cat([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(count, 2, generator=generator)
        share = torch.rand(count, 1, generator=generator)
        noise = torch.randn(count, 2, generator=generator)
        return torch.cat([share.sqrt() * point + (1 - share).sqrt() * noise, share], 1), noise

    model = mlp(3, 48, 48, 2, activation="gelu")
    return endless(model, F.mse_loss, sample, 64, adam(2e-3), evaluation_samples=4096, trivial=1.0, clip=1.0)


def forecaster(seed: int) -> Problem:
    """Return a run in which convolutions forecast an autoregressive series, with two batches in each step."""

    def sample(count: int, generator: Generator) -> Batch:
        noise = torch.randn(count, 64, generator=generator)
        series = [noise[:, 0], noise[:, 1]]
        for now in noise.unbind(1)[2:]:
            series.append(1.4 * series[-1] - 0.6 * series[-2] + now)
        x = torch.stack(series[20:], 1)[:, None]
        return x[..., :-1], x[..., 1:]

    model = networks.CausalConvolutions(16)
    return endless(model, F.mse_loss, sample, 4, adam(5e-3), evaluation_samples=256, trivial=7.4, accumulate=2)


def segmentation(seed: int) -> Problem:
    """Return a run that marks the ink in noisy images, with warm restarts."""
    images = digit_images()[0]
    noisy = images + 0.7 * torch.randn(images.shape, generator=Generator().manual_seed(seed))
    ink = (images > 0).float()
    model = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.SiLU(), nn.Conv2d(12, 1, 3, padding=1))
    return finite(
        model,
        F.binary_cross_entropy_with_logits,
        (noisy, ink),
        16,
        sgd(0.2, 0.9),
        trivial=math.log(2),
        schedule=lambda step: cosine(300)(step % 300),
    )


def counting(seed: int) -> Problem:
    """Return a run that counts the spots in an image by convolutions with GroupNorm."""

    def sample(count: int, generator: Generator) -> Batch:
        number = torch.randint(0, 6, (count, 1), generator=generator)
        order = torch.rand(count, 16, generator=generator).argsort(1)
        spots = (order < number).float().view(count, 1, 4, 4)
        x = F.interpolate(spots, scale_factor=2.0) + 0.3 * torch.randn(count, 1, 8, 8, generator=generator)
        return x, number.float()

    model = nn.Sequential(
        *(nn.Conv2d(1, 8, 2, stride=2), nn.GroupNorm(2, 8), nn.ReLU()),
        *(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(8, 1)),
    )
    return endless(model, F.mse_loss, sample, 8, nesterov(2e-3), trivial=2.9, clip=5.0)


def distillation(seed: int) -> Problem:
    """Return a run in which a network learns the softened outputs of a wider one."""
    teacher = mlp(16, 64, 8, activation="tanh")
    torch.nn.init.normal_(teacher[2].weight, std=0.8)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 16, generator=generator)
        with torch.no_grad():
            return x, torch.log_softmax(teacher(x) / 2, 1)

    def divergence(output: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(torch.log_softmax(output / 2, 1), target, reduction="batchmean", log_target=True)

    def schedule(step: int) -> float:
        return warm_up(200)(step) * cosine(2000)(step)

    return endless(mlp(16, 24, 8), divergence, sample, 64, adam(5e-3), schedule=schedule)


def adapters(seed: int) -> Problem:
    """Return a run of low-rank adapters that start at zero, on a frozen network that was trained on five digits."""
    x, y = digits()
    model = pretrained((20, 24, 10), (x[y < 5], y[y < 5]), 60)
    adapted = nn.Sequential(networks.Adapter(model[0], 4), nn.ReLU(), networks.Adapter(model[2], 4))
    return finite(adapted, F.cross_entropy, (x, y), 32, adam(1e-3), trivial=entropy(y))


def closer(output: Tensor, target: Tensor) -> Tensor:
    """Return the triplet loss: the first two samples should be closer, by a margin, than the first and the third."""
    return F.triplet_margin_loss(*output.unbind(1))


def triplets(seed: int, optimizer: MakesOptimizer | None = None) -> Problem:
    """Return a run that embeds digits so that equal digits lie close together."""
    x, y = digits()
    order, number = y.argsort(), torch.bincount(y)
    begin = number.cumsum(0) - number

    def sample(count: int, generator: Generator) -> Batch:
        first = torch.randint(0, 10, (count,), generator=generator)
        other = (first + torch.randint(1, 10, (count,), generator=generator)) % 10
        labels = torch.stack([first, first, other], 1)
        within = (torch.rand(count, 3, generator=generator) * number[labels]).long()
        return x[order[begin[labels] + within]], torch.zeros(count)

    return endless(mlp(20, 24, 6), closer, sample, 16, optimizer or adam(5e-4), trivial=1.0)


def brackets(count: int, generator: Generator) -> Batch:
    """Return nested brackets of three kinds, and the token after each, (count, 40) twice."""
    length, kinds = 41, 3
    opens = torch.rand(count, length, generator=generator)
    which = torch.randint(0, kinds, (count, length), generator=generator)
    rows = []
    for chance, kind in zip(opens.tolist(), which.tolist(), strict=True):
        row: list[int] = []
        pending: list[int] = []
        for c, k in zip(chance, kind, strict=True):
            if not pending or (c < 0.5 and len(pending) < 4):
                pending.append(k)
                row.append(k)
            else:
                row.append(kinds + pending.pop())
        rows.append(row)
    tokens = torch.tensor(rows)
    return tokens[:, :-1], tokens[:, 1:]


def on_brackets(model: nn.Module, optimizer: MakesOptimizer, **rest: object) -> Problem:
    """Return a run that predicts the next bracket; the kind of a closing bracket is certain."""
    return endless(model, F.cross_entropy, brackets, 16, optimizer, evaluation_samples=128, trivial=math.log(6), **rest)


def long_reading(seed: int) -> Problem:
    """Return a run of two transformer layers with a warm-up, a cosine schedule and clipping."""

    def schedule(step: int) -> float:
        return warm_up(150)(step) * cosine(1500)(step)

    return on_brackets(networks.Reader(6, 40, 32), adam(3e-3, decay=0.1), schedule=schedule, clip=1.0)


def long_looking(seed: int) -> Problem:
    """Return a run of a residual network on images, with label smoothing and a quadratic schedule."""
    x, y = digit_images()
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    model = networks.residual_net(16, 3)
    return finite(model, loss, (x, y), 64, sgd(0.02, 0.9, 5e-4), trivial=entropy(y), schedule=polynomial(1500, 2.0))


def temporal_difference(seed: int) -> Problem:
    """Return a run that learns the values of states on a circle, each from the value of the next state."""
    rewards = torch.randn(12, generator=Generator().manual_seed(seed))

    def sample(count: int, generator: Generator) -> Batch:
        before = torch.randint(0, 12, (count,), generator=generator)
        return torch.stack([before, (before + 1) % 12], 1), rewards[before]

    def error(output: Tensor, target: Tensor) -> Tensor:
        return ((output[:, 0] - target - output[:, 1]) ** 2).mean()

    return endless(networks.Values(12, 0.8), error, sample, 32, sgd(0.2), floor=0.0)
