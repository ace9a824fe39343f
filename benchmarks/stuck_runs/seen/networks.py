"""Networks that only the split `seen` uses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import Block


def conv_net(activation: type[nn.Module] = nn.ReLU, *, normalise: type[nn.Module] = nn.Identity) -> nn.Sequential:
    """Return two convolutions and a linear layer: images (samples, 1, 8, 8) to logits (samples, 10)."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1), normalise(8), activation()),
        *(nn.Conv2d(8, 16, 3, stride=2, padding=1), normalise(16), activation()),
        *(nn.Flatten(), nn.Linear(64, 10)),
    )


class LanguageModel(nn.Module):
    """A language model of one causal transformer layer."""

    def __init__(self, tokens: int, length: int, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.position = nn.Parameter(torch.randn(length, width) * 0.02)
        self.block, self.norm, self.head = Block(width, 2), nn.LayerNorm(width), nn.Linear(width, tokens)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (samples, tokens, length), of tokens (samples, length)."""
        return self.head(self.norm(self.block(self.embedding(x) + self.position))).transpose(1, 2)


class LinearRecurrence(nn.Module):
    """The recurrence h ← Ah + Bx, without an activation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.again, self.inputs = nn.Linear(width, width, bias=False), nn.Linear(1, width, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return all states, (samples, length, width), and None instead of the last state."""
        state, states = x.new_zeros(len(x), self.width), []
        for now in x.unbind(1):
            state = self.again(state) + self.inputs(now)
            states.append(state)
        return torch.stack(states, 1), None


class Variational(nn.Module):
    """A variational autoencoder, which samples in training mode only."""

    def __init__(self, inputs: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, inputs))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction, the mean and the log variance of inputs, (samples, inputs)."""
        mean, log_variance = self.encoder(x).chunk(2, 1)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean
        return self.decoder(z), mean, log_variance


def evidence_bound(output: tuple[Tensor, Tensor, Tensor], target: Tensor) -> Tensor:
    """Return the mean negative ELBO of the samples, up to a constant."""
    reconstruction, mean, log_variance = output
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    return 0.5 * ((reconstruction - target) ** 2).sum(1).mean() + divergence


class Gaussian(nn.Module):
    """Negative log-density of a Gaussian with learnt mean and deviations."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.mean, self.log_deviation = nn.Parameter(torch.zeros(dimensions)), nn.Parameter(torch.zeros(dimensions))

    def forward(self, x: Tensor) -> Tensor:
        """Return the negative log-densities, (samples,), of points (samples, dimensions)."""
        standard = (x - self.mean) * (-self.log_deviation).exp()
        return (0.5 * standard**2 + self.log_deviation + 0.9189385).sum(1)


class TwoViews(nn.Module):
    """Similarities between the embeddings of two views of each sample: (samples, 2, inputs) to (samples, samples)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, of which those on the diagonal belong to the right pairs."""
        first, second = (F.normalize(self.body(view), dim=1) for view in x.unbind(1))
        return first @ second.T / 0.2


class Tied(nn.Module):
    """A linear autoencoder with tied weights, x ↦ WᵀWx."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructions, (samples, inputs)."""
        return x @ self.weight.T @ self.weight


class Bump(nn.Module):
    """The function x ↦ a·exp(−(x − m)²/2)."""

    def __init__(self, height: float, centre: float) -> None:
        super().__init__()
        self.height, self.centre = nn.Parameter(torch.tensor(height)), nn.Parameter(torch.tensor(centre))

    def forward(self, x: Tensor) -> Tensor:
        """Return the values, in the shape of `x`."""
        return self.height * torch.exp(-0.5 * (x - self.centre) ** 2)


class Nearest(nn.Module):
    """Squared distances from the nearest of some centres: (samples, dimensions) to (samples, 1)."""

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres)

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss of k-means for each sample, (samples, 1)."""
        return ((x[:, None] - self.centres) ** 2).sum(-1).min(1, keepdim=True).values
