"""Remedies: functions that change the weights or the optimizer of a run after an alarm. No monitor has any by default.

A remedy takes the verdict and one optimizer, and returns what it did in words, or None if it did nothing. A monitor
calls each of its remedies once per alarm and optimizer, on every rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.errors import LandscapeError
from lightning_landscape.evidence import Cause, Verdict
from lightning_landscape.functional.perturbation import random_step, usual_norm

Remedy: TypeAlias = Callable[[Verdict, Optimizer], str | None]
"""Returns what it did in words, or None if it did nothing. It must do the same on every rank."""

Direction: TypeAlias = Literal["isotropic", "lambda_min"]
"""Direction of a perturbation: random in each tensor, or along the smallest curvature."""

RATES = ("lr", "initial_lr", "max_lr", "min_lr")
"""keys of a parameter group under which the optimizer and its schedulers store learning rates"""


class Halt(str):
    """What a remedy did, with the request to stop training.

    A remedy has no access to the trainer. If it returns a `Halt`, the monitor stops the trainer. A function that wraps
    a remedy passes the request on when it returns what the remedy returned.
    """


@dataclass(frozen=True)
class WayDown:
    """The direction of smallest curvature at the present weights.

    The monitor adds it to the evidence for the call of a remedy only, because it is as large as the model.
    """

    direction: Mapping[Tensor, Tensor]
    """for each parameter its part of a unit vector, whose sign is chosen so that the loss is lower along it"""
    lambda_min: float
    """the smallest curvature"""


@dataclass(frozen=True)
class Stop:
    """Ask the trainer to stop. The trainer still completes its `min_steps` and `min_epochs`."""

    def __call__(self, verdict: Verdict, optimizer: Optimizer) -> str | None:
        """Return the request as a `Halt`."""
        return Halt(f"asked the trainer to stop ({verdict.cause})")


@dataclass(frozen=True)
class Perturb:
    """Add a small random step to all trainable weights [Jin17]_.

    The length of the step is relative to the norm of each tensor. For tensors with two or more dimensions, this norm is
    taken to be at least that of torch's default initialisation: weights close to zero would hardly move otherwise. The
    random numbers come from a separate generator, so those of the run do not change, and neither does the state of the
    optimizer. If the run has diverged, nothing is done.

    Args:
        scale: length of the step, as a multiple of the norm.
        direction: "isotropic" moves each tensor in a random direction; "lambda_min" moves all of them together along
            the direction of smallest curvature, or like "isotropic" if no direction of negative curvature was found.
        seed: seed of the random numbers, which also differ from one alarm to the next.

    Raises:
        ValueError: if an argument is out of range.

    .. [Jin17] How to escape saddle points efficiently, arXiv:1703.00887.
    """

    scale: float = 0.1
    direction: Direction = "isotropic"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_positive("scale", self.scale)
        if self.direction not in get_args(Direction):
            raise ValueError(f"direction must be one of {', '.join(get_args(Direction))}, got {self.direction!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError(f"seed must be a whole number, got {self.seed!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")

    @property
    def needs(self) -> tuple[type, ...]:
        """Types of the readings that the monitor has to add to the evidence for this remedy."""
        return (WayDown,) if self.direction == "lambda_min" else ()

    @torch.no_grad()
    def __call__(self, verdict: Verdict, optimizer: Optimizer) -> str | None:
        """Move the weights in place, and return what was done; None if nothing was.

        Raises:
            LandscapeError: if weights are sharded, since no rank has a whole tensor.
        """
        weights = [p for p in parameters_of(optimizer) if p.requires_grad]
        if verdict.cause is Cause.DIVERGED or not weights:
            return None
        if any(hasattr(weight, "to_local") for weight in weights):
            raise LandscapeError("sharded weights cannot be perturbed, because no rank has a whole tensor")
        way = verdict.evidence.get(WayDown) if self.direction == "lambda_min" else None
        if way is not None:
            return self._along(way, weights)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + verdict.step) % 2**63)
        for weight in weights:
            weight.add_(random_step(weight, self.scale, generator))
        why = ", because no direction of negative curvature was found" if self.direction == "lambda_min" else ""
        return f"moved {len(weights)} tensors by {self.scale:.3g} of their norm in random directions{why}"

    def _along(self, way: WayDown, weights: list[Tensor]) -> str | None:
        """Move the weights along a direction, and return what was done; None if it contains none of the weights."""
        length = self.scale * math.hypot(*(usual_norm(weight) for weight in weights))
        moved = [weight for weight in weights if weight in way.direction]
        for weight in moved:
            weight.add_(way.direction[weight].to(weight), alpha=length)
        if not moved:
            return None
        return (
            f"moved {len(moved)} tensors by {length:.3g}, which is {self.scale:.3g} of their norm, along the smallest "
            f"curvature (λ_min = {way.lambda_min:.3g})"
        )


@dataclass(frozen=True)
class ScaleLearningRate:
    """Multiply all learning rates of the parameter groups by a factor, including those that schedulers start from.

    The monitor also scales the `base_lrs` of the trainer's schedulers, which would otherwise restore the old rate at
    their next step. Absolute limits of a scheduler (`eta_min`, the `min_lr` of ``ReduceLROnPlateau``) are not scaled. A
    scheduler of your own that stores rates under other names may restore the old rate.

    Args:
        factor: the factor, a positive number.

    Raises:
        ValueError: if `factor` is not a positive number.
    """

    factor: float

    def __post_init__(self) -> None:
        _check_positive("factor", self.factor)

    def __call__(self, verdict: Verdict, optimizer: Optimizer) -> str | None:
        """Scale the learning rates in place, and return the rates before and after."""
        before = _rates(optimizer)
        for group in optimizer.param_groups:
            for name in RATES:
                if name in group:
                    group[name] = _scaled(group[name], self.factor)
        return f"scaled the learning rate by {self.factor:g}, from {before} to {_rates(optimizer)}"


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters of all groups, each of them once."""
    return list({id(p): p for group in optimizer.param_groups for p in group["params"]}.values())


def checked_remedies(remedies: Sequence[Remedy]) -> tuple[Remedy, ...]:
    """Return the remedies as a tuple.

    Raises:
        ValueError: if `remedies` is not a list or tuple of functions, for example if it contains the class `Stop`
            instead of `Stop()`.
    """
    if not isinstance(remedies, (list, tuple)):
        raise ValueError(f"remedies must be a sequence, such as (Stop(),), got {remedies!r}")
    for remedy in remedies:
        if isinstance(remedy, type) or not callable(remedy):
            raise ValueError(f"a remedy must be a function (verdict, optimizer) -> str | None, got {remedy!r}")
    return tuple(remedies)


def _check_positive(name: str, value: float) -> None:
    """Check that this argument is a positive number.

    Raises:
        ValueError: if it is not.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, got {value!r}")


def _scaled(rate: float | Tensor, factor: float) -> float | Tensor:
    """Return the scaled rate; a tensor is scaled in place, because a capturable optimizer keeps reading that tensor."""
    return rate.mul_(factor) if isinstance(rate, Tensor) else rate * factor


def _rates(optimizer: Optimizer) -> str:
    """Return the different learning rates of the groups, as text."""
    rates = dict.fromkeys(f"{float(group['lr']):.3g}" for group in optimizer.param_groups if "lr" in group)
    return ", ".join(rates)
