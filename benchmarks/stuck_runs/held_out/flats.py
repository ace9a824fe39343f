"""Held-out runs in flat regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digit_images, entropy, table
from benchmarks.stuck_runs.networks import Recurrent, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck


def sure_policy(seed: int) -> Problem:
    """Return a run that maximises the expected reward of a softmax policy with a temperature of 1e-5."""
    x, y = table("wine")

    def regret(output: Tensor, target: Tensor) -> Tensor:
        return 1 - torch.softmax(output / 1e-5, 1).gather(1, target[:, None]).mean()

    model = mlp(13, 16, 3, activation="tanh")
    trivial = 1 - float(torch.bincount(y).max()) / len(y)
    return finite(model, regret, (x, y), 32, sgd(1e-2), trivial=trivial, floor=0.0, clip=1.0)


def running_sums(count: int, generator: Generator) -> Batch:
    """Return sequences of ten numbers, (count, 10, 1), and their sums, scaled to unit variance, (count, 1)."""
    x = torch.randn(count, 10, 1, generator=generator)
    return x, x.sum(1) / 10**0.5


def closed_gates(seed: int) -> Problem:
    """Return a run of a GRU whose update gates start closed, so that its state stays at its initial value."""
    layer = nn.GRU(1, 12, batch_first=True)
    nn.init.constant_(layer.bias_ih_l0[12:24], 25.0)
    optimizer = by(torch.optim.NAdam, lr=2e-3)
    return endless(Recurrent(layer, 12), F.mse_loss, running_sums, 16, optimizer, trivial=1.0, floor=0.0)


def forgotten_beginning(seed: int) -> Problem:
    """Return a run in which a plain recurrent network has to recall the first of sixty inputs."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 60, 1, generator=generator)
        return x, x[:, 0].sign()

    model = Recurrent(nn.RNN(1, 10, batch_first=True), 10)
    return endless(
        model, F.mse_loss, sample, 16, sgd(0.02, 0.9), evaluation_samples=512, trivial=1.0, floor=0.0, clip=1.0
    )


def fading_stack(seed: int) -> Problem:
    """Return a run of fourteen tanh convolutions at a third of the usual initial scale: signals fade to nothing."""
    x, y = digit_images()
    layers: list[nn.Module] = []
    for inputs in (1, *[12] * 13):
        layer = nn.Conv2d(inputs, 12, 3, padding=1)
        nn.init.normal_(layer.weight, std=0.3 / (9 * inputs) ** 0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    model = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(192, 10))
    return finite(model, F.cross_entropy, (x, y), 32, sgd(0.02, 0.9), trivial=entropy(y), floor=0.0)


class Clamped(nn.Module):
    """A network whose outputs are clamped to [0, 1]."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the clamped outputs of the body."""
        return self.body(x).clamp(0, 1)


def clamped_answers(seed: int) -> Problem:
    """Return a run whose outputs are clamped to the range of the targets, and all start below it."""
    x, y = table("breast_cancer")
    body = mlp(30, 16, 1)
    nn.init.constant_(body[2].bias, -6.0)
    share = float(y.double().mean())
    data = x, y.float()[:, None]
    return finite(Clamped(body), F.mse_loss, data, 16, adam(1e-3), trivial=share * (1 - share), floor=0.0)


class Kernels(nn.Module):
    """A linear layer over Gaussian bumps at learnt centres: (samples, inputs) to (samples, 1)."""

    def __init__(self, inputs: int, number: int, width: float) -> None:
        super().__init__()
        self.centres, self.head = nn.Parameter(torch.randn(number, inputs)), nn.Linear(number, 1)
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum of the bumps, (samples, 1)."""
        return self.head((-((x[:, None] - self.centres) ** 2).sum(-1) / (2 * self.width**2)).exp())


def narrow_kernels(seed: int) -> Problem:
    """Return a run with Gaussian bumps so narrow that hardly any sample lies on one."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 6, generator=generator)
        return x, x[:, :2].sin().sum(1, keepdim=True)

    return endless(Kernels(6, 40, 0.1), F.mse_loss, sample, 32, sgd(0.02, 0.9), trivial=0.86, floor=0.0)


FLAT = (
    stuck("sure_policy", 1500, "flat_region", sure_policy, "not_updating"),
    stuck("closed_gates", 1200, "flat_region", closed_gates),
    stuck("forgotten_beginning", 1000, "flat_region", forgotten_beginning, "saddle_point"),
    stuck("long_fading_stack", 1200, "flat_region", fading_stack, "saddle_point"),
    stuck("clamped_answers", 1500, "flat_region", clamped_answers, "not_updating"),
    stuck("narrow_kernels", 1500, "flat_region", narrow_kernels),
)
