"""Trials: optimizer steps on a copy of the weights, evaluated on batches that they did not use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_landscape.evidence import InputUse, StartingPoint, Trials
from lightning_landscape.probes.evaluation import (
    batch_loss,
    gradient_at,
    loss_value,
    norm,
    relative_gain,
    relative_gradient,
)
from lightning_landscape.probes.rates import FIRST_RATES, OWN_RATE, RATE_FACTORS, next_rate
from lightning_landscape.surface import LossSurface, OptimizerStep, Params, costs

ADAM_LEARNING_RATE = 1e-2
"""learning rate of trials with Adam, large enough that 40 steps move the weights noticeably"""
MIN_STEPS = 8
"""smallest number of steps of a trial; after fewer, gains are too small to compare"""
LINE_SEARCH = (0.0, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
"""step lengths of the line search, as shares of the weights' norm"""


@costs(lambda surface: surface.loss_cost(2))
def starting_point(surface: LossSurface) -> StartingPoint | None:
    """Return the loss at the initial and at the present weights on the same batches; None without the initial weights.

    The losses logged in training cannot replace it: the first of them are noisy and, in a run that diverges at once,
    far above the loss at the initial weights.
    """
    if "initial" not in surface.anchors:
        return None
    now = loss_value(surface.loss, surface.here)
    with surface.at_anchor("initial") as start:
        return StartingPoint(loss_value(surface.loss, start), now, len(surface.batch_losses))


@costs(lambda surface: 0.0 if surface.pairing is None else surface.pairing.forward_passes / 3)
def input_use(surface: LossSurface) -> InputUse | None:
    """Return the held-out loss with each input's own target and with the target of another sample.

    None where a batch cannot be split into entries, and where a loss is not finite.
    """
    pairing = surface.pairing
    if pairing is None:
        return None
    losses = [loss_value(batch_loss, surface.here) for batch_loss in pairing.paired_losses]
    roles = pairing.roles()
    mispaired = (
        [loss_value(batch_loss, surface.here) for batch_loss in pairing.mispaired_losses(roles.targets)]
        if roles.targets
        else losses
    )
    if not all(map(math.isfinite, (*losses, *mispaired))):
        return None
    loss, shuffled = sum(losses) / len(losses), sum(mispaired) / len(mispaired)
    largest_change = max(abs(after - before) for before, after in zip(losses, mispaired, strict=True))
    return InputUse(
        loss=loss,
        shuffled=shuffled,
        moved=largest_change / surface.height(loss) if surface.height(loss) else 0.0,
        floor=surface.run.floor or 0.0,
        varied=roles.inputs_vary,
        targets=tuple(".".join(map(str, path)) for path in roles.targets),
        paired=bool(roles.targets),
    )


