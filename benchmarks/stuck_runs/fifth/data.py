"""Data of the split `fifth`: tables, digits, words, sets, time series and mechanics; nothing is downloaded."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections import Counter
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from benchmarks.stuck_runs.data import Sample, digit_images
from benchmarks.stuck_runs.problem import Batch

SOURCES = ("argparse", "tarfile", "statistics", "calendar")
WORDS = 160
"""size of the vocabulary, with 0 for words out of it and 1 for a mask"""


@cache
def source_words() -> tuple[Tensor, ...]:
    """Return the words and signs of a few modules of the standard library as indices, one tensor for each module."""
    texts = [re.findall(r"\w+|[^\w\s]", inspect.getsource(importlib.import_module(name))) for name in SOURCES]
    counts = Counter(word for text in texts for word in text)
    common = sorted(counts, key=lambda word: (-counts[word], word))[: WORDS - 2]
    numbers = {word: number for number, word in enumerate(common, 2)}
    return tuple(torch.tensor([numbers.get(word, 0) for word in text]) for text in texts)


def passages(length: int) -> Sample:
    """Return a function that draws passages of words, (samples, length), and the number of their module."""
    texts = source_words()

    def sample(count: int, generator: Generator) -> Batch:
        labels = torch.randint(0, len(texts), (count,), generator=generator)
        shares = torch.rand(count, generator=generator)
        starts = [int(share * (len(texts[label]) - length)) for share, label in zip(shares, labels, strict=True)]
        rows = [texts[label][start : start + length] for start, label in zip(starts, labels, strict=True)]
        return torch.stack(rows), labels

    return sample


def masked_passages(length: int, share: float = 0.15) -> Sample:
    """Return a function that draws passages with masked words, and these words with -100 at all other places."""
    whole = passages(length)

    def sample(count: int, generator: Generator) -> Batch:
        words, _ = whole(count, generator)
        masked = torch.rand(words.shape, generator=generator) < share
        return words.masked_fill(masked, 1), words.masked_fill(~masked, -100)

    return sample


def neighbouring_words(others: int = 4, window: int = 3) -> Sample:
    """Return a function that draws a word, a word near it, and a few other words, (samples, 2 + others)."""
    text = torch.cat(source_words())

    def sample(count: int, generator: Generator) -> Batch:
        places = torch.randint(window, len(text) - window, (count,), generator=generator)
        offsets = torch.randint(1, window + 1, (count,), generator=generator)
        signs = 2 * torch.randint(0, 2, (count,), generator=generator) - 1
        wrong = text[torch.randint(0, len(text), (count, others), generator=generator)]
        near = torch.stack([text[places], text[places + signs * offsets]], 1)
        return torch.cat([near, wrong], 1), torch.zeros(count)

    return sample


@cache
def turned_digits() -> Batch:
    """Return images of digits, (5600, 1, 8, 8), each turned by 0, 90, 180 and 270 degrees, and the turn, 0 to 3."""
    images, _ = digit_images()
    turned = torch.cat([torch.rot90(images, quarter, (2, 3)) for quarter in range(4)])
    return turned, torch.arange(4).repeat_interleave(len(images))


def shifted_digits(pixels: int = 16) -> Sample:
    """Return a function that draws digits at random places of larger noisy images, and their labels."""
    images, labels = digit_images()
    images = F.interpolate(images, size=10, mode="bilinear")

    def sample(count: int, generator: Generator) -> Batch:
        chosen = torch.randint(0, len(labels), (count,), generator=generator)
        places = torch.randint(0, pixels - 9, (count, 2), generator=generator)
        x = 0.3 * torch.randn(count, 1, pixels, pixels, generator=generator)
        for image, index, (row, column) in zip(x, chosen, places, strict=True):
            image[:, row : row + 10, column : column + 10] += images[index]
        return x, labels[chosen]

    return sample


def point_sets(points: int = 16) -> Sample:
    """Return a function that draws points of a circle, a square or a cross, (samples, points, 2), and the shape."""

    def sample(count: int, generator: Generator) -> Batch:
        labels = torch.randint(0, 3, (count,), generator=generator)
        u = 2 * torch.rand(count, points, generator=generator) - 1
        side = torch.randint(0, 2, (count, points), generator=generator)
        other = 2.0 * torch.randint(0, 2, (count, points), generator=generator) - 1
        circle = torch.stack([torch.cos(math.pi * u), torch.sin(math.pi * u)], 2)
        along = torch.stack([u, 0.8 * other], 2)
        square = torch.where(side[:, :, None] == 0, along, along.flip(2))
        line = torch.stack([u, torch.zeros_like(u)], 2)
        cross = torch.where(side[:, :, None] == 0, line, line.flip(2))
        x = torch.stack([circle, square, cross], 1)[torch.arange(count), labels]
        return x + 0.1 * torch.randn(x.shape, generator=generator), labels

    return sample


def measured_levels(points: int = 12) -> Sample:
    """Return a function that draws noisy readings of a level, (samples, points), and the level, (samples, 1)."""

    def sample(count: int, generator: Generator) -> Batch:
        level = torch.randn(count, 1, generator=generator)
        return level + 0.8 * torch.randn(count, points, generator=generator), level

    return sample


def seasons(length: int = 24, noise: float = 0.15) -> Sample:
    """Return a function that draws two overlaid seasons with noise, (samples, 1, length), and the next value."""

    def sample(count: int, generator: Generator) -> Batch:
        phases = 2 * math.pi * torch.rand(count, 2, 1, generator=generator)
        times = torch.arange(length + 1)
        waves = torch.sin(2 * math.pi * times / torch.tensor([[12.0], [7.0]]) + phases)
        y = waves[:, 0] + 0.6 * waves[:, 1] + noise * torch.randn(count, length + 1, generator=generator)
        return y[:, None, :-1], y[:, -1:]

    return sample


def survival(inputs: int = 8) -> Sample:
    """Return a function that draws patients, (samples, inputs), and their times and whether these are deaths."""
    weights = torch.tensor([0.9, -0.7, 0.5, 0.4, 0.0, 0.0, -0.3, 0.0])

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, inputs, generator=generator)
        death = -torch.log(torch.rand(count, generator=generator)) * torch.exp(-(x @ weights))
        end = -2 * torch.log(torch.rand(count, generator=generator))
        return x, torch.stack([torch.minimum(death, end), (death <= end).float()], 1)

    return sample


CATEGORIES = (40, 15, 8)


@cache
def clicks() -> tuple[Sample, float, float]:
    """Return a function that draws three categories and two numbers with a click or none, and two losses.

    The losses are the lowest one, and that of a constant.
    """
    generator = Generator().manual_seed(12)
    effects = [0.9 * torch.randn(size, generator=generator) for size in CATEGORIES]

    def chances(x: Tensor) -> Tensor:
        logit = sum(effect[x[:, i].long()] for i, effect in enumerate(effects)) + x[:, 3] - 0.7 * x[:, 4].abs()
        return torch.sigmoid(logit - 1)

    def sample(count: int, generator: Generator) -> Batch:
        columns = [torch.randint(0, size, (count,), generator=generator).float() for size in CATEGORIES]
        x = torch.stack([*columns, *torch.randn(2, count, generator=generator)], 1)
        return x, (torch.rand(count, generator=generator) < chances(x)).float()[:, None]

    p = chances(sample(50_000, generator)[0]).double()
    floor = float((torch.special.entr(p) + torch.special.entr(1 - p)).mean())
    return sample, floor, float(torch.special.entr(p.mean()) + torch.special.entr(1 - p.mean()))


@cache
def ratings(noise: float = 0.3) -> tuple[Sample, float]:
    """Return a function that draws people and films, (samples, 2), with ratings (samples, 1), and their variance."""
    generator = Generator().manual_seed(21)
    people, films = (torch.randn(size, 3, generator=generator) for size in (40, 30))
    table = 0.5 * people @ films.T + 0.4 * torch.randn(30, generator=generator)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.stack([torch.randint(0, size, (count,), generator=generator) for size in (40, 30)], 1)
        y = table[x[:, 0], x[:, 1]] + noise * torch.randn(count, generator=generator)
        return x, y[:, None]

    return sample, float(table.var()) + noise**2


def crossed_columns(inputs: int = 8, cross: float = 1.5, noise: float = 0.2) -> Sample:
    """Return a function that draws columns, and a target with a linear part and products of columns."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, inputs, generator=generator)
        products = x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3]
        y = x[:, 4] - x[:, 5] + 0.5 * x[:, 0] + cross * products
        return x, (y + noise * torch.randn(count, generator=generator))[:, None]

    return sample


