"""What can be done to a run that is stuck: opt-in changes to a running optimizer, never made by default.

A remedy is any function of the verdict and one optimizer that says what it did, or None where it did nothing. A monitor
calls each of its remedies once per alarm and optimizer, on every rank alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from lightning_landscape.errors import LandscapeError
from lightning_landscape.evidence import Cause, Verdict
from lightning_landscape.functional.perturbation import random_step, usual_norm

Remedy: TypeAlias = Callable[[Verdict, Optimizer], str | None]
"""Says in a sentence what it did; None where it did nothing. Under DDP it must do the same on every rank."""

Direction: TypeAlias = Literal["isotropic", "lambda_min"]

RATES = ("lr", "initial_lr", "max_lr", "min_lr")
"""where a parameter group, and the schedulers that write to it, keep learning rates"""


class Halt(str):
    """A sentence after which training is to stop.

    A remedy sees no trainer, so it cannot stop one; it says so, and whoever called it does. Since the wish travels with
    what is said, it survives any function that wraps a remedy.
    """


@dataclass(frozen=True)
class WayDown:
    """The direction of smallest curvature at the present weights; offered to a remedy, never kept with a verdict."""

    direction: Mapping[Tensor, Tensor]
    """to each parameter its part of a unit vector, which points to the side where the loss is lower"""
    lambda_min: float


@dataclass(frozen=True)
class Stop:
    """Ask the trainer to stop; its `min_steps` and `min_epochs` are respected."""

    def __call__(self, verdict: Verdict, optimizer: Optimizer) -> str | None:
        """The wish, as a `Halt`."""
        return Halt(f"asked the trainer to stop ({verdict.cause})")


@dataclass(frozen=True)
class Perturb:
    """Move every trainable weight a little [Jin17]_, by its own random numbers: the run's own streams do not notice.

    The unit of length is a tensor's norm. For tensors of two dimensions and more it is at least the norm that torch's
    own initialisation would give: at the saddle around zero, a share of nothing would be nothing.

    A run that has diverged is left alone; the optimizer's state stays as it is.

    Args:
        scale: length of the step in that unit.
        direction: "isotropic" moves each tensor in a random direction of its own; "lambda_min" moves all together along
            the smallest curvature, to the side where the loss is lower, and isotropically where nothing bends down.
        seed: of the random numbers; they differ from one alarm to the next.

    Raises:
        ValueError: if an argument is out of range.

    .. [Jin17] How to escape saddle points efficiently, arXiv:1703.00887.
    """

    scale: float = 0.1
    direction: Direction = "isotropic"
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale must be a positive number, got {self.scale}")
        if self.direction not in get_args(Direction):
            raise ValueError(f"direction must be one of {', '.join(get_args(Direction))}, got {self.direction!r}")
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")

    @property
    def needs(self) -> tuple[type, ...]:
        """Readings that a monitor has to take for this remedy alone, and to offer in the verdict's evidence."""
        return (WayDown,) if self.direction == "lambda_min" else ()

    @torch.no_grad()
    def __call__(self, verdict: Verdict, optimizer: Optimizer) -> str | None:
        """Move the weights in place.

        Raises:
            LandscapeError: if weights are sharded, since no rank sees the whole of a tensor.
        """
        weights = [p for p in parameters_of(optimizer) if p.requires_grad]
        if verdict.cause is Cause.DIVERGED or not weights:
            return None
        if any(hasattr(weight, "to_local") for weight in weights):
            raise LandscapeError("sharded weights cannot be perturbed: no rank sees the whole of a tensor")
        way = verdict.evidence.get(WayDown) if self.direction == "lambda_min" else None
        if way is not None:
            return self._along(way, weights)
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + verdict.step) % 2**63)
        for weight in weights:
            weight.add_(random_step(weight, self.scale, generator))
        why = "; no direction that bends down was found" if self.direction == "lambda_min" else ""
        return f"moved {len(weights)} tensors by {self.scale:.3g} of their norm in random directions{why}"

    def _along(self, way: WayDown, weights: list[Tensor]) -> str | None:
        length = self.scale * math.hypot(*(usual_norm(weight) for weight in weights))
        moved = [weight for weight in weights if weight in way.direction]
        for weight in moved:
            weight.add_(way.direction[weight].to(weight), alpha=length)
        if not moved:
            return None
        return (
            f"moved {len(moved)} tensors by {length:.3g}, {self.scale:.3g} of their norm, along the smallest curvature "
            f"(λ_min = {way.lambda_min:.3g})"
        )


@dataclass(frozen=True)
class ScaleLearningRate:
    """Multiply the learning rate of every parameter group, and what schedulers keep in the group to compute it from.

    A monitor carries the change on to the `base_lrs` of the trainer's schedulers, which would otherwise write the old
    rate back at their next step. A scheduler with absolute values of its own (`eta_min`, the `min_lr` of
    ``ReduceLROnPlateau``) keeps these; one of your own that remembers rates under other names has the last word.

    Raises:
        ValueError: if `factor` is not a positive number.
    """

    factor: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor > 0):
            raise ValueError(f"factor must be a positive number, got {self.factor}")

    def __call__(self, verdict: Verdict, optimizer: Optimizer) -> str | None:
        """Scale in place."""
        before = _rates(optimizer)
        for group in optimizer.param_groups:
            for name in RATES:
                if name in group:
                    group[name] = _scaled(group[name], self.factor)
        return f"scaled the learning rate by {self.factor:g}, from {before} to {_rates(optimizer)}"


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Every parameter of every group, once."""
    return list({id(p): p for group in optimizer.param_groups for p in group["params"]}.values())


def checked_remedies(remedies: Any) -> tuple[Remedy, ...]:
    """The remedies as a tuple.

    Raises:
        ValueError: if they are no sequence of functions, or one is a class that still wants its arguments.
    """
    if not isinstance(remedies, (list, tuple)):
        raise ValueError(f"remedies must be a sequence, such as (Stop(),), got {remedies!r}")
    for remedy in remedies:
        if isinstance(remedy, type) or not callable(remedy):
            raise ValueError(f"a remedy must be a function of (verdict, optimizer), such as Stop(), got {remedy!r}")
    return tuple(remedies)


def _scaled(rate: Any, factor: float) -> Any:
    # A capturable optimizer reads its rate from this very tensor.
    return rate.mul_(factor) if isinstance(rate, Tensor) else rate * factor


def _rates(optimizer: Optimizer) -> str:
    rates = dict.fromkeys(f"{float(group['lr']):.3g}" for group in optimizer.param_groups if "lr" in group)
    return ", ".join(rates)
