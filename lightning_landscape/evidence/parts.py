"""Readings of the parts of a model: what the optimizers hold of it, and which part moves, rests, shrinks or grows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """The parameters of one group, such as a layer, that training treats alike: all are held, or all are frozen."""

    name: str
    """name of the group, such as "encoder"; several parts have the same name if the parameters of a group differ"""
    share: float
    """share of all elements of the model, in [0, 1]"""
    trainable: bool
    """whether the parameters require a gradient now"""
    frozen_since: int | None
    """optimizer step at which parameters that were trainable at the start were first seen frozen; None for others"""
    group: int | None
    """index in `Parts.groups` of the optimizer group that holds them; None if no optimizer holds them"""
    learning_rate: float | None
    """the present learning rate of that group; None if there is none"""
    reached: bool | None
    """whether the latest backward pass gave them a gradient; None if it is unknown, since no parameter has one now"""
    grad_norm: float | None
    """norm of their gradient, 0 if it is exactly zero; None if they have none"""
    norm: float
    """norm of their values"""
    initial_norm: float | None
    """norm of their initial values; None if these are unknown"""
    distance: float | None
    """|w − w₀|/|w₀|, how far they are from their initial values: exactly 0 only if all bits are equal, inf if the
    initial values were 0; None if these are unknown"""
    in_training_mode: bool = True
    """whether their layers are in training mode; some users set layers that they do not train to evaluation mode"""
    parameters: tuple[str, ...] = ()
    """names of the parameters, such as "encoder.bias", if they are a few of a larger group; else empty"""

    @property
    def labels(self) -> tuple[str, ...]:
        """What to call them in a sentence: their own names if they are a few of a group, else the name of the group."""
        return self.parameters or (self.name,)

    @property
    def held(self) -> bool:
        """Whether an optimizer holds the parameters."""
        return self.group is not None

    @property
    def unmoved(self) -> bool:
        """Whether all bits are equal to the initial values; False if these are unknown."""
        return self.distance == 0.0

    @property
    def norm_ratio(self) -> float | None:
        """Norm over the norm of the initial values; None if these are unknown or 0."""
        return self.norm / self.initial_norm if self.initial_norm else None


@dataclass(frozen=True)
class OptimizerGroup:
    """One parameter group of an optimizer."""

    optimizer: int
    """index of the optimizer"""
    index: int
    """index of the group in the optimizer"""
    learning_rate: float | None
    """the present learning rate; None if the optimizer has none"""
    base_rate: float | None
    """the learning rate from which a schedule computes the present one; None without a schedule"""
    weight_decay: float
    """the weight decay; 0 for none"""
    parts: tuple[str, ...]
    """names of the groups of parameters that it holds"""
    scales_decay: bool = False
    """whether the optimizer divides the decay by the same root as the gradient (Adam, but not AdamW), so that each step
    may move every weight by about the learning rate towards 0, however small the decay is"""


@dataclass(frozen=True)
class Parts:
    """All parts of the model in the order of the module, and the parameter groups of all optimizers."""

    parts: tuple[Part, ...]
    groups: tuple[OptimizerGroup, ...]
    step: int
    """optimizer step after which they were read"""

    def where(self, condition: Callable[[Part], bool]) -> tuple[Part, ...]:
        """Return the parts for which `condition` is true."""
        return tuple(filter(condition, self.parts))

    def share(self, condition: Callable[[Part], bool]) -> float:
        """Return the share of the model's elements in parts for which `condition` is true, in [0, 1]."""
        return math.fsum(part.share for part in self.where(condition))


@dataclass(frozen=True)
class HeldTensors:
    """Trainable parameters that no optimizer holds, and tensors in the optimizers that the module does not have."""

    unheld: tuple[str, ...]
    """names of the groups of the trainable parameters that no optimizer holds"""
    unheld_share: float
    """their share of the trainable elements, in [0, 1]; 0 if no optimizer holds anything"""
    unheld_with_gradient: float
    """share of the trainable elements that no optimizer holds and that have a gradient, in [0, 1]"""
    outside: int = 0
    """number of tensors without a gradient that the optimizers hold and the module does not have"""
    outside_share: float = 0.0
    """their share of the elements that the optimizers hold, in [0, 1]"""
    replaced: tuple[str, ...] = ()
    """names of the groups of parameters that have taken the place of these tensors in the module: they have a gradient,
    no optimizer holds them, and they have not moved"""
    unfrozen: tuple[str, ...] = ()
    """names of the groups of those parameters that were frozen at the start and have a gradient now, although no
    optimizer holds them"""


@dataclass(frozen=True)
class KeptGradients:
    """An optimizer whose gradients were never set to zero or None in its first steps."""

    optimizer: int
    """index of the optimizer"""
    steps: int
    """number of first steps that were observed"""


@dataclass(frozen=True)
class LostGradients:
    """Groups of parameters that had a gradient at nearly every step before, and have had none at all since."""

    last: Mapping[str, int]
    """the last optimizer step at which the group had a gradient, by its name"""
    measured: int
    """fewest measured steps since then"""


@dataclass(frozen=True)
class Clipping:
    """How much of the gradient is left after clipping, over the latest measured steps."""

    median: float
    """median of the norm after clipping over the norm before, in [0, 1]; 1 if nothing is clipped"""
    largest: float
    """the largest of these ratios"""
    steps: int
    """number of steps that were measured"""
