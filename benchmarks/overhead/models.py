"""The networks whose training is timed, with data that they learn, so that nothing is ever stuck, or cannot learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.networks import Block, images, sequences

Batches = Sequence[tuple[Tensor, Tensor]]


class Module(L.LightningModule):
    """Any network under cross-entropy and AdamW."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.criterion = net, nn.CrossEntropyLoss()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy of one batch."""
        return self.criterion(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW at 1e-3."""
        return torch.optim.AdamW(self.parameters(), 1e-3)


class Residual(nn.Module):
    """One layer beside the identity, so that a deep chain of them learns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + 0.2 * F.relu(self.layer(x))


class Language(nn.Module):
    """A causal transformer over 64 tokens."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, width)
        self.blocks = nn.Sequential(*(Block(width, 8) for _ in range(layers)))
        self.head = nn.Linear(width, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits (samples x tokens, 64)."""
        return self.head(self.blocks(self.embedding(tokens))).flatten(0, 1)


class Model(NamedTuple):
    """A network, its batches, and how long it is timed."""

    name: str
    build: Callable[[], L.LightningModule]
    batches: Callable[[int], Batches]
    """of a size"""
    sizes: tuple[int, ...]
    turn: int
    """steps of one turn"""
    turns: int
    minute: int
    """steps that take about a minute on one core"""

    def made(self) -> L.LightningModule:
        """The same weights at every call."""
        torch.manual_seed(0)
        return self.build()


def chain(width: int, inputs: int = 16) -> nn.Module:
    """Three layers: 6 tensors."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def residual(layers: int, width: int = 64) -> nn.Module:
    """2 tensors a layer."""
    return nn.Sequential(*(Residual(width) for _ in range(layers - 1)), nn.Linear(width, 10))


def convolutional() -> nn.Module:
    """About a million parameters on 28x28 images."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 49, 312), nn.ReLU(), nn.Linear(312, 10)),
    )


def clusters(width: int) -> Callable[[int], Batches]:
    """Ten clouds of points that a network tells apart within a few hundred steps."""

    def batches(size: int) -> Batches:
        generator = torch.Generator().manual_seed(0)
        centres = 1.5 * torch.randn(10, width, generator=generator)
        labels = torch.randint(0, 10, (32, size), generator=generator)
        return [(centres[y] + torch.randn(size, width, generator=generator), y) for y in labels]

    return batches


def unlearnable(batches: Batches) -> Batches:
    """The same inputs, with labels that they say nothing about, drawn anew for a thousand batches."""
    generator = torch.Generator().manual_seed(1)
    most = 1 + max(int(y.max()) for _, y in batches)
    chosen = [batches[i % len(batches)] for i in range(1000)]
    return [(x, torch.randint(0, most, y.shape, generator=generator)) for x, y in chosen]


MODELS = (
    Model("tiny MLP", lambda: Module(chain(32)), clusters(16), (64, 512), 100, 41, 100_000),
    Model("68 tensors", lambda: Module(residual(34)), clusters(64), (64, 512), 50, 21, 15_000),
    Model("conv net", lambda: Module(convolutional()), lambda n: images(32 * n, n), (16, 64), 20, 21, 4_000),
    Model("transformer", lambda: Module(Language(320, 8)), lambda n: sequences(8 * n, n), (4, 16), 10, 9, 500),
)
