"""Held-out runs whose inputs do not help to predict; the floor is the loss that a working pipeline would reach."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import entropy, table
from benchmarks.stuck_runs.networks import Recurrent, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck


def norm_of_one_feature(seed: int) -> Problem:
    """Return a run whose LayerNorm over a single feature turns every input into zero."""

    def sample(count: int, generator: Generator) -> Batch:
        x = 4 * torch.rand(count, 1, generator=generator) - 2
        return x, (2 * x).sin()

    model = nn.Sequential(nn.LayerNorm(1), *mlp(1, 24, 1, activation="tanh"))
    return endless(model, F.mse_loss, sample, 32, adam(2e-3), evaluation_samples=4096, trivial=0.44, floor=0.0)


class Pooled(nn.Module):
    """Mean embeddings of tokens under a mask that is inverted by mistake: (samples, length) to logits (samples, 3)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(tokens, width), mlp(width, 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of the padding, token 0, which is all that the mask lets through."""
        mask = (x == 0).float()[..., None]
        return self.head((self.embedding(x) * mask).sum(1) / mask.sum(1))


def inverted_mask(seed: int) -> Problem:
    """Return a run whose mask hides the words and shows the padding."""
    odds = torch.softmax(1.5 * torch.randn(3, 30, generator=Generator().manual_seed(seed)), 1)

    def sample(count: int, generator: Generator) -> Batch:
        y = torch.randint(0, 3, (count,), generator=generator)
        words = 1 + torch.multinomial(odds[y], 12, replacement=True, generator=generator)
        length = torch.randint(6, 12, (count, 1), generator=generator)
        return words * (torch.arange(12) < length), y

    return endless(Pooled(31, 8), F.cross_entropy, sample, 32, adam(3e-3), trivial=math.log(3), floor=0.1)


def returns_of_a_random_walk(seed: int) -> Problem:
    """Return a run that predicts the next return from the last twelve; returns are heavy-tailed and independent."""

    def sample(count: int, generator: Generator) -> Batch:
        normal = torch.randn(count, 13, 1, generator=generator)
        x = normal * (0.5 * torch.randn(count, 13, 1, generator=generator)).exp()
        return x[:, :12], x[:, 12]

    model = Recurrent(nn.GRU(1, 8, batch_first=True), 8)
    optimizer = by(torch.optim.RMSprop, lr=1e-3)
    return endless(model, F.smooth_l1_loss, sample, 32, optimizer, evaluation_samples=4096, trivial=0.47, floor=0.0)


def patients_joined_wrongly(seed: int) -> Problem:
    """Return a run on two tables joined in different orders: each measurement belongs to another patient."""
    x, y = table("diabetes")
    y = ((y - y.mean()) / y.std()).float()[:, None]
    other = y[torch.randperm(len(y), generator=Generator().manual_seed(seed))]
    optimizer = sgd(5e-3, 0.9)
    return finite(mlp(10, 1), F.mse_loss, (x, other), 32, optimizer, trivial=1.0, floor=0.48)


def shuffled_apart(seed: int) -> Problem:
    """Return a run that learns for 400 steps; from then on, inputs and labels are shuffled independently."""
    x, y = table("wine")
    other = y[torch.randperm(len(y), generator=Generator().manual_seed(seed))]

    def batch(generator: Generator, step: int) -> Batch:
        rows, others = torch.randint(0, len(y), (2, 16), generator=generator)
        return x[rows], y[rows if step < 400 else others]

    def truth(step: int) -> Batch:
        return x, y if step < 400 else other

    return Problem(mlp(13, 3), F.cross_entropy, batch, truth, sgd(0.02), trivial=entropy(y), floor=0.0)


UNLEARNABLE = (
    stuck("norm_of_one_feature", 1500, "nothing_to_learn", norm_of_one_feature),
    stuck("inverted_mask", 1500, "nothing_to_learn", inverted_mask),
    stuck("returns_of_a_random_walk", 1200, "nothing_to_learn", returns_of_a_random_walk),
    stuck("patients_joined_wrongly", 1500, "nothing_to_learn", patients_joined_wrongly),
    stuck("shuffled_apart_from_the_second_time", 1500, "nothing_to_learn", shuffled_apart),
)
