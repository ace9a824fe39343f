"""Record what the published rules need from a run that is trained without Lightning, on the same batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from benchmarks.stuck_runs.problem import Problem
from benchmarks.stuck_runs.training import run

SAVES = 100
"""how many times in a run the tensors are examined"""


@dataclass(frozen=True)
class TensorStatistics:
    """Statistics of weights, gradients and activations at one step."""

    step: int
    mean_gradients: tuple[float, ...]
    """mean |g| of each tensor that has a gradient, in the order of the model"""
    gradient_norms: tuple[float, ...]
    """|g| of each matrix that has a gradient, in the order of the model"""
    zero_gradients: tuple[float, ...]
    """share of exact zeros in the gradient of each of these matrices"""
    weight_means: tuple[float, ...]
    """mean of each matrix"""
    zero_outputs: float = 0.0
    """share of zero outputs, in the ReLU layer where it is largest"""
    saturated: float = 0.0
    """share of inputs beyond ±5, in the sigmoid or tanh layer where it is largest"""
    update_ratios: tuple[float, ...] = ()
    """|Δw|/|w| of each tensor in this step"""


@dataclass(frozen=True)
class Trace:
    """The losses and tensor statistics of a run."""

    horizon: int
    losses: list[float]
    """loss of the batch at each optimizer step"""
    saves: list[TensorStatistics] = field(default_factory=list)

    @property
    def save_interval(self) -> int:
        """Optimizer steps between two saves."""
        return max(1, self.horizon // SAVES)

    def epochs(self, count: int = 50) -> list[float]:
        """Return the mean loss of each of `count` epochs; NaN or infinite if a loss of the epoch is."""
        size = self.horizon // count
        return [sum(self.losses[i : i + size]) / size for i in range(0, size * count, size)]


def record(problem: Problem, seed: int, horizon: int) -> Trace:
    """Train for `horizon` steps, and return what the rules need."""
    trace = Trace(horizon, [])
    pending: tuple[TensorStatistics, list[Tensor]] | None = None
    weights = list(problem.model.parameters())
    with watched_activations(problem.model) as activations:
        for step in run(problem, seed, horizon + 1):
            if pending is not None:  # its optimizer step has been taken
                statistics, before = pending
                pending = None
                trace.saves.append(replace(statistics, update_ratios=tuple(map(_ratio, weights, before))))
            if step.index == horizon:
                break
            trace.losses.append(step.loss)
            if step.index % trace.save_interval == 0:
                statistics = _statistics(step.index, problem.model, activations)
                pending = statistics, [w.detach().clone() for w in weights]
            activations.enabled = (step.index + 1) % trace.save_interval == 0
    return trace


@dataclass
class Activations:
    """Shares of zero outputs and saturated inputs of the activation layers, measured while `enabled`."""

    enabled: bool = True
    zero_outputs: float = 0.0
    saturated: float = 0.0


@contextmanager
def watched_activations(model: nn.Module) -> Iterator[Activations]:
    """Measure the activation layers of a model in forward hooks.

    Yields:
        the shares, which the hooks update while they are enabled.
    """
    activations = Activations()

    def relu(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if activations.enabled:
            activations.zero_outputs = max(activations.zero_outputs, float((output <= 0).float().mean()))

    def squash(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if activations.enabled:
            activations.saturated = max(activations.saturated, float((args[0].abs() > 5).float().mean()))

    hooks = [part.register_forward_hook(relu) for part in model.modules() if isinstance(part, nn.ReLU)]
    hooks += [part.register_forward_hook(squash) for part in model.modules() if isinstance(part, (nn.Sigmoid, nn.Tanh))]
    try:
        yield activations
    finally:
        for hook in hooks:
            hook.remove()


def _statistics(step: int, model: nn.Module, activations: Activations) -> TensorStatistics:
    gradients = [p.grad.detach() for p in model.parameters() if p.grad is not None]
    matrices = [g for g in gradients if g.dim() > 1] or gradients
    statistics = TensorStatistics(
        step=step,
        mean_gradients=tuple(float(g.abs().mean()) for g in gradients),
        gradient_norms=tuple(float(g.norm()) for g in matrices),
        zero_gradients=tuple(float((g == 0).float().mean()) for g in matrices),
        weight_means=tuple(float(p.detach().mean()) for p in model.parameters() if p.dim() > 1),
        zero_outputs=activations.zero_outputs,
        saturated=activations.saturated,
    )
    activations.zero_outputs = activations.saturated = 0.0
    return statistics


def _ratio(now: Tensor, before: Tensor) -> float:
    return float((now.detach() - before).norm() / (before.norm() + 1e-9))
