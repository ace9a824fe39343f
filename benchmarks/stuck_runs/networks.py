"""Small networks of the configurations, and the initialisations that decide whether they learn."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
    "gelu": nn.GELU,
}
Init = Callable[[nn.Linear], object]


def normal(deviation: float) -> Init:
    """Return a function that draws the weights of a layer from N(0, deviation²)."""
    return lambda layer: nn.init.normal_(layer.weight, std=deviation)


def scaled(gain: float) -> Init:
    """Return a function that draws the weights of a layer from N(0, gain²/inputs)."""
    return lambda layer: nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.in_features))


def constant(value: float) -> Init:
    """Return a function that sets all weights of a layer to this value."""
    return lambda layer: nn.init.constant_(layer.weight, value)


def mlp(
    *widths: int, activation: str = "relu", init: Init | None = None, bias: bool = True, dropout: float = 0.0
) -> nn.Sequential:
    """Return a fully connected network; with `init`, its biases start at zero."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs, bias=bias)
        if init is not None:
            init(layer)
            if bias:
                nn.init.zeros_(layer.bias)
        layers += [layer, ACTIVATIONS[activation](), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers[: -2 if dropout else -1])


def factorised(size: int, rank: int, deviation: float) -> nn.Sequential:
    """Return x ↦ xUV with small factors U and V, near the saddle point at the origin."""
    return mlp(size, rank, size, activation="linear", init=normal(deviation), bias=False)


class CausalAttention(nn.Module):
    """Layers of causal attention by operations of which each can be differentiated twice."""

    def __init__(self, tokens: int, length: int, width: int, layers: int = 1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.08)
        self.qkv = nn.ModuleList([nn.Linear(width, 3 * width, bias=False) for _ in range(layers)])
        self.out = nn.ModuleList([nn.Linear(width, width, bias=False) for _ in range(layers)])
        self.head = nn.Linear(width, tokens)
        nn.init.normal_(self.embedding.weight, std=0.32)
        self.register_buffer("mask", torch.triu(torch.full((length, length), -1e4), 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (samples, tokens, length), as `cross_entropy` needs them, for tokens (samples, length)."""
        h = self.embedding(x) + self.position
        for qkv, out in zip(self.qkv, self.out, strict=True):
            q, k, v = qkv(h).chunk(3, -1)
            weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]) + self.mask, -1)
            h = h + out(weights @ v)
        return self.head(h).transpose(1, 2)


class Mixture(nn.Module):
    """Negative log-likelihood of points under unit Gaussians at learnt centres, up to a constant."""

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres)

    def forward(self, x: Tensor) -> Tensor:
        """Return the negative log-likelihoods, (samples,), of points (samples, dimensions)."""
        squares = ((x[:, None] - self.centres) ** 2).sum(-1)
        return -torch.logsumexp(-0.5 * squares, 1)


class CutOff(nn.Module):
    """A body whose features are detached and multiplied by zero, and a head; an example of a mistake in the code."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the head for features of zero."""
        return self.head(self.body(x).detach() * 0)


class Committee(nn.Module):
    """A soft committee machine: the sum of erf units."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sums, (samples, 1), for inputs (samples, inputs)."""
        return torch.erf(x @ self.weight / math.sqrt(2)).sum(1, keepdim=True)


class Recurrent(nn.Module):
    """A recurrent layer and a linear layer on its last output: (samples, length, 1) to (samples, 1)."""

    def __init__(self, layer: nn.Module, width: int) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions, (samples, 1)."""
        return self.head(self.layer(x)[0][:, -1])


class Square(nn.Module):
    """The function x ↦ (w·x)², which does not depend on the sign of w."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the squares, (samples, 1), of inputs (samples, inputs)."""
        return (x @ self.weight) ** 2


class Completion(nn.Module):
    """Entries of a low-rank matrix: rows and columns (samples, 2) to entries (samples, 1)."""

    def __init__(self, size: int, rank: int, deviation: float) -> None:
        super().__init__()
        self.rows, self.columns = nn.Embedding(size, rank), nn.Embedding(size, rank)
        for factor in (self.rows, self.columns):
            nn.init.normal_(factor.weight, std=deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner products of the embeddings, (samples, 1)."""
        return (self.rows(x[:, 0]) * self.columns(x[:, 1])).sum(1, keepdim=True)


class Wave(nn.Module):
    """The function x ↦ sin(wx + b)."""

    def __init__(self, frequency: float, phase: float = 0.0) -> None:
        super().__init__()
        self.frequency, self.phase = nn.Parameter(torch.tensor(frequency)), nn.Parameter(torch.tensor(phase))

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, in the shape of `x`."""
        return torch.sin(self.frequency * x + self.phase)
