"""Mistakes in the code around a model, as functions of the optimizer step or of parameter groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Generator, nn
from torch.optim import Optimizer

from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Sampler


def grouped(kind: Callable[..., Optimizer], *groups: tuple[nn.Module, float], **settings: float) -> MakesOptimizer:
    """Return a function that makes an optimizer with a learning rate for each of these modules."""

    def make(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return kind([{"params": list(module.parameters()), "lr": rate} for module, rate in groups], **settings)

    return make


def frozen_from(module: nn.Module, step: int) -> Callable[[int], object]:
    """Return a hook that freezes a part of a model from this step on."""
    return lambda now: module.requires_grad_(requires_grad=now < step)


class PutBack:
    """A hook that copies the weights at one step, and loads this copy again at regular intervals."""

    def __init__(self, model: nn.Module, start: int, every: int = 100) -> None:
        self.model, self.start, self.every = model, start, every
        self.kept: dict[str, torch.Tensor] = {}

    def __call__(self, step: int) -> None:
        """Keep the weights at the first of these steps, and put them back at the others."""
        if step == self.start:
            self.kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        elif step > self.start and (step - self.start) % self.every == 0:
            self.model.load_state_dict(self.kept)


def spike(start: int, steps: int, factor: float) -> Callable[[int], float]:
    """Return a schedule of one, with a spike of the learning rate for a few steps."""
    return lambda step: factor if start <= step < start + steps else 1.0


def switched(step: int, before: Sampler, after: Sampler) -> Sampler:
    """Return a sampler that draws with `before` until this step, and with `after` from then on."""
    return lambda generator, index: (before if index < step else after)(generator, index)


def shuffled(sampler: Sampler) -> Sampler:
    """Return a sampler whose targets belong to other inputs of the same batch."""

    def batch(generator: Generator, step: int) -> Batch:
        x, y = sampler(generator, step)
        return x, y[torch.randperm(len(y), generator=generator)]

    return batch
