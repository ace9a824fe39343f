"""Networks and losses of the split `fifth`."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.stuck_runs.networks import mlp


class RowReader(nn.Module):
    """A recurrent layer over the rows of an image, and a head on its last output: (samples, 1, 8, 8) to logits."""

    def __init__(self, layer: nn.RNNBase, classes: int = 10) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.hidden_size, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.layer(x[:, 0])[0][:, -1])


class Block(nn.Module):
    """A residual block of two convolutions with BatchNorm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        """Return the images after the block."""
        h = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(x + self.norms[1](self.second(h)))


def residual(channels: int = 12, classes: int = 10, blocks: int = 2) -> nn.Sequential:
    """Return a small residual network, (samples, 1, height, width) to logits."""
    stem = [nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2)]
    body = [Block(channels) for _ in range(blocks)]
    return nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, classes))


class WordEncoder(nn.Module):
    """A transformer over words without a causal mask: (samples, length) to logits (samples, words, length)."""

    def __init__(self, words: int, length: int, width: int = 32, layers: int = 2, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(words, width), nn.Parameter(0.1 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, words)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of the words at every place."""
        return self.head(self.encoder(self.embedding(x) + self.position)).transpose(1, 2)


class BagOfWords(nn.Module):
    """The mean of embeddings of words, and a linear layer: (samples, length) to logits (samples, 4)."""

    def __init__(self, words: int, width: int = 16) -> None:
        super().__init__()
        self.embedding, self.head = nn.EmbeddingBag(words, width, mode="mean"), nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.head(self.embedding(x))


class SkipGram(nn.Module):
    """Two embeddings of words: a word, a near one and others, (samples, 2 + others), to scores of the last ones."""

    def __init__(self, words: int, width: int = 16) -> None:
        super().__init__()
        self.centre, self.context = nn.Embedding(words, width), nn.Embedding(words, width)
        nn.init.normal_(self.centre.weight, std=0.3)
        nn.init.zeros_(self.context.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores, (samples, 1 + others)."""
        return (self.centre(x[:, :1]) * self.context(x[:, 1:])).sum(2)


def negative_sampling(scores: Tensor, _: Tensor) -> Tensor:
    """Return the loss of word2vec: the first score should be high and the others low."""
    return F.softplus(-scores[:, 0]).mean() + F.softplus(scores[:, 1:]).sum(1).mean()


class Recall(nn.Module):
    """A query attends over pairs of keys and values; see `recalled_values`. Returns logits of the value."""

    def __init__(self, keys: int = 8, pairs: int = 6, width: int = 24, deviation: float = 0.5) -> None:
        super().__init__()
        self.keys, self.values = nn.Embedding(keys, width), nn.Embedding(keys, width)
        self.to_query, self.to_key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        for layer in (self.to_query, self.to_key):
            nn.init.normal_(layer.weight, std=deviation)
        self.head, self.pairs = mlp(width, 32, keys), pairs

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (samples, keys), for rows of keys, values and the key that is asked for."""
        keys, values = self.keys(x[:, : self.pairs]), self.values(x[:, self.pairs : -1])
        scores = self.to_key(keys) @ self.to_query(self.keys(x[:, -1]))[:, :, None]
        weights = torch.softmax(scores[:, :, 0] / math.sqrt(keys.shape[2]), 1)
        return self.head((weights[:, None] @ values)[:, 0])


class Sets(nn.Module):
    """A network on every point, the mean and the maximum over the points, and a network on these."""

    def __init__(self, inputs: int, outputs: int, width: int = 24) -> None:
        super().__init__()
        self.each, self.all = mlp(inputs, width, width), mlp(2 * width, width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (samples, outputs), for sets (samples, points, inputs)."""
        h = self.each(x)
        return self.all(torch.cat([h.mean(1), h.amax(1)], 1))


class Tabular(nn.Module):
    """Embeddings of categories beside columns of numbers: (samples, categories + numbers) to a logit."""

    def __init__(self, sizes: tuple[int, ...], numbers: int, width: int = 6, hidden: int = 32) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList([nn.Embedding(size, width) for size in sizes])
        self.network = mlp(len(sizes) * width + numbers, hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, (samples, 1)."""
        columns = [embedding(x[:, i].long()) for i, embedding in enumerate(self.embeddings)]
        return self.network(torch.cat([*columns, x[:, len(columns) :]], 1))


class BiasedFactors(nn.Module):
    """Factors and biases of people and films: indices (samples, 2) to ratings (samples, 1)."""

    def __init__(self, rank: int = 4, deviation: float = 0.3) -> None:
        super().__init__()
        self.people, self.films = nn.Embedding(40, rank), nn.Embedding(30, rank)
        self.leniency, self.quality = nn.Embedding(40, 1), nn.Embedding(30, 1)
        for factors in (self.people, self.films):
            nn.init.normal_(factors.weight, std=deviation)
        for biases in (self.leniency, self.quality):
            nn.init.zeros_(biases.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the ratings."""
        product = (self.people(x[:, 0]) * self.films(x[:, 1])).sum(1, keepdim=True)
        return product + self.leniency(x[:, 0]) + self.quality(x[:, 1])


class FactorisationMachine(nn.Module):
    """A linear function, and products of columns whose weights are inner products of factors of the columns."""

    def __init__(self, inputs: int = 8, rank: int = 4, deviation: float = 0.1) -> None:
        super().__init__()
        self.linear, self.factors = nn.Linear(inputs, 1), nn.Parameter(deviation * torch.randn(inputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs, (samples, 1)."""
        pairs = (x @ self.factors) ** 2 - (x**2) @ (self.factors**2)
        return self.linear(x) + 0.5 * pairs.sum(1, keepdim=True)


class Experts(nn.Module):
    """Experts with a gate that weighs them: (samples, inputs) to (samples, outputs)."""

    def __init__(self, inputs: int, outputs: int, experts: int = 4, hidden: int = 0) -> None:
        super().__init__()
        self.gate, self.sharpness = nn.Linear(inputs, experts), 1.0
        widths = (inputs, hidden, outputs) if hidden else (inputs, outputs)
        self.experts = nn.ModuleList([mlp(*widths) for _ in range(experts)])

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted mean of the outputs of the experts."""
        weights = torch.softmax(self.sharpness * self.gate(x), 1)
        return (weights[:, None] @ torch.stack([expert(x) for expert in self.experts], 1))[:, 0]


class Coupling(nn.Module):
    """A normalising flow of affine couplings on points (samples, 2), which returns log-likelihoods, (samples,)."""

    def __init__(self, layers: int = 6, width: int = 24, bound: float = 2.0) -> None:
        super().__init__()
        self.networks = nn.ModuleList([mlp(1, width, 2, activation="tanh") for _ in range(layers)])
        self.scale, self.bound = nn.Parameter(torch.zeros(2)), bound

    def forward(self, x: Tensor) -> Tensor:
        """Return the log-likelihoods of the points."""
        x = x * self.scale.exp()
        volume = self.scale.sum().expand(len(x))
        for index, network in enumerate(self.networks):
            kept, changed = x[:, index % 2], x[:, 1 - index % 2]
            log_scale, shift = network(kept[:, None]).unbind(1)
            log_scale = self.bound * torch.tanh(log_scale / self.bound)
            changed, volume = changed * log_scale.exp() + shift, volume + log_scale
            x = torch.stack([kept, changed] if index % 2 == 0 else [changed, kept], 1)
        return volume - 0.5 * (x**2).sum(1) - math.log(2 * math.pi)


def negative_log_likelihood(log_likelihoods: Tensor, _: Tensor) -> Tensor:
    """Return the mean negative log-likelihood."""
    return -log_likelihoods.mean()


class AngleMixture(nn.Module):
    """A mixture of Gaussians in two dimensions for every input: logits, means and log deviations."""

    def __init__(self, components: int = 4, width: int = 32) -> None:
        super().__init__()
        self.network, self.components = mlp(2, width, 5 * components), components

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (samples, components), means and log deviations (samples, components, 2)."""
        logits, means, log_deviations = self.network(x).split([self.components] + 2 * [2 * self.components], 1)
        return logits, means.unflatten(1, (-1, 2)), log_deviations.unflatten(1, (-1, 2))


def angle_loss(output: tuple[Tensor, Tensor, Tensor], y: Tensor) -> Tensor:
    """Return the negative log-likelihood of y, (samples, 2), in nats."""
    logits, means, log_deviations = output
    squares = ((y[:, None] - means) / log_deviations.exp()) ** 2
    each = torch.log_softmax(logits, 1) - (0.5 * squares + log_deviations).sum(2) - math.log(2 * math.pi)
    return -torch.logsumexp(each, 1).mean()


class SeriesReader(nn.Module):
    """A network on the last values of a series: (samples, 1, length) to (samples, 1)."""

    def __init__(self, length: int = 24) -> None:
        super().__init__()
        self.network = mlp(length, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions."""
        return self.network(x[:, 0])