def moons(scale: float = 1.0, noise: float = 0.08) -> Sample:
    """Return a function that draws points of two moons, (samples, 2), and the moon."""

    def sample(count: int, generator: Generator) -> Batch:
        moon = torch.randint(0, 2, (count,), generator=generator)
        angle = math.pi * torch.rand(count, generator=generator)
        sign = 1.0 - 2 * moon
        x = torch.stack([torch.cos(angle) * sign + moon - 0.5, torch.sin(angle) * sign + 0.5 * moon - 0.25], 1)
        return scale * (x + noise * torch.randn(count, 2, generator=generator)), moon

    return sample


def arm_positions(count: int, generator: Generator) -> Batch:
    """Draw the position of the hand of an arm with two joints, (samples, 2), and the angles of the joints."""
    shoulder = math.pi * (torch.rand(count, generator=generator) - 0.5)
    elbow = (
        1.2
        * (2.0 * torch.randint(0, 2, (count,), generator=generator) - 1)
        * (0.5 + torch.rand(count, generator=generator))
    )
    hand = torch.stack([shoulder.cos() + (shoulder + elbow).cos(), shoulder.sin() + (shoulder + elbow).sin()], 1)
    return hand, torch.stack([shoulder, elbow], 1) + 0.05 * torch.randn(count, 2, generator=generator)


def recalled_values(pairs: int = 6, keys: int = 8) -> Sample:
    """Return a function that draws pairs of keys and values with a key that is asked for, and the value of this key.

    Each row has the keys, (pairs), the values, (pairs), and the key, all of them below `keys`.
    """

    def sample(count: int, generator: Generator) -> Batch:
        chosen = torch.rand(count, keys, generator=generator).argsort(1)[:, :pairs]
        values = torch.randint(0, keys, (count, pairs), generator=generator)
        asked = torch.randint(0, pairs, (count, 1), generator=generator)
        return torch.cat([chosen, values, chosen.gather(1, asked)], 1), values.gather(1, asked)[:, 0]

    return sample


def hunters_and_prey(flow: Callable[[Tensor], Tensor], steps: int, dt: float) -> Sample:
    """Return a function that draws numbers of prey and hunters, (samples, 2), and what becomes of them."""

    def sample(count: int, generator: Generator) -> Batch:
        start = 0.5 + torch.rand(count, 2, generator=generator)
        states = [start]
        for _ in range(steps):
            states.append(states[-1] + dt * flow(states[-1]))
        return start, torch.stack(states[1:], 1)

    return sample
