"""What the published rules look at, recorded from a run trained without Lightning: the same batches and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from benchmarks.stuck_runs.problem import Problem
from benchmarks.stuck_runs.training import run

CHECKS = 100
"""per run"""


@dataclass(frozen=True)
class Check:
    """The state of training at one step."""

    step: int
    mean_gradients: tuple[float, ...]
    """mean |g| of every tensor that has a gradient, in order"""
    gradient_norms: tuple[float, ...]
    """|g| of every matrix that has a gradient, in order"""
    zero_gradients: tuple[float, ...]
    """share of their entries that are exactly zero"""
    weight_means: tuple[float, ...]
    """of every matrix"""
    zero_outputs: float = 0.0
    """largest share over the ReLU layers of outputs that are zero"""
    saturated: float = 0.0
    """largest share over the sigmoid and tanh layers of inputs beyond ±5"""
    update_ratios: tuple[float, ...] = ()
    """|Δw|/|w| of every tensor in this step"""


@dataclass(frozen=True)
class Trace:
    """A run as the rules see it."""

    horizon: int
    losses: list[float]
    """of the batch, at every optimizer step"""
    checks: list[Check] = field(default_factory=list)

    @property
    def every(self) -> int:
        """Optimizer steps between checks."""
        return max(1, self.horizon // CHECKS)

    def epochs(self, count: int = 50) -> list[float]:
        """The mean loss of each of so many epochs; NaN where a loss was not finite."""
        size = self.horizon // count
        return [sum(self.losses[i : i + size]) / size for i in range(0, size * count, size)]


def record(problem: Problem, seed: int, horizon: int) -> Trace:
    """Train for the horizon and write down what the rules need."""
    trace = Trace(horizon, [])
    pending: tuple[Check, list[Tensor]] | None = None
    weights = list(problem.model.parameters())
    with activations(problem.model) as seen:
        for step in run(problem, seed, horizon + 1):
            if pending is not None:  # the weights have moved since
                check, before = pending
                pending = None
                trace.checks.append(replace(check, update_ratios=tuple(map(_ratio, weights, before))))
            if step.index == horizon:
                break
            trace.losses.append(step.loss)
            if step.index % trace.every == 0:
                pending = _check(step.index, problem.model, seen), [w.detach().clone() for w in weights]
            seen.wanted = (step.index + 1) % trace.every == 0
    return trace


@dataclass
class Seen:
    """What the activation layers did on the batch that was last looked at."""

    wanted: bool = True
    zero_outputs: float = 0.0
    saturated: float = 0.0


@contextmanager
def activations(model: nn.Module) -> Iterator[Seen]:
    """Look at the activation layers on the batches on which it is wanted.

    Yields:
        What was seen.
    """
    seen = Seen()

    def relu(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if seen.wanted:
            seen.zero_outputs = max(seen.zero_outputs, float((output <= 0).float().mean()))

    def squash(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if seen.wanted:
            seen.saturated = max(seen.saturated, float((args[0].abs() > 5).float().mean()))

    hooks = [part.register_forward_hook(relu) for part in model.modules() if isinstance(part, nn.ReLU)]
    hooks += [part.register_forward_hook(squash) for part in model.modules() if isinstance(part, (nn.Sigmoid, nn.Tanh))]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _check(step: int, model: nn.Module, seen: Seen) -> Check:
    gradients = [p.grad.detach() for p in model.parameters() if p.grad is not None]
    matrices = [g for g in gradients if g.dim() > 1] or gradients
    check = Check(
        step=step,
        mean_gradients=tuple(float(g.abs().mean()) for g in gradients),
        gradient_norms=tuple(float(g.norm()) for g in matrices),
        zero_gradients=tuple(float((g == 0).float().mean()) for g in matrices),
        weight_means=tuple(float(p.detach().mean()) for p in model.parameters() if p.dim() > 1),
        zero_outputs=seen.zero_outputs,
        saturated=seen.saturated,
    )
    seen.zero_outputs = seen.saturated = 0.0
    return check


def _ratio(now: Tensor, before: Tensor) -> float:
    return float((now.detach() - before).norm() / (before.norm() + 1e-9))
