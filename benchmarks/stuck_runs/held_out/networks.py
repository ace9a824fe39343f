"""Networks of the held-out runs that are healthy, and of some that are not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import Block


class SkipGram(nn.Module):
    """Scores of words beside a central one, which comes first: (samples, 1 + words) to (samples, words)."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.central, self.beside = nn.Embedding(vocabulary, width), nn.Embedding(vocabulary, width)
        nn.init.normal_(self.central.weight, std=0.3)
        nn.init.normal_(self.beside.weight, std=0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Inner products."""
        return (self.central(x[:, :1]) * self.beside(x[:, 1:])).sum(-1)


class MessagePassing(nn.Module):
    """Two rounds of averaging over neighbours, with dropout between: (nodes, features) to (nodes, classes)."""

    def __init__(self, edges: Tensor, features: int, width: int, classes: int) -> None:
        super().__init__()
        joined = edges + torch.eye(len(edges))
        self.register_buffer("average", joined / joined.sum(1, keepdim=True))
        self.first, self.second, self.dropout = nn.Linear(features, width), nn.Linear(width, classes), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        return self.average @ self.second(self.dropout(torch.relu(self.average @ self.first(x))))


class Oscillator(nn.Module):
    """What is left of u'' + u'/2 + 4u where a network gives u with u(0) = 1, u'(0) = 0: (times, 1) to the same."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The residual, differentiated by autograd even where gradients are switched off."""
        with torch.enable_grad():
            time = x.detach().requires_grad_()
            position = 1 + time**2 * self.body(time)
            (speed,) = torch.autograd.grad(position.sum(), time, create_graph=True)
            (acceleration,) = torch.autograd.grad(speed.sum(), time, create_graph=True)
            return acceleration + 0.5 * speed + 4 * position


class CausalConvolutions(nn.Module):
    """Dilated convolutions that see the past only: (samples, 1, length) to the same."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(1, width, 2, dilation=1), nn.Conv1d(width, width, 2, dilation=2)])
        self.head = nn.Conv1d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """A forecast at each time of the next."""
        for layer in self.layers:
            x = torch.tanh(layer(F.pad(x, (layer.dilation[0], 0))))
        return self.head(x)


class Residual(nn.Module):
    """Two convolutions with BatchNorm beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return torch.relu(x + self.body(x))


def residual_net(width: int, depth: int) -> nn.Sequential:
    """Ten classes of images of 8x8 pixels."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        *(Residual(width) for _ in range(depth)),
        *(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(4 * width, 10)),
    )


class Adapter(nn.Module):
    """A frozen linear layer and a product of two thin matrices beside it."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.down, self.up = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        """As the layer's."""
        return self.layer(x) + self.up(self.down(x))


class DeepSet(nn.Module):
    """A function of sets: (samples, elements, 1) to (samples, 1)."""

    def __init__(self, element: nn.Module, whole: nn.Module) -> None:
        super().__init__()
        self.element, self.whole = element, whole

    def forward(self, x: Tensor) -> Tensor:
        """The order of the elements does not matter."""
        return self.whole(self.element(x).amax(1))


class Reader(nn.Module):
    """Transformer layers over tokens: (samples, length) to logits (samples, tokens, length)."""

    def __init__(self, tokens: int, length: int, width: int, *layers: nn.Module) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(tokens, width), nn.Linear(width, tokens)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.layers = nn.Sequential(*(layers or (Block(width, 4), Block(width, 4), nn.LayerNorm(width))))

    def forward(self, x: Tensor) -> Tensor:
        """As `cross_entropy` wants them."""
        return self.head(self.layers(self.embedding(x) + self.position)).transpose(1, 2)


class Values(nn.Module):
    """Of the states before and after a move, the latter discounted, without a gradient: (samples, 2) to the same."""

    def __init__(self, states: int, discount: float) -> None:
        super().__init__()
        self.value, self.discount = nn.Embedding(states, 1), discount
        nn.init.zeros_(self.value.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Their difference has to be the reward."""
        before, after = self.value(x).squeeze(-1).unbind(1)
        return torch.stack([before, self.discount * after.detach()], 1)
