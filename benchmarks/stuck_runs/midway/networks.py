"""Networks and losses of the split `midway`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.stuck_runs.networks import mlp


class Transformer(nn.Module):
    """A causal language model: tokens (samples, length) to logits (samples, tokens, length)."""

    def __init__(self, tokens: int, length: int, width: int, layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.position = nn.Parameter(0.1 * torch.randn(length, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 4 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, tokens))
        self.register_buffer("mask", torch.triu(torch.full((length, length), -math.inf), 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the next token at every place."""
        h = self.embedding(x) + self.position
        for block in self.blocks:
            h = block(h, src_mask=self.mask)
        return self.head(h).transpose(1, 2)


class RecurrentLanguageModel(nn.Module):
    """A language model with a recurrent layer: tokens (samples, length) to logits (samples, tokens, length)."""

    def __init__(self, tokens: int, layer: nn.RNNBase) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, layer.input_size)
        self.layer, self.head = layer, nn.Linear(layer.hidden_size, tokens)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the next token at every place."""
        return self.head(self.layer(self.embedding(x))[0]).transpose(1, 2)


class VariationalAutoencoder(nn.Module):
    """Pixels (samples, 64) to logits of the pixels, and to the weighted divergence of the latent variables."""

    def __init__(self, latent: int = 4) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(64, 48, 2 * latent), mlp(latent, 48, 64)
        self.divergence_weight = 1.0

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, and the divergence of each sample in nats; without noise in evaluation mode."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        latent = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if self.training else mean
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return self.decoder(latent), self.divergence_weight * divergence


def negative_elbo(output: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    """Return the negative evidence lower bound of the pixels, in nats for each pixel."""
    logits, divergence = output
    return F.binary_cross_entropy_with_logits(logits, x) + divergence.mean() / x.shape[1]


class GraphConvolutions(nn.Module):
    """Two graph convolutions over a fixed graph: features (nodes, 16) to logits (nodes, 3)."""

    def __init__(self, adjacency: Tensor, width: int = 16) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.first, self.second = nn.Linear(16, width), nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of every node."""
        return self.second(self.adjacency @ torch.relu(self.first(self.adjacency @ x)))


