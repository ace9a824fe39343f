"""Networks of the split `fifth` for mechanics, diffusion, survival, contrast and graphs, and their losses."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.stuck_runs.networks import mlp


class Oscillator(nn.Module):
    """A network for u on [0, 1] with u(0) = 1 and u′(0) = 0: times (samples, 1) to u, u′ and u″."""

    def __init__(self, width: int = 32, frequency: float = 4.0) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(1, width), nn.Linear(width, 1)
        nn.init.normal_(self.inner.weight, std=frequency)

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return u = 1 + t² v for a network v with one hidden layer of tanh, and its derivatives."""
        h, slope = torch.tanh(self.inner(t)), self.inner.weight[:, 0]
        first = (1 - h**2) * slope
        second = -2 * h * (1 - h**2) * slope**2
        v, dv, ddv = self.outer(h), first @ self.outer.weight.T, second @ self.outer.weight.T
        return 1 + t**2 * v, 2 * t * v + t**2 * dv, 2 * v + 4 * t * dv + t**2 * ddv


def damped(output: tuple[Tensor, Tensor, Tensor], _: Tensor) -> Tensor:
    """Return the mean squared residual of u″ + 2 u′ + 36 u = 0, in units of 36."""
    u, du, ddu = output
    return (((ddu + 2 * du + 36 * u) / 36) ** 2).mean()


class Flow(nn.Module):
    """A network for the change of a state, followed for some steps: states (samples, 2) to (samples, steps, 2)."""

    def __init__(self, network: nn.Module, steps: int, dt: float) -> None:
        super().__init__()
        self.network, self.steps, self.dt = network, steps, dt

    def forward(self, x: Tensor) -> Tensor:
        """Return the states after each step."""
        states = []
        for _ in range(self.steps):
            x = x + self.dt * self.network(x)
            states.append(x)
        return torch.stack(states, 1)


def lotka_volterra(x: Tensor) -> Tensor:
    """Return the change of prey and hunters, (samples, 2)."""
    prey, hunters = x.unbind(1)
    return torch.stack([1.5 * prey - 1.5 * prey * hunters, -hunters + prey * hunters], 1)


def cox(output: Tensor, y: Tensor, group: int = 32) -> Tensor:
    """Return the negative partial log-likelihood of Cox in groups of patients, for each death.

    Args:
        output: log hazards, (samples, 1).
        y: times, and whether these are deaths, (samples, 2).
        group: patients that are compared with each other.
    """
    risks, times, deaths = (a.view(-1, group) for a in (output[:, 0], y[:, 0], y[:, 1]))
    order = times.argsort(1, descending=True)
    risks, deaths = risks.gather(1, order), deaths.gather(1, order)
    return -((risks - torch.logcumsumexp(risks, 1)) * deaths).sum() / deaths.sum()


class Views(nn.Module):
    """A network on two views of each sample, (samples, 2, inputs), which returns directions of length one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the directions, (samples, 2, outputs)."""
        return F.normalize(self.network(x), dim=2)


def contrast(views: Tensor, _: Tensor, temperature: float = 0.2, group: int = 32) -> Tensor:
    """Return the InfoNCE loss: each first view should be nearest to its second one within a group of samples."""
    first, second = views.unflatten(0, (-1, group)).unbind(2)
    logits = first @ second.transpose(1, 2) / temperature
    return F.cross_entropy(logits.flatten(0, 1), torch.arange(group).repeat(len(logits)))


def listwise(scores: Tensor, y: Tensor) -> Tensor:
    """Return the ListNet loss: cross-entropy of the softmax of scores and of relevances, (queries, documents)."""
    return F.cross_entropy(scores, y.softmax(1))


class Documents(nn.Module):
    """A network that scores each document: (queries, documents, inputs) to (queries, documents)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores."""
        return self.network(x)[:, :, 0]


class Neighbourhood(nn.Module):
    """Two layers of GraphSAGE on a fixed graph: features (nodes, 13) to logits (nodes, 3)."""

    def __init__(self, means: Tensor, width: int = 16) -> None:
        super().__init__()
        self.means: Tensor
        self.register_buffer("means", means)
        self.first, self.second = nn.Linear(26, width), nn.Linear(2 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of every node."""
        h = torch.relu(self.first(torch.cat([x, self.means @ x], 1)))
        return self.second(torch.cat([h, self.means @ h], 1))


class EchoState(nn.Module):
    """A random recurrent layer that is never trained, and a trained linear layer: (samples, 1, length) to (samples, 1).

    The random weights are buffers, so no optimizer ever gets them.
    """

    def __init__(self, width: int = 80, radius: float = 0.9) -> None:
        super().__init__()
        weight = torch.randn(width, width)
        self.weight: Tensor
        self.inputs: Tensor
        self.register_buffer("weight", weight * radius / torch.linalg.eigvals(weight).abs().max())
        self.register_buffer("inputs", 0.5 * torch.randn(width))
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the predictions."""
        state = torch.zeros(len(x), len(self.inputs))
        for value in x[:, 0].T:
            state = torch.tanh(state @ self.weight + value[:, None] * self.inputs)
        return self.head(state)


class Bumps(nn.Module):
    """A network of Gaussian bumps with learnt centres and widths: (samples, inputs) to (samples, outputs)."""

    def __init__(self, centres: Tensor, outputs: int, width: float = 1.0) -> None:
        super().__init__()
        self.centres, self.head = nn.Parameter(centres), nn.Linear(len(centres), outputs)
        self.log_width = nn.Parameter(torch.full((len(centres),), math.log(width)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        squares = ((x[:, None] - self.centres) ** 2).sum(2)
        return self.head(torch.exp(-0.5 * squares / torch.exp(2 * self.log_width)))


class Rounded(nn.Module):
    """An encoder whose codes are rounded to whole numbers, and a decoder."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, *, straight_through: bool) -> None:
        super().__init__()
        self.encoder, self.decoder, self.straight_through = encoder, decoder, straight_through

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructions; rounding passes gradients on only with `straight_through`."""
        codes = 3 * self.encoder(x)
        rounded = codes + (codes.round() - codes).detach() if self.straight_through else codes.round()
        return self.decoder(rounded)


class TiedAutoencoder(nn.Module):
    """x ↦ x W Wᵀ for pixels (samples, 64), with the same matrix in encoder and decoder."""

    def __init__(self, codes: int, deviation: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(deviation * torch.randn(64, codes)), nn.Parameter(torch.zeros(64))

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstructions."""
        return (x - self.bias) @ self.weight @ self.weight.T + self.bias


def convolution_in_time(channels: int = 12, layers: int = 3, length: int = 24) -> nn.Sequential:
    """Return dilated convolutions over a series, (samples, 1, length), to its next value, (samples, 1)."""
    parts: list[nn.Module] = []
    for layer in range(layers):
        parts += [nn.Conv1d(channels if layer else 1, channels, 3, dilation=2**layer), nn.ReLU()]
    return nn.Sequential(*parts, nn.Flatten(), nn.Linear(channels * (length + 2 - 2 ** (layers + 1)), 1))


def diffusion_network(width: int = 48) -> nn.Sequential:
    """Return a network from noisy points and the level of noise, (samples, 3), to the noise, (samples, 2)."""
    return mlp(3, width, width, 2, activation="gelu")
