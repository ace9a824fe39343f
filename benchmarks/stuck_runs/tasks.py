"""Tasks that configurations of several splits share."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.stuck_runs.data import digits, entropy
from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, finite


def on_digits(model: nn.Module, optimizer: MakesOptimizer, size: int = 32, **rest: Any) -> Problem:
    """Return a run that classifies digits, whose loss can reach zero."""
    rest = {"trivial": entropy(digits()[1]), "floor": 0.0} | rest
    return finite(model, F.cross_entropy, digits(), size, optimizer, **rest)


def pretrained(widths: tuple[int, ...], data: Batch, steps: int) -> nn.Sequential:
    """Return a network after this many full-batch steps of Adam on `data`."""
    model = mlp(*widths)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(data[0]), data[1]).backward()
        optimizer.step()
    return model
