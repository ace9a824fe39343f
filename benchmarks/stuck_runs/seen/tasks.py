"""Tasks of several configurations of the split `seen`."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from sklearn import datasets
from torch import Generator, nn

from benchmarks.stuck_runs.data import digit_images, entropy
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, endless, finite
from benchmarks.stuck_runs.seen import networks


def on_images(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that classifies images of digits."""
    trivial = entropy(digit_images()[1])
    return finite(model, F.cross_entropy, digit_images(), size, optimizer, trivial=trivial, floor=0.0, **rest)


def progressions(count: int, generator: Generator) -> Batch:
    """Return progressions modulo 12, with a tenth of the tokens random, and the next tokens, (count, 10) twice."""
    start, stride = (torch.randint(low, high, (count, 1), generator=generator) for low, high in ((0, 12), (1, 4)))
    tokens = (start + stride * torch.arange(11)) % 12
    wrong = torch.rand(tokens.shape, generator=generator) < 0.1
    tokens = torch.where(wrong, torch.randint(0, 12, tokens.shape, generator=generator), tokens)
    return tokens[:, :-1], tokens[:, 1:]


def language_model(optimizer: MakesOptimizer, **rest: Any) -> Problem:
    """Return a run that predicts the next token of a progression."""
    model = networks.LanguageModel(12, 10)
    return endless(
        model, F.cross_entropy, progressions, 16, optimizer, evaluation_samples=512, trivial=math.log(12), **rest
    )


@cache
def friedman() -> Batch:
    """Return 1000 points of scikit-learn's friedman1, with standardised targets."""
    x, y = datasets.make_friedman1(1000, noise=1.0, random_state=0)
    return torch.tensor(x, dtype=torch.float32), torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)[:, None]
