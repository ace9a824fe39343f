"""Networks with synthetic data on which curvature tools are compared; every call builds them from the same seeds."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Data = list[tuple[Tensor, Tensor]]


class ConvNet(nn.Module):
    """A convolutional network of 105,866 parameters, whose Hessian exists except at ties of max-pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.hidden = nn.Linear(32 * 49, 64)
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (samples, 10)."""
        x = F.max_pool2d(F.gelu(self.first(x)), 2)
        x = F.max_pool2d(F.gelu(self.second(x)), 2)
        return self.out(F.gelu(self.hidden(x.flatten(1))))


class Block(nn.Module):
    """One pre-norm transformer layer with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return hidden states of the shape of `x`, (samples, tokens, width)."""
        samples, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(samples, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*qkv, is_causal=True)
        x = x + self.proj(attended.transpose(1, 2).reshape(samples, tokens, width))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A causal transformer of four layers and 813,888 parameters, for sequences of 32 tokens out of 64."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(64, 128)
        self.position = nn.Parameter(torch.randn(32, 128) * 0.02)
        self.blocks = nn.Sequential(*(Block(128, 4) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(128), nn.Linear(128, 64)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, (samples x tokens, 64)."""
        return self.head(self.norm(self.blocks(self.embedding(tokens) + self.position))).flatten(0, 1)


def images(count: int, batch_size: int) -> Data:
    """Return batches of noisy copies of ten random prototypes, (batch_size, 1, 28, 28), and their labels."""
    generator = torch.Generator().manual_seed(0)
    prototypes = F.interpolate(torch.randn(10, 1, 7, 7, generator=generator), size=28, mode="bilinear")
    labels = torch.randint(0, 10, (count,), generator=generator)
    pixels = prototypes[labels] + 1.5 * torch.randn(count, 1, 28, 28, generator=generator)
    return list(zip(pixels.split(batch_size), labels.split(batch_size), strict=True))


def sequences(count: int, batch_size: int) -> Data:
    """Return batches of progressions modulo 64, with a tenth of the tokens random, and the next tokens as labels."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randint(0, 64, (count, 1), generator=generator)
    stride = torch.randint(1, 5, (count, 1), generator=generator)
    tokens = (start + stride * torch.arange(33)) % 64
    noisy = torch.rand(tokens.shape, generator=generator) < 0.1
    tokens = torch.where(noisy, torch.randint(0, 64, tokens.shape, generator=generator), tokens)
    return [(part[:, :-1].contiguous(), part[:, 1:].reshape(-1)) for part in tokens.split(batch_size)]


def trained(model: nn.Module, data: Data, steps: int) -> nn.Module:
    """Train the model for this many steps of Adam, and return it."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        inputs, labels = data[step % len(data)]
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return model


def conv_net() -> tuple[nn.Module, Data]:
    """Return the convolutional network after 8 steps of Adam, and the two batches of 64 images it was trained on."""
    torch.manual_seed(0)
    data = images(128, 64)
    return trained(ConvNet(), data, 8), data


def transformer() -> tuple[nn.Module, Data]:
    """Return the transformer after 20 steps of Adam, and the two batches of 8 sequences it was trained on."""
    torch.manual_seed(0)
    data = sequences(16, 8)
    return trained(Transformer(), data, 20), data


class TinyConvNet(nn.Module):
    """A convolutional network of 1,790 parameters, small enough to compute every eigenvalue."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, stride=2, padding=1)
        self.second = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.out = nn.Linear(8 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (samples, 10)."""
        x = torch.tanh(self.second(torch.tanh(self.first(x))))
        return self.out(F.adaptive_avg_pool2d(x, 4).flatten(1))


def tiny_conv_net() -> tuple[nn.Module, Data]:
    """Return the tiny network after 60 steps of Adam, and the two batches of 64 images it was trained on."""
    torch.manual_seed(0)
    data = images(128, 64)
    return trained(TinyConvNet(), data, 60), data