@dataclass(frozen=True)
class CopyTrials:
    """Try on copies of the weights: the run's own optimizer at several learning rates, Adam, and a line search.

    The own optimizer is tried at its rate, at a tenth and at ten times of it, and outward from there while that is
    informative; see `rates.next_rate`. The mean of the points that it passes at its own rate is evaluated as well. A
    trial takes `steps` gradients of one batch; where the gradient budget is smaller, the trials are shorter, but at
    least 8 steps long.

    If the weights are large, the line search uses a single batch, the mean of the points is left out, and so is Adam
    unless the run's own optimizer has as large a state: one copy of the weights and of the optimizer is then enough.
    """

    reading: ClassVar[type] = Trials
    """class of its reading"""
    steps: int = 40

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")

    def __call__(self, surface: LossSurface) -> Trials | None:
        """Return the gain of each trial; None where there are no held-out batches."""
        held_out = surface.held_out
        if held_out is None:
            return None
        before = loss_value(held_out, surface.here)
        height = surface.height(before)
        on_batches = surface.on_first(1) if surface.large else surface
        gradient = gradient_at(on_batches.loss, surface.here)
        gradient_norm, weight_norm = norm(gradient), norm(surface.here)
        steps, further = self._steps(surface), self._further(surface)

        def gain(point: Params) -> float:
            return relative_gain(before, loss_value(held_out, point), height)

        with _line_search(on_batches, gradient, gradient_norm, weight_norm) as lowest:
            gains = {"line search": gain(lowest)}
        del gradient  # the trials take as much memory again, so they do without it
        if surface.has_room_for_adam:
            with run_trial(surface, adam(surface), steps) as last:
                gains = {"adam": gain(last), **gains}
        optimizer_copy, name = surface.run.optimizer_copy, next_rate({})
        while optimizer_copy is not None and name is not None:
            mean = _zeros(surface.here) if name == OWN_RATE and not surface.large else None
            with run_trial(surface, optimizer_copy(RATE_FACTORS[name]), steps, mean=mean) as last:
                gains[name] = gain(last)
            gains |= {} if mean is None else {"mean of the path": gain(mean)}
            name = next_rate(gains)
            if name is not None and name not in FIRST_RATES:
                name, further = (name, further - 1) if further else (None, 0)
        return Trials(
            gains=gains,
            steps=steps,
            relative_gradient=relative_gradient(gradient_norm, weight_norm, height),
            decay_pull=_decay_pull(surface, gradient_norm, weight_norm),
            samples=surface.run.samples,
            batches=max(1, len(surface.batch_losses)),
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the largest cost on this surface, in gradients of one batch."""
        return self._least_cost(surface) + self._further(surface) * self._cost_of_further_rate(surface)

    def _steps(self, surface: LossSurface) -> int:
        affordable = surface.steps_within_budget(self.steps, _number_of_trials(surface), _fixed_cost(surface))
        return max(min(MIN_STEPS, self.steps), affordable)

    def _least_cost(self, surface: LossSurface) -> float:
        return _fixed_cost(surface) + _number_of_trials(surface) * self._steps(surface)

    def _further(self, surface: LossSurface) -> int:
        """Return the number of further learning rates that the gradient budget allows."""
        if surface.held_out is None or surface.run.optimizer_copy is None:
            return 0
        rates = len(RATE_FACTORS) - len(FIRST_RATES)
        return surface.steps_within_budget(rates, self._cost_of_further_rate(surface), self._least_cost(surface))

    def _cost_of_further_rate(self, surface: LossSurface) -> float:
        return self._steps(surface) + surface.held_out_cost(1)


def _number_of_trials(surface: LossSurface) -> int:
    return 1 if surface.run.optimizer_copy is None else 1 + len(FIRST_RATES)


def _fixed_cost(surface: LossSurface) -> float:
    """Return the cost of all other work: a gradient, a line search, and the held-out loss before and after trials."""
    line_search_and_mean = 1 if surface.run.optimizer_copy is None else 2
    results = _number_of_trials(surface) + line_search_and_mean
    return surface.batches + surface.loss_cost(len(LINE_SEARCH)) + surface.held_out_cost(1 + results)


@contextmanager
def run_trial(
    surface: LossSurface,
    optimizer_step: OptimizerStep,
    steps: int,
    *,
    start: Params | None = None,
    batches: int = 1,
    mean: Params | None = None,
) -> Iterator[Params]:
    """Take `steps` optimizer steps in a working copy of the weights, and lend the last point.

    Args:
        surface: with the batches.
        optimizer_step: the step of a new optimizer.
        steps: number of steps.
        start: the weights at which it begins; None for the present ones.
        batches: each step takes the mean gradient of this many batches, which are used in turn.
        mean: zeros, to which the mean of the points after each step is added; None if it is not needed.

    Yields:
        the last point
    """
    with surface.working_copy(start) as point:
        for i in range(steps):
            gradients = [gradient_at(batch_loss(surface, i * batches + k), point).values() for k in range(batches)]
            optimizer_step(point, list(gradients.pop()) if batches == 1 else _mean_by_parameter(gradients))
            for name, total in ({} if mean is None else mean).items():
                total += point[name] / steps
        yield point


def _zeros(like: Params) -> dict[str, Tensor]:
    return {name: torch.zeros_like(weight) for name, weight in like.items()}


def adam(surface: LossSurface) -> OptimizerStep:
    """Return the step of a new Adam with the weight decay of the run; of AdamW where that decay is decoupled.

    Without the decay, a trial would lower the loss of a run whose gradient and weight decay are in balance, although
    the optimizer of that run works as it should.
    """
    kind = torch.optim.AdamW if surface.run.decoupled_decay else torch.optim.Adam
    optimizer: torch.optim.Optimizer | None = None

    def step(point: Params, gradient: Sequence[Tensor]) -> None:
        nonlocal optimizer
        if optimizer is None:
            optimizer = kind(point.values(), lr=ADAM_LEARNING_RATE, weight_decay=surface.run.weight_decay)
        for weight, slope in zip(point.values(), gradient, strict=True):
            weight.grad = slope
        # `step` itself would also run hooks that the user has registered for all optimizers of the process.
        optimizer.step.__wrapped__(optimizer)  # type: ignore[attr-defined]
        optimizer.zero_grad()

    return step


@contextmanager
def _line_search(surface: LossSurface, gradient: Params, gradient_norm: float, weight_norm: float) -> Iterator[Params]:
    """Lend the point of lowest loss among the present weights and six steps against the gradient.

    The steps are 0.1% to 30% of the weights' norm long.

    Yields:
        the point
    """
    if not 0 < gradient_norm < math.inf:
        yield surface.here
        return
    with surface.working_copy() as point:

        @torch.no_grad()
        def move_to(distance: float) -> Params:
            for name, weight in surface.here.items():
                point[name].copy_(weight).sub_(gradient[name], alpha=distance)
            return point

        distances = [share * max(weight_norm, 1.0) / gradient_norm for share in LINE_SEARCH]
        losses = [loss_value(surface.loss, move_to(distance)) for distance in distances]
        lowest = min(range(len(losses)), key=lambda i: math.inf if math.isnan(losses[i]) else losses[i])
        yield move_to(distances[lowest])


def _decay_pull(surface: LossSurface, gradient_norm: float, weight_norm: float) -> float:
    """Return the norm of the weight decay's step over that of the gradient's step, without the learning rate.

    Optimizers with a decoupled decay scale the gradient to about 1 for each weight, so that its norm is the square root
    of their number.
    """
    number_of_weights = sum(weight.numel() for weight in surface.here.values())
    gradient_step = number_of_weights**0.5 if surface.run.decoupled_decay else gradient_norm
    return surface.run.weight_decay * weight_norm / gradient_step if gradient_step else 0.0


def _mean_by_parameter(gradients: Iterable[Iterable[Tensor]]) -> list[Tensor]:
    return [torch.stack(parts).mean(0) for parts in zip(*gradients, strict=True)]
