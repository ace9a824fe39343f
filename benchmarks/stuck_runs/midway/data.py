"""Data of the split `midway`: text, sequences, pictures, preferences and graphs; nothing is downloaded."""

from __future__ import annotations

import importlib
import inspect
import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.stuck_runs.data import Sample, digit_images, digits
from benchmarks.stuck_runs.problem import Batch

ALPHABET = "\n abcdefghijklmnopqrstuvwxyz0123456789.,:()[]=_'#"
MODULES = ("textwrap", "heapq", "bisect", "fnmatch", "shlex", "colorsys", "string", "fractions")


@cache
def library_text() -> Tensor:
    """Return sources of the standard library in lower case as indices into `ALPHABET`, (characters,)."""
    sources = "".join(inspect.getsource(importlib.import_module(name)) for name in MODULES).lower()
    return torch.tensor([ALPHABET.index(character) for character in sources if character in ALPHABET])


def windows(series: Tensor, length: int) -> Sample:
    """Return a function that draws windows of tokens, (samples, length), and the tokens after each of their tokens."""

    def sample(count: int, generator: Generator) -> Batch:
        starts = torch.randint(0, len(series) - length, (count, 1), generator=generator)
        places = starts + torch.arange(length)
        return series[places], series[places + 1]

    return sample


@cache
def grammar(tokens: int = 12) -> tuple[Tensor, float, float]:
    """Return the transition matrix of a Markov chain, its entropy rate, and the entropy of its tokens, in nats."""
    logits = 2.0 * torch.randn(tokens, tokens, generator=Generator().manual_seed(77))
    transitions = logits.double().softmax(1)
    shares = torch.linalg.matrix_power(transitions, 200)[0]
    rate = float((shares[:, None] * torch.special.entr(transitions)).sum())
    return transitions.float(), rate, float(torch.special.entr(shares).sum())


def sentences(length: int) -> Sample:
    """Return a function that draws sequences of the grammar, (samples, length), and the token after each token."""
    transitions, _, _ = grammar()
    shares = torch.linalg.matrix_power(transitions, 200)[0]

    def sample(count: int, generator: Generator) -> Batch:
        tokens = [torch.multinomial(shares, count, replacement=True, generator=generator)]
        for _ in range(length):
            tokens.append(torch.multinomial(transitions[tokens[-1]], 1, generator=generator)[:, 0])
        sequence = torch.stack(tokens, 1)
        return sequence[:, :-1], sequence[:, 1:]

    return sample


@cache
def oscillation(steps: int = 20_000, noise: float = 0.1) -> Tensor:
    """Return a damped oscillation that is kept alive by noise, x(t) = 1.6 x(t-1) - 0.8 x(t-2) + noise, (steps,)."""
    shocks = noise * torch.randn(steps, generator=Generator().manual_seed(5))
    values = [0.0, 0.0]
    for shock in shocks.tolist():
        values.append(1.6 * values[-1] - 0.8 * values[-2] + shock)
    return torch.tensor(values[2:])


def forecasts(length: int = 16) -> Sample:
    """Return a function that draws windows of the oscillation, (samples, length, 1), and the next values."""
    series = oscillation()

    def sample(count: int, generator: Generator) -> Batch:
        starts = torch.randint(0, len(series) - length, (count, 1), generator=generator)
        return series[starts + torch.arange(length)][..., None], series[starts + length]

    return sample


def discs(size: int, noise: float = 0.4) -> Sample:
    """Return a function that draws noisy pictures of a disc, (samples, 1, size, size), and its pixels as 0 and 1."""
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")

    def sample(count: int, generator: Generator) -> Batch:
        centre = size * (0.25 + 0.5 * torch.rand(count, 2, 1, 1, generator=generator))
        radius = size * (0.12 + 0.16 * torch.rand(count, 1, 1, generator=generator))
        inside = (row - centre[:, 0]) ** 2 + (column - centre[:, 1]) ** 2 < radius**2
        masks = inside.float()[:, None]
        return masks + noise * torch.randn(masks.shape, generator=generator), masks

    return sample


