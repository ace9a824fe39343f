"""Held-out runs with a learning rate that is too small or too large."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.data import digit_images, entropy, gaussian_weights, noisy_labels
from benchmarks.stuck_runs.held_out import networks
from benchmarks.stuck_runs.held_out.measurements import largest_of_a_set, survival
from benchmarks.stuck_runs.held_out.structures import (
    counting,
    inverse_problem,
    long_reading,
    on_brackets,
    segmentation,
    skip_gram,
)
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck
from benchmarks.stuck_runs.schedules import milestones, warm_up


def huber(seed: int, rate: float) -> Problem:
    """Return a run of linear regression by the Huber loss, whose gradient is bounded."""
    weights = gaussian_weights(12, seed)

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 12, generator=generator)
        return x, x @ weights + 0.1 * torch.randn(count, 1, generator=generator)

    size = float(weights.norm())
    return endless(mlp(12, 1), F.huber_loss, sample, 16, sgd(rate), trivial=0.8 * size, floor=0.005)


def scaled_with_the_batch(seed: int, rate: float) -> Problem:
    """Return a run of a linear classifier whose learning rate was multiplied by the large batch size."""
    x, y = digit_images()
    data = x.flatten(1), noisy_labels(y, 0.2, seed)
    return finite(mlp(64, 10), F.cross_entropy, data, 512, sgd(rate, 0.9), trivial=entropy(y))


def without_warm_up(seed: int) -> Problem:
    """Return a run of a post-norm transformer without warm-up, at a learning rate for shallow networks."""
    layers = [nn.TransformerEncoderLayer(32, 4, 128, 0.0, batch_first=True) for _ in range(2)]
    return on_brackets(Causal(6, 40, 32, *layers), adam(5e-2))


class Causal(networks.Reader):
    """A `Reader` whose layers are given a causal mask."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits with the classes in the second dimension, as `cross_entropy` needs them."""
        h = self.embedding(x) + self.position
        mask = torch.triu(torch.full((x.shape[1], x.shape[1]), -torch.inf), 1)
        for layer in self.layers:
            h = layer(h, src_mask=mask)
        return self.head(h).transpose(1, 2)


TOO_SMALL = (
    stuck(
        "adadelta_at_the_rate_of_adam",
        1500,
        "learning_rate_too_small",
        lambda seed: replace(largest_of_a_set(seed), optimizer=by(torch.optim.Adadelta, lr=1e-3)),
        cure=largest_of_a_set,
    ),
    stuck(
        "epsilon_of_one",
        1500,
        "learning_rate_too_small",
        lambda seed: replace(skip_gram(seed), optimizer=by(torch.optim.Adam, lr=5e-3, eps=1.0)),
        cure=skip_gram,
    ),
    stuck(
        "milestones_of_epochs_in_steps",
        1500,
        "learning_rate_too_small",
        lambda seed: replace(counting(seed), schedule=milestones(20, 40, 60)),
        cure=counting,
    ),
    stuck(
        "survival_at_1e-6",
        1200,
        "learning_rate_too_small",
        lambda seed: survival(seed, by(torch.optim.SGD, lr=1e-6, momentum=0.9, nesterov=True)),
        cure=survival,
    ),
)
TOO_LARGE = (
    stuck("huber_at_5", 1500, "learning_rate_too_large", lambda seed: huber(seed, 5.0)),
    stuck(
        "scaled_with_the_batch",
        1000,
        "learning_rate_too_large",
        lambda seed: scaled_with_the_batch(seed, 12.8),
        "diverged",
        cure=lambda seed: scaled_with_the_batch(seed, 0.05),
    ),
    stuck(
        "warmed_up_too_far",
        1500,
        "learning_rate_too_large",
        lambda seed: replace(segmentation(seed), optimizer=adam(1.0), schedule=warm_up(1000)),
        "flat_region",
        cure=segmentation,
    ),
    stuck(
        "long_without_warm_up",
        1200,
        "learning_rate_too_large",
        without_warm_up,
        "flat_region",
        cure=long_reading,
    ),
    stuck(
        "inverse_problem_at_1",
        1200,
        "learning_rate_too_large",
        lambda seed: inverse_problem(seed, by(torch.optim.NAdam, lr=1.0)),
        "diverged",
        "flat_region",
        cure=inverse_problem,
    ),
)
