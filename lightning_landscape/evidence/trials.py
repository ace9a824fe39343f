"""Readings of what was tried on a copy of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class StartingPoint:
    """The loss of the weights that the run began with, and of the present ones, on the same batches."""

    loss: float
    now: float
    batches: int = 0
    """how many there were; 0 where that is not known"""


@dataclass(frozen=True)
class InputUse:
    """Whether the loss depends on which input comes with which target."""

    loss: float
    shuffled: float
    """the same loss with every target beside another input, all else kept; `loss` itself where there is no target"""
    moved: float
    """largest change of the loss of one batch by that, over the loss"""
    varied: bool
    """whether the inputs differ from one another at all"""
    targets: tuple[str, ...] = ()
    """the entries of the batch that were exchanged: their indices, keys or names"""
    paired: bool = True
    """whether there is anything to pair: an entry of the batch that meets the model in the loss alone"""

    @property
    def share(self) -> float:
        """Rise of the loss by shuffling, over the loss; about 0 where the model makes no use of its inputs."""
        rise = self.shuffled - self.loss
        return rise / abs(self.loss) if self.loss else math.copysign(math.inf, rise) if rise else 0.0

    @property
    def unpaired(self) -> bool:
        """Whether the loss is one of the inputs alone, as the training step was seen to read its batch."""
        return not self.paired


@dataclass(frozen=True)
class Trials:
    """What a few steps on a copy gained, each judged on batches that it did not see."""

    gains: Mapping[str, float]
    """fall of the loss over the loss, by trial; negative where it rose, -inf where it is not finite any more"""
    steps: int
    """optimizer steps of each trial"""
    relative_gradient: float
    """κ = |g|·max(|w|, 1)/|loss| on the measured batches"""
    decay_pull: float
    """pull of the weight decay over that of the gradient; about 1 where the two are in balance"""
    samples: int
    batches: int = 1
    """batches that the trials walked over, one a step"""

    def gain(self, trial: str) -> float:
        """Gain of a trial, 0 where it was not run."""
        return self.gains.get(trial, 0.0)

    @property
    def best(self) -> float:
        """The largest gain of all trials; never negative."""
        return max(0.0, *self.gains.values()) if self.gains else 0.0

    @property
    def own(self) -> float:
        """Gain of simply going on, 0 where that was not tried."""
        return self.gain("this optimizer")

    @property
    def by_itself(self) -> float:
        """The largest gain of the run's own optimizer, which moves only what it holds, at any learning rate."""
        return max(self.own, self.gain("learning rate x0.1"), self.gain("learning rate x10"))

    @property
    def smaller_steps(self) -> float:
        """What a tenth of the learning rate gains, or the mean of the path, which is as good as that."""
        return max(self.gain("mean of the path"), self.gain("learning rate x0.1"))


@dataclass(frozen=True)
class Alternatives:
    """What other ways to go on gained, judged as `Trials` are; they decide nothing, the advice is drawn from them."""

    gains: Mapping[str, float]
    """as in `Trials`"""
    steps: int
    batches: int


@dataclass(frozen=True)
class Restart:
    """What training anew from a re-draw of the weights gained, the best of a few, on batches that it did not see."""

    gain: float
    """fall of the loss from here to the restarted run's, over the loss here"""
    seeds: int
    steps: int
    fallen: float | None = None
    """fall of that run's loss on a batch that it stepped on, over the loss that it began with; negative where it rose,
    -inf where it is not finite; None where it was not measured"""

    @property
    def trained(self) -> bool:
        """Whether the restarted run stayed near the loss that it began with, or came below it.

        One that blew up shows nothing about the data. On batches that it did not see, a run that memorises its own may
        end higher, so where these are all that was measured, only a loss that has doubled counts as blown up.
        """
        return self.gain > -1.0 if self.fallen is None else self.gain > -math.inf and self.fallen > -0.2


@dataclass(frozen=True)
class Symmetry:
    """Units of a layer that are copies of one another or all zero, which gradient descent cannot tell apart."""

    share: float
    """largest share of the units of one hidden layer with a twin or without weights, in [0, 1]"""
    layer: str | None
