"""Readings of trials on a copy of the weights, and of the measurements that go with them.

A *gain* is the relative fall of the loss, (loss before − loss after)/|loss before|. It is negative if the loss rose and
-inf if it is no longer finite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


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
    """largest change of the loss of a single batch by the exchange, over |`loss`|; never negative"""
    varied: bool
    """whether the inputs of different samples differ"""
    targets: tuple[str, ...] = ()
    """the entries of the batch that were exchanged, by their indices, keys or attribute names"""
    paired: bool = True
    """whether the batches have targets, that is, entries that only the loss uses and not the model"""

    @property
    def share(self) -> float:
        """Relative rise of the loss by the exchange of targets; about 0 if the model does not use its inputs."""
        rise = self.shuffled - self.loss
        return rise / abs(self.loss) if self.loss else math.copysign(math.inf, rise) if rise else 0.0

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
    """κ = |g|·max(|w|, 1)/|loss| on the batches of the trials, before any step; inf at loss 0"""
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
        """Largest gain of the run's own optimizer at its own, ten times and a tenth of its learning rate."""
        return max(self.own, self.gain("learning rate x0.1"), self.gain("learning rate x10"))

    @property
    def smaller_steps(self) -> float:
        """Larger gain of two trials that take shorter steps: a tenth of the learning rate, and averaged weights."""
        return max(self.gain("mean of the path"), self.gain("learning rate x0.1"))


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
class Restart:
    """The best of a few short runs from re-initialised weights, evaluated on held-out batches."""

    gain: float
    """gain of the restarted run over the present weights"""
    seeds: int
    """number of restarted runs, one per seed"""
    steps: int
    """number of optimizer steps of each"""
    fallen: float | None = None
    """gain of that run over its own initial weights, on a batch that it trained on; None if it was not measured"""

    @property
    def trained(self) -> bool:
        """Whether the loss of the restarted run did not blow up; a run that blew up shows nothing about the data.

        The loss on a batch of the run's own must not rise by 20%. The loss on held-out batches may be higher than that,
        because the run may memorise its own batches; if only this loss was measured, it must not be twice the present
        loss.
        """
        return self.gain > -1.0 if self.fallen is None else self.gain > -math.inf and self.fallen > -0.2


@dataclass(frozen=True)
class Symmetry:
    """Duplicate units, whose initial weights are all zero or equal to those of another unit of the same layer.

    Gradient descent updates such units alike, so they stay duplicates.
    """

    share: float
    """largest share of duplicate units in a hidden layer, over all hidden layers, in [0, 1]"""
    layer: str | None
    """name of the layer with that share"""