@cache
def large_digits(size: int = 24) -> Batch:
    """Return the digits enlarged to (1400, 1, size, size), and their labels, (1400,)."""
    images, labels = digit_images()
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False), labels


def preferences(people: int = 30, items: int = 30) -> tuple[Sample, float]:
    """Return a function that draws people, the item that each prefers, and the other one; and the lowest loss."""
    generator = Generator().manual_seed(11)
    scores = torch.randn(people, 2, generator=generator) @ torch.randn(2, items, generator=generator) * 1.5
    chance = torch.sigmoid(scores[:, :, None] - scores[:, None, :])
    floor = float((torch.special.entr(chance) + torch.special.entr(1 - chance)).mean())

    def sample(count: int, generator: Generator) -> Batch:
        person = torch.randint(0, people, (count,), generator=generator)
        first, second = torch.randint(0, items, (2, count), generator=generator)
        wins = torch.rand(count, generator=generator) < chance[person, first, second]
        liked, other = torch.where(wins, first, second), torch.where(wins, second, first)
        return torch.stack([person, liked, other], 1), torch.zeros(count)

    return sample, floor


@cache
def citations() -> tuple[Tensor, Batch]:
    """Return the normalised adjacency of a graph of three communities, and features (120, 16) and labels (120,)."""
    generator = Generator().manual_seed(3)
    labels = torch.arange(120) % 3
    chance = torch.where(labels[:, None] == labels, 0.12, 0.03)
    upper = torch.triu((torch.rand(120, 120, generator=generator) < chance).float(), 1)
    linked = upper + upper.T + torch.eye(120)
    degrees = linked.sum(1)
    features = torch.randn(120, 16, generator=generator)
    features[:, :3] += 0.7 * F.one_hot(labels, 3)
    return linked / (degrees[:, None] * degrees).sqrt(), (features, labels)


def friedman(noise: float = 0.2) -> Sample:
    """Return a function that draws the function of Friedman of ten columns, divided by five, and with noise."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.rand(count, 10, generator=generator)
        wave = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2
        y = (wave + 10 * x[:, 3] + 5 * x[:, 4] - 14.4) / 5
        return 2 * x - 1, (y + noise * torch.randn(count, generator=generator))[:, None]

    return sample


FRIEDMAN_VARIANCE = 0.95
"""variance of the function of Friedman divided by five"""


def triplets() -> Sample:
    """Return a function that draws digits, others of the same class, and others of another class, (samples, 3, 20)."""
    x, y = digits()
    members = [torch.nonzero(y == label)[:, 0] for label in range(10)]

    def pick(labels: Tensor, generator: Generator) -> Tensor:
        draws = torch.rand(len(labels), generator=generator)
        chosen = [members[label][int(draw * len(members[label]))] for label, draw in zip(labels, draws, strict=True)]
        return x[torch.stack(chosen)]

    def sample(count: int, generator: Generator) -> Batch:
        labels = torch.randint(0, 10, (count,), generator=generator)
        others = (labels + torch.randint(1, 10, (count,), generator=generator)) % 10
        drawn = [pick(chosen, generator) for chosen in (labels, labels, others)]
        return torch.stack(drawn, 1), torch.zeros(count)

    return sample


def two_branches(noise: float = 0.1) -> Sample:
    """Return a function that draws x in [-1, 1] and y on one of two branches, ±(0.5 + x²), with noise."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 2 * torch.rand(count, 1, generator=generator) - 1
        sign = 2.0 * torch.randint(0, 2, (count, 1), generator=generator) - 1
        return x, sign * (0.5 + x**2) + noise * torch.randn(count, 1, generator=generator)

    return sample


def two_targets(count: int, generator: Generator) -> Batch:
    """Draw six columns, and one target that is linear in them beside another that is not, with noise."""
    x = torch.randn(count, 6, generator=generator)
    y = torch.stack([2 * x[:, 0] - x[:, 1], torch.sin(2 * x[:, 2]) + x[:, 3].abs()], 1)
    return x, y + 0.2 * torch.randn(y.shape, generator=generator)
