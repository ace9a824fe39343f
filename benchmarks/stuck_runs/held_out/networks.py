"""Networks of the healthy held-out runs, and of some stuck ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import Block


class SkipGram(nn.Module):
    """Scores of words as neighbours of the first word of each row: (samples, 1 + words) to (samples, words)."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.central, self.beside = nn.Embedding(vocabulary, width), nn.Embedding(vocabulary, width)
        nn.init.normal_(self.central.weight, std=0.3)
        nn.init.normal_(self.beside.weight, std=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the inner products of the embeddings, (samples, words)."""
        return (self.central(x[:, :1]) * self.beside(x[:, 1:])).sum(-1)


class MessagePassing(nn.Module):
    """Two rounds of averaging over neighbours, with dropout between: (nodes, features) to (nodes, classes)."""

    def __init__(self, edges: Tensor, features: int, width: int, classes: int) -> None:
        super().__init__()
        joined = edges + torch.eye(len(edges))
        self.register_buffer("average", joined / joined.sum(1, keepdim=True))
        self.first, self.second, self.dropout = nn.Linear(features, width), nn.Linear(width, classes), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (nodes, classes)."""
        return self.average @ self.second(self.dropout(torch.relu(self.average @ self.first(x))))


class Oscillator(nn.Module):
    """Residual of u'' + u'/2 + 4u = 0 for a network u with u(0) = 1 and u'(0) = 0: times (n, 1) to (n, 1)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual, (n, 1); its derivatives in time are computed under `no_grad` as well."""
        with torch.enable_grad():
            time = x.detach().requires_grad_()
            position = 1 + time**2 * self.body(time)
            (speed,) = torch.autograd.grad(position.sum(), time, create_graph=True)
            (acceleration,) = torch.autograd.grad(speed.sum(), time, create_graph=True)
            return acceleration + 0.5 * speed + 4 * position


class CausalConvolutions(nn.Module):
    """Dilated convolutions that see only the past: (samples, 1, length) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(1, width, 2, dilation=1), nn.Conv1d(width, width, 2, dilation=2)])
        self.head = nn.Conv1d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a forecast of the next value at each time, (samples, 1, length)."""
        for layer in self.layers:
            x = torch.tanh(layer(F.pad(x, (layer.dilation[0], 0))))
        return self.head(x)


class Residual(nn.Module):
    """Two convolutions with BatchNorm and a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the shape of `x`."""
        return torch.relu(x + self.body(x))


def residual_net(width: int, depth: int) -> nn.Sequential:
    """Return a residual network: images (samples, 1, 8, 8) to logits (samples, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        *(Residual(width) for _ in range(depth)),
        *(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * width, 10)),
    )


class Adapter(nn.Module):
    """A frozen linear layer plus the product of two thin, trainable matrices."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.down, self.up = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both, (samples, outputs)."""
        return self.layer(x) + self.up(self.down(x))


class DeepSet(nn.Module):
    """A function of sets: (samples, elements, 1) to (samples, 1)."""

    def __init__(self, element: nn.Module, whole: nn.Module) -> None:
        super().__init__()
        self.element, self.whole = element, whole

    def forward(self, x: Tensor) -> Tensor:
        """Return an output that does not depend on the order of the elements, (samples, 1)."""
        return self.whole(self.element(x).amax(1))


class Reader(nn.Module):
    """Transformer layers over tokens: (samples, length) to logits (samples, tokens, length)."""

    def __init__(self, tokens: int, length: int, width: int, *layers: nn.Module) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(tokens, width), nn.Linear(width, tokens)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.Sequential(*(layers or (Block(width, 4), Block(width, 4), nn.LayerNorm(width))))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits with the classes in the second dimension, as `cross_entropy` needs them."""
        return self.head(self.layers(self.embedding(x) + self.position)).transpose(1, 2)


class Values(nn.Module):
    """Values of the states before and after a move, the second discounted and detached: (samples, 2) twice."""

    def __init__(self, states: int, discount: float) -> None:
        super().__init__()
        self.value, self.discount = nn.Embedding(states, 1), discount
        nn.init.zeros_(self.value.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return both values, whose difference is trained to equal the reward."""
        before, after = self.value(x).squeeze(-1).unbind(1)
        return torch.stack([before, self.discount * after.detach()], 1)
