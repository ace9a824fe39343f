"""The data of the runs: Python's standard library and scikit-learn's digits. Nothing is downloaded."""

from __future__ import annotations

import math
import sysconfig
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor]

CHARACTERS = 128
"""size of the vocabulary; all characters beyond ASCII are the last one"""


class Batches(Dataset[Any]):
    """One batch for each step of a run; a batch depends only on its index, so that two runs can have the same."""

    def __init__(self, steps: int, draw: Callable[[Generator, int], Batch], seed: int = 0) -> None:
        self.steps, self.draw, self.seed = steps, draw, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self.steps:
            raise IndexError(index)
        return self.draw(Generator().manual_seed(1_000_003 * self.seed + index), index)


@cache
def source_code() -> tuple[Tensor, Tensor]:
    """Return the characters (n,) of the standard library's top-level modules, and those of the last tenth of them."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    text = b"\n".join(file.read_bytes() for file in files)
    characters = torch.frombuffer(bytearray(text), dtype=torch.uint8).clamp(max=CHARACTERS - 1)
    held_out = len(characters) // 10
    return characters[:-held_out], characters[-held_out:]


def passages(text: Tensor, count: int, length: int, generator: Generator) -> Batch:
    """Return passages of the text, (count, length), and the characters that follow each of theirs, (count, length)."""
    starts = torch.randint(len(text) - length, (count, 1), generator=generator)
    drawn = text[starts + torch.arange(length + 1)].long()
    return drawn[:, :-1].contiguous(), drawn[:, 1:].contiguous()


@cache
def digits() -> tuple[Tensor, Tensor]:
    """Return 1797 handwritten digits, (1797, 1, 8, 8), with pixels from -1 to 1, and their labels, (1797,)."""
    data = load_digits()
    order = torch.randperm(len(data.target), generator=Generator().manual_seed(0))
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    return images[order], torch.tensor(data.target)[order]


HELD_OUT_DIGITS = 300
"""number of digits, the last ones, that no run is trained on"""


def augmented_digits(
    count: int, size: int, generator: Generator, noise: float = 0.0, *, held_out: bool = False
) -> Batch:
    """Return digits that are enlarged, turned, scaled and moved at random, and their labels.

    Args:
        count: number of images.
        size: height and width of an image.
        generator: of all random numbers.
        noise: standard deviation of Gaussian noise on the pixels.
        held_out: whether the digits are those that no run is trained on.

    Returns:
        The images, (count, 1, size, size), and the labels, (count,).
    """
    images, labels = digits()
    known = len(labels) - HELD_OUT_DIGITS
    chosen = torch.randint(HELD_OUT_DIGITS if held_out else known, (count,), generator=generator)
    chosen = chosen + known if held_out else chosen
    angle, scale, right, down = (torch.rand(4, count, generator=generator) * 2 - 1).unbind()
    angle, scale = angle * math.radians(20), 1 + 0.15 * scale
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).view(count, 2, 2)
    moves = torch.cat([turn / scale.view(-1, 1, 1), 0.15 * torch.stack([right, down], -1).unsqueeze(-1)], -1)
    grid = F.affine_grid(moves, [count, 1, size, size], align_corners=False)
    drawn = F.grid_sample(images[chosen], grid, padding_mode="border", align_corners=False)
    if noise:
        drawn = drawn + noise * torch.randn(drawn.shape, generator=generator)
    return drawn, labels[chosen]
