"""Readings of trials on a copy of the weights, and of the measurements that go with them.

A *gain* is the relative fall of the loss, (loss before − loss after)/(loss before − floor), where the floor is the
lowest possible loss. It is negative if the loss rose and
-inf if it is no longer finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

RATE_FACTORS = {
    "this optimizer": 1.0,
    "learning rate x0.1": 0.1,
    "learning rate x10": 10.0,
    "learning rate x0.01": 0.01,
    "learning rate x100": 100.0,
    "learning rate x1000": 1000.0,
}
"""names of the trials with the run's own optimizer, and the factors on its learning rate"""
SMALLER_RATES = tuple(name for name, factor in RATE_FACTORS.items() if factor < 1)
LARGER_RATES = tuple(name for name, factor in RATE_FACTORS.items() if factor > 1)


@dataclass(frozen=True)
class StartingPoint:
    """The loss of the initial and of the present weights on the same batches."""

    loss: float
    """loss of the initial weights"""
    now: float
    """loss of the present weights"""
    batches: int = 0
    """number of batches that both losses average over; 0 if it is unknown"""


@dataclass(frozen=True)
class InputUse:
    """The loss with the right targets and with the targets of other samples: does the model use its inputs?"""

    loss: float
    """mean loss on the held-out batches, with the right targets"""
    shuffled: float
    """mean loss on the same batches after the targets were exchanged between samples; equal to `loss` if the batches
    have no targets"""
    moved: float
    """largest change of the loss of a single batch by the exchange, over the height of `loss` above the floor; never
    negative"""
    varied: bool
    """whether the inputs of different samples differ"""
    targets: tuple[str, ...] = ()
    """the entries of the batch that were exchanged, by their indices, keys or attribute names"""
    paired: bool = True
    """whether the batches have targets, that is, entries that only the loss uses and not the model"""
    floor: float = 0.0
    """the lowest possible loss, from which shares are measured"""

    @property
    def share(self) -> float:
        """Relative rise of the loss by the exchange of targets; about 0 if the model does not use its inputs."""
        rise, height = self.shuffled - self.loss, abs(self.loss - self.floor)
        return rise / height if height else math.copysign(math.inf, rise) if rise else 0.0

    @property
    def unpaired(self) -> bool:
        """Whether the loss depends on the inputs alone, since the batches have no targets."""
        return not self.paired


@dataclass(frozen=True)
class Trials:
    """Gains of short trials on a copy of the weights, evaluated on held-out batches."""

    gains: Mapping[str, float]
    """gain of each trial, by its name"""
    steps: int
    """number of optimizer steps of each trial"""
    relative_gradient: float
    """κ = |g|·max(|w|, 1)/(loss − floor) on the batches of the trials, before any step; inf at the floor"""
    decay_pull: float
    """size of the weight-decay term over the size of the gradient; about 1 if the two are in balance"""
    samples: int
    """number of samples in the batches of the trials; 0 if it is unknown"""
    batches: int = 1
    """number of batches that the trials train on, one batch per step in turn"""

    def gain(self, trial: str) -> float:
        """Return the gain of a trial; 0 if that trial was not run."""
        return self.gains.get(trial, 0.0)

    @property
    def best(self) -> float:
        """The largest gain of all trials; never negative."""
        return max(0.0, *self.gains.values()) if self.gains else 0.0

    @property
    def own(self) -> float:
        """Gain of the run's own optimizer without any change; 0 if that trial was not run."""
        return self.gain("this optimizer")

    @property
    def own_at_any_rate(self) -> float:
        """Largest gain of the run's own optimizer at its own, at smaller and at larger learning rates."""
        return max(self.own, self.smaller_rates, self.larger_rates)

    @property
    def smaller_rates(self) -> float:
        """Largest gain of the run's own optimizer at a tenth or less of its rate; 0 if none of these trials was run."""
        return self._largest(SMALLER_RATES)

    @property
    def larger_rates(self) -> float:
        """Largest gain of the run's own optimizer at ten times its rate or more; 0 if none of these trials was run."""
        return self._largest(LARGER_RATES)

    @property
    def smaller_steps(self) -> float:
        """Largest gain of the trials that take shorter steps: at a smaller learning rate, and with averaged weights."""
        return self._largest(("mean of the path", *SMALLER_RATES))

    @property
    def best_rate(self) -> float | None:
        """Factor on the learning rate with the largest gain, 1 for the run's own; None if no rate was tried.

        Of equal gains, that of the factor nearest to 1 counts.
        """
        tried = [name for name in RATE_FACTORS if name in self.gains]
        return RATE_FACTORS[max(tried, key=self.gains.__getitem__)] if tried else None

    def _largest(self, names: Iterable[str]) -> float:
        return max((self.gains[name] for name in names if name in self.gains), default=0.0)


@dataclass(frozen=True)
class Alternatives:
    """Gains of further trials that are run after an alarm: the advice uses them, the cause does not depend on them."""

    gains: Mapping[str, float]
    """gain of each trial on held-out batches, by its name"""
    steps: int
    """number of optimizer steps of each trial"""
    batches: int
    """number of batches that the trials train on"""


@dataclass(frozen=True)
class Symmetry:
    """Duplicate units, whose initial weights are all zero or equal to those of another unit of the same layer.

    Gradient descent updates such units alike, so they stay duplicates.
    """

    share: float
    """largest share of duplicate units in a hidden layer, over all hidden layers, in [0, 1]"""
    layer: str | None
    """name of the layer with that share"""
