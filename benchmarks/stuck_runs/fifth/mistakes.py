"""Mistakes around a model: optimizers, hooks, samplers and schedules that are made or used in a wrong way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from benchmarks.stuck_runs.problem import Batch, MakesOptimizer, Problem, Sampler

Changes = Callable[[Batch, Generator], Batch]
"""makes another batch of a batch, with a generator"""


def parts(
    kind: Callable[..., Optimizer], *groups: tuple[Iterable[nn.Module], float], **settings: Any
) -> MakesOptimizer:
    """Return a function that makes an optimizer of these modules only, each group with its learning rate."""

    def make(_: Iterable[nn.Parameter]) -> Optimizer:
        lists = [([p for module in modules for p in module.parameters()], rate) for modules, rate in groups]
        return kind([{"params": parameters, "lr": rate} for parameters, rate in lists], **settings)

    return make


def evaluated(closure: Any) -> Any:
    """Return the loss of an optimizer's closure, with gradients; None without a closure."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


class ScaledHalf(torch.optim.SGD):
    """SGD with the loss scale of mixed precision, which doubles at regular intervals and is never lowered.

    A step whose scaled gradient overflows in half precision is left out.
    """

    def __init__(self, params: Any, lr: float, momentum: float, interval: int) -> None:
        super().__init__(params, lr=lr, momentum=momentum)
        self.scale, self.interval, self.calls = 1024.0, interval, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step if no scaled gradient overflows, and return the closure's loss, or None without a closure."""
        loss = evaluated(closure)
        self.calls += 1
        if self.calls % self.interval == 0:
            self.scale *= 2
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if all((self.scale * gradient).half().isfinite().all() for gradient in gradients):
            super().step()
        return loss


class ClippedToTheSmallest(torch.optim.SGD):
    """SGD that clips the gradient to the smallest norm that it has seen."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, lr=lr)
        self.smallest = float("inf")

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Clip and take a step, and return the closure's loss, or None without a closure."""
        loss = evaluated(closure)
        parameters = [p for group in self.param_groups for p in group["params"]]
        norm = float(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
        self.smallest = min(self.smallest, norm)
        nn.utils.clip_grad_norm_(parameters, self.smallest)
        super().step()
        return loss


class EveryNth(torch.optim.Adam):
    """Adam that takes a step at every n-th call only."""

    def __init__(self, params: Any, lr: float, every: int) -> None:
        super().__init__(params, lr=lr)
        self.every, self.calls = every, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step if it is the turn, and return the closure's loss, or None without a closure."""
        loss = evaluated(closure)
        self.calls += 1
        if self.calls % self.every == 0:
            super().step()
        return loss


class AveragesPutBack:
    """A hook that keeps an exponential average of the weights, and from one step on loads it at regular intervals."""

    def __init__(self, model: nn.Module, start: int, decay: float, every: int) -> None:
        self.model, self.start, self.decay, self.every = model, start, decay, every
        self.averages: dict[str, Tensor] = {}

    @torch.no_grad()
    def __call__(self, step: int) -> None:
        """Update the averages; load them if it is time."""
        if step == self.start:
            self.averages = {name: value.clone() for name, value in self.model.state_dict().items()}
        elif step > self.start:
            for name, value in self.model.state_dict().items():
                self.averages[name].lerp_(value, 1 - self.decay)
            if step % self.every == 0:
                self.model.load_state_dict(self.averages)


def frozen_but(model: nn.Module, kept: nn.Module, step: int) -> Callable[[int], object]:
    """Return a hook that freezes all of a model from this step on, apart from one part."""

    def hook(now: int) -> None:
        model.requires_grad_(requires_grad=now < step)
        kept.requires_grad_(requires_grad=True)

    return hook


def unfrozen_from(module: nn.Module, step: int) -> Callable[[int], object]:
    """Return a hook that freezes a module until this step."""
    return lambda now: module.requires_grad_(requires_grad=now >= step)


def changed(problem: Problem, start: int, change: Changes) -> dict[str, Any]:
    """Return the fields of a problem whose batches are changed from step `start` on, in training and evaluation."""

    def batch(generator: Generator, step: int) -> Batch:
        drawn = problem.batch(generator, step)
        return drawn if step < start else change(drawn, generator)

    after = change(problem.evaluation_data(start), Generator().manual_seed(31))
    return {"batch": batch, "evaluation_data": lambda step: problem.evaluation_data(step) if step < start else after}


def glitch(sampler: Sampler, at: range, factor: float) -> Sampler:
    """Return a sampler whose inputs are multiplied by a factor in a few steps."""

    def batch(generator: Generator, step: int) -> Batch:
        x, y = sampler(generator, step)
        return (factor * x, y) if step in at else (x, y)

    return batch


def late_labels(sampler: Sampler, start: int) -> Sampler:
    """Return a sampler which from step `start` on returns the labels of the batch before."""
    last: list[Tensor] = []

    def batch(generator: Generator, step: int) -> Batch:
        x, y = sampler(generator, step)
        before = last[0] if last else y
        last[:] = [y]
        return x, before if step >= start else y

    return batch
