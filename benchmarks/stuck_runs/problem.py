"""The nouns: a problem is one run ready to train, a configuration is a family of them, one per seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

Batch = tuple[Tensor, Tensor]
Sampler = Callable[[Generator, int], Batch]
"""the batch of a step, drawn with this generator"""
Criterion = Callable[..., Tensor]
"""(output of the model, target) to a 0-dim loss"""
MakesOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Problem:
    """A model and all that is needed to train it."""

    model: nn.Module
    loss: Criterion
    batch: Sampler
    truth: Callable[[int], Batch]
    """the data, at a step, on which the loss is measured without the noise of sampling"""
    optimizer: MakesOptimizer
    trivial: float | None = None
    """loss of the best predictor that ignores its inputs; None for the loss at the start"""
    floor: float | None = None
    """loss that can be reached, where it is known in closed form; None for the best of the run's own future"""
    schedule: Callable[[int], float] | None = None
    """factor on the learning rate, by optimizer step"""
    clip: float | None = None
    accumulate: int = 1
    held: nn.Module | None = None
    """whose parameters the optimizer holds, where by a mistake it is not the model's"""

    @property
    def trained(self) -> list[nn.Parameter]:
        """What the optimizer is given."""
        return [p for p in (self.held or self.model).parameters() if p.requires_grad]


@dataclass(frozen=True)
class Configuration:
    """A problem for every seed, and what is expected of it; whether it holds is measured, see `truth`."""

    name: str
    build: Callable[[int], Problem]
    horizon: int
    """optimizer steps"""
    kind: str
    """what a healthy run is like; for a stuck one, the `Cause`"""
    stuck: bool
    accepts: tuple[str, ...] = ()
    """other causes that would also be a right answer"""
    cure: Callable[[int], Problem] | None = None
    """the same problem from a good start: the loss it reaches is what can be reached"""
    future: float = 3.0
    """horizons to train where the reachable loss is the best of the run's own future"""

    def problem(self, seed: int) -> Problem:
        """The run of this seed, the same at every call."""
        torch.manual_seed(seed)
        return self.build(seed)

    def cured(self, seed: int) -> Problem | None:
        """The run of this seed from a good start, where there is one."""
        torch.manual_seed(seed)
        return self.cure(seed) if self.cure else None


def healthy(
    name: str, horizon: int, kind: str, build: Callable[[int], Problem], *, future: float = 3.0
) -> Configuration:
    """A run that should be left in peace."""
    return Configuration(name, build, horizon, kind, stuck=False, future=future)


def stuck(
    name: str,
    horizon: int,
    cause: str,
    build: Callable[[int], Problem],
    *accepts: str,
    cure: Callable[[int], Problem] | None = None,
) -> Configuration:
    """A run that needs help."""
    return Configuration(name, build, horizon, cause, stuck=True, accepts=accepts, cure=cure)


def by(kind: Callable[..., Optimizer], **settings: Any) -> MakesOptimizer:
    """An optimizer of this kind."""
    return lambda parameters: kind(parameters, **settings)


def sgd(rate: float, momentum: float = 0.0, decay: float = 0.0) -> MakesOptimizer:
    """Stochastic gradient descent."""
    return by(torch.optim.SGD, lr=rate, momentum=momentum, weight_decay=decay)


def adam(rate: float, decay: float = 0.0) -> MakesOptimizer:
    """Adam with decoupled weight decay."""
    return by(torch.optim.AdamW, lr=rate, weight_decay=decay)


def resampled(data: Batch, size: int) -> Sampler:
    """Batches drawn with replacement; all of the data, in order, where they fit into one batch."""

    def batch(generator: Generator, step: int) -> Batch:
        if size >= len(data[0]):
            return data
        chosen = torch.randint(0, len(data[0]), (size,), generator=generator)
        return data[0][chosen], data[1][chosen]

    return batch


def finite(
    model: nn.Module,
    loss: Criterion,
    data: Batch,
    size: int,
    optimizer: MakesOptimizer,
    **rest: Any,
) -> Problem:
    """Training on a finite data set."""
    return Problem(model, loss, resampled(data, size), lambda step: data, optimizer, **rest)


def endless(
    model: nn.Module,
    loss: Criterion,
    sample: Callable[[int, Generator], Batch],
    size: int,
    optimizer: MakesOptimizer,
    *,
    judged_on: int = 1024,
    **rest: Any,
) -> Problem:
    """Training on fresh samples at every step: ``sample(count, generator)``."""
    truth = sample(judged_on, Generator().manual_seed(123))
    return Problem(model, loss, lambda generator, step: sample(size, generator), lambda step: truth, optimizer, **rest)
