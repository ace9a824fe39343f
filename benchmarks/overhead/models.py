"""Networks whose training is timed, with data that they can learn and data that they cannot learn."""

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
    """A network trained by cross-entropy and AdamW."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.criterion = net, nn.CrossEntropyLoss()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the cross-entropy of one batch."""
        return self.criterion(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW at a learning rate of 1e-3."""
        return torch.optim.AdamW(self.parameters(), 1e-3)


class Residual(nn.Module):
    """A layer with a skip connection, so that a deep chain of them learns."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return x + 0.2 * F.relu(self.layer(x))


class Language(nn.Module):
    """A causal transformer with a vocabulary of 64 tokens."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, width)
        self.blocks = nn.Sequential(*(Block(width, 8) for _ in range(layers)))
        self.head = nn.Linear(width, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (samples x tokens, 64)."""
        return self.head(self.blocks(self.embedding(tokens))).flatten(0, 1)


class Model(NamedTuple):
    """A network, its batches, and the number of steps for which it is timed."""

    name: str
    build: Callable[[], L.LightningModule]
    batches: Callable[[int], Batches]
    """makes the batches for a batch size"""
    sizes: tuple[int, ...]
    """batch sizes"""
    turn: int
    """steps in a turn"""
    turns: int
    steps_per_minute: int
    """rough, on one core"""

    def build_seeded(self) -> L.LightningModule:
        """Return a module with the same weights at every call."""
        torch.manual_seed(0)
        return self.build()


def chain(width: int, inputs: int = 16) -> nn.Module:
    """Return a network of three layers, which have 6 parameter tensors."""
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def residual(layers: int, width: int = 64) -> nn.Module:
    """Return a residual network with 2 parameter tensors in each layer."""
    return nn.Sequential(*(Residual(width) for _ in range(layers - 1)), nn.Linear(width, 10))


def convolutional() -> nn.Module:
    """Return a convolutional network of about a million parameters for 28x28 images."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 49, 312), nn.ReLU(), nn.Linear(312, 10)),
    )


def clusters(width: int) -> Callable[[int], Batches]:
    """Return a function that makes batches of ten Gaussian clusters, which a network learns in a few hundred steps."""

    def batches(size: int) -> Batches:
        generator = torch.Generator().manual_seed(0)
        centres = 1.5 * torch.randn(10, width, generator=generator)
        labels = torch.randint(0, 10, (32, size), generator=generator)
        return [(centres[y] + torch.randn(size, width, generator=generator), y) for y in labels]

    return batches


def unlearnable(batches: Batches) -> Batches:
    """Return a thousand batches of the same inputs with random labels, which are drawn again for each batch."""
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