class Preferences(nn.Module):
    """Embeddings of people and items: indices of a person and two items, (samples, 3), to a difference of scores."""

    def __init__(self, deviation: float, size: int = 4) -> None:
        super().__init__()
        self.people, self.items = nn.Embedding(30, size), nn.Embedding(30, size)
        for factors in (self.people, self.items):
            nn.init.normal_(factors.weight, std=deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Return by how much the score of the first item exceeds that of the second, (samples,)."""
        return (self.people(x[:, 0]) * (self.items(x[:, 1]) - self.items(x[:, 2]))).sum(1)


def ranking_loss(difference: Tensor, _: Tensor) -> Tensor:
    """Return the Bayesian personalised ranking loss of differences of scores."""
    return F.softplus(-difference).mean()


class Embedded(nn.Module):
    """A network that is applied to each of three inputs: (samples, 3, inputs) to (samples, 3, outputs)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the embeddings of the three inputs."""
        return self.network(x)


def triplet_loss(embedded: Tensor, _: Tensor) -> Tensor:
    """Return the triplet loss with squared distances and a margin of one."""
    anchor, same, other = embedded.unbind(1)
    return F.relu(1 + ((anchor - same) ** 2).sum(1) - ((anchor - other) ** 2).sum(1)).mean()


class MixtureDensity(nn.Module):
    """A Gaussian mixture for every input: (samples, 1) to logits, means and log deviations of its components."""

    def __init__(self, components: int, width: int = 24) -> None:
        super().__init__()
        self.network = mlp(1, width, 3 * components, activation="tanh")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return logits, means and log deviations, each (samples, components)."""
        return self.network(x).chunk(3, 1)


def mixture_nll(output: tuple[Tensor, Tensor, Tensor], y: Tensor) -> Tensor:
    """Return the negative log-likelihood of y, (samples, 1), under the mixtures, in nats; it may be negative."""
    logits, means, log_deviations = output
    squares = ((y - means) / log_deviations.exp()) ** 2
    each = torch.log_softmax(logits, 1) - 0.5 * squares - log_deviations - 0.5 * math.log(2 * math.pi)
    return -torch.logsumexp(each, 1).mean()


def gaussian_nll(output: Tensor, y: Tensor) -> Tensor:
    """Return the negative log-likelihood of y, (samples, 1), for outputs of mean and log variance, in nats."""
    mean, log_variance = output.chunk(2, 1)
    return 0.5 * ((y - mean) ** 2 / log_variance.exp() + log_variance + math.log(2 * math.pi)).mean()


class PhysicsInformed(nn.Module):
    """A layer of tanh units u(x), for u″ = f with u(0) = u(1) = 0: (samples, 1) to u″ and the values at the ends."""

    def __init__(self, units: int = 24) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(1, units), nn.Linear(units, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return u″(x), (samples, 1), and u at both ends, (2, 1)."""
        t = torch.tanh(self.inner(x))
        second = F.linear(-2 * t * (1 - t**2) * self.inner.weight[:, 0] ** 2, self.outer.weight)
        return second, self.outer(torch.tanh(self.inner(torch.tensor([[0.0], [1.0]]))))


def physics_loss(output: tuple[Tensor, Tensor], force: Tensor) -> Tensor:
    """Return the mean squares of the residual of the equation and of the values at the ends."""
    second, ends = output
    return ((second - force) ** 2).mean() + 10 * (ends**2).mean()


class TwoHeads(nn.Module):
    """A body with a head for each of two tasks, which returns the outputs of both, (samples, outputs)."""

    def __init__(self, body: nn.Module, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.body, self.first, self.second = body, first, second

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of both heads side by side."""
        h = self.body(x)
        return torch.cat([self.first(h), self.second(h)], 1)


class DetachedBody(TwoHeads):
    """The same with a mistake: the features are detached, so that the body does not learn."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of both heads side by side."""
        h = self.body(x).detach()
        return torch.cat([self.first(h), self.second(h)], 1)


class LowRankAdapter(nn.Module):
    """A frozen linear layer and a product of two trained matrices that is added to it."""

    def __init__(self, layer: nn.Linear, down: Tensor, up: Tensor) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(requires_grad=False)
        self.down, self.up = nn.Parameter(down), nn.Parameter(up)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the adapted layer."""
        return self.layer(x) + x @ self.down @ self.up


class Sinusoid(nn.Module):
    """A wave of learnt amplitude, frequency and phase: times (samples, 1) to values (samples, 1)."""

    def __init__(self, frequency: float) -> None:
        super().__init__()
        self.amplitude, self.phase = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.tensor(0.0))
        self.frequency = nn.Parameter(torch.tensor(frequency))
        self.offset = nn.Parameter(torch.tensor(0.0))

    def forward(self, x: Tensor) -> Tensor:
        """Return the values of the wave."""
        return self.offset + self.amplitude * torch.sin(self.frequency * x + self.phase)


def segmenter(width: int = 8) -> nn.Sequential:
    """Return four convolutions without pooling: pictures (samples, 1, size, size) to logits of the same shape."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=2, dilation=2),
        nn.ReLU(),
        nn.Conv2d(width, 1, 1),
    )


def convolutions(size: int, width: int, outputs: int = 10) -> nn.Sequential:
    """Return two convolutions with pooling and two linear layers: (samples, 1, size, size) to logits."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(2 * width * (size // 4) ** 2, 32),
        nn.ReLU(),
        nn.Linear(32, outputs),
    )


def dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return one minus the mean overlap of predicted and true pixels, in [0, 1]."""
    chance = torch.sigmoid(logits)
    overlap = 2 * (chance * masks).sum((1, 2, 3)) / (chance.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1e-6)
    return 1 - overlap.mean()
