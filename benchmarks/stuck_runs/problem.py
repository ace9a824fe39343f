"""Two classes: a problem is one run, ready to be trained; a configuration has a problem for every seed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

Batch = tuple[Tensor, Tensor]
Sampler = Callable[[Generator, int], Batch]
"""draws the batch of a step with a generator"""
Criterion = Callable[..., Tensor]
"""loss, 0-dim, of the output of the model and the target"""
MakesOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Problem:
    """A model, and everything that is needed to train it."""

    model: nn.Module
    loss: Criterion
    batch: Sampler
    evaluation_data: Callable[[int], Batch]
    """data at a step, on which the loss is evaluated without the noise of drawing batches"""
    optimizer: MakesOptimizer
    trivial: float | None = None
    """loss of the best predictor that ignores its inputs; None for the initial loss"""
    floor: float | None = None
    """lowest loss that can be reached, if it is known in closed form; otherwise None, and it is measured"""
    schedule: Callable[[int], float] | None = None
    """factor of the learning rate at each optimizer step"""
    clip: float | None = None
    """limit of the gradient norm"""
    accumulate: int = 1
    """batches in each optimizer step"""
    optimized_module: nn.Module | None = None
    """the module whose parameters the optimizer gets, if that is by mistake another one than `model`"""
    before_step: Callable[[int], object] | None = None
    """called with the index of each optimizer step before its first batch is used; may change the model"""

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that the optimizer gets."""
        return [p for p in (self.optimized_module or self.model).parameters() if p.requires_grad]


@dataclass(frozen=True)
class Configuration:
    """A problem for every seed, and its intended label; module `truth` measures whether the label is right."""

    name: str
    build: Callable[[int], Problem]
    horizon: int
    """length of the run in optimizer steps"""
    kind: str
    """`Cause` of a stuck run; for a healthy one, a word for the shape of its loss"""
    stuck: bool
    """whether the run is meant to be stuck"""
    accepts: tuple[str, ...] = ()
    """other causes that would also be right"""
    cure: Callable[[int], Problem] | None = None
    """makes the problem without its mistake or bad start; its lowest loss is the one that can be reached"""
    future: float = 3.0
    """how many horizons to train for the lowest loss that can be reached, if neither floor nor cure is known"""

    def problem(self, seed: int) -> Problem:
        """Return the run of this seed, the same at every call."""
        torch.manual_seed(seed)
        return self.build(seed)

    def cured(self, seed: int) -> Problem | None:
        """Return the run of this seed without its mistake or bad start, or None without a `cure`."""
        torch.manual_seed(seed)
        return self.cure(seed) if self.cure else None


def healthy(
    name: str, horizon: int, kind: str, build: Callable[[int], Problem], *, future: float = 3.0
) -> Configuration:
    """Return a configuration of healthy runs, in which every alarm is false."""
    return Configuration(name, build, horizon, kind, stuck=False, future=future)


def stuck(
    name: str,
    horizon: int,
    cause: str,
    build: Callable[[int], Problem],
    *accepts: str,
    cure: Callable[[int], Problem] | None = None,
) -> Configuration:
    """Return a configuration of stuck runs, in which there should be an alarm."""
    return Configuration(name, build, horizon, cause, stuck=True, accepts=accepts, cure=cure)


def by(kind: Callable[..., Optimizer], **settings: Any) -> MakesOptimizer:
    """Return a function that makes an optimizer of this class with these settings."""
    return lambda parameters: kind(parameters, **settings)


def sgd(rate: float, momentum: float = 0.0, decay: float = 0.0) -> MakesOptimizer:
    """Return a function that makes SGD with these settings."""
    return by(torch.optim.SGD, lr=rate, momentum=momentum, weight_decay=decay)


def adam(rate: float, decay: float = 0.0) -> MakesOptimizer:
    """Return a function that makes AdamW with these settings."""
    return by(torch.optim.AdamW, lr=rate, weight_decay=decay)


def resampled(data: Batch, size: int) -> Sampler:
    """Return a sampler that draws with replacement, or returns all of the data in order if they fit into one batch."""

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
    """Return the problem of training on a finite data set."""
    return Problem(model, loss, resampled(data, size), lambda step: data, optimizer, **rest)


def endless(
    model: nn.Module,
    loss: Criterion,
    sample: Callable[[int, Generator], Batch],
    size: int,
    optimizer: MakesOptimizer,
    *,
    evaluation_samples: int = 1024,
    **rest: Any,
) -> Problem:
    """Return the problem of training on new samples in every step, drawn by ``sample(count, generator)``."""
    data = sample(evaluation_samples, Generator().manual_seed(123))
    return Problem(model, loss, lambda generator, step: sample(size, generator), lambda step: data, optimizer, **rest)
