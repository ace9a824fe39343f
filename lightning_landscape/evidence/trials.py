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
class RestartedRun:
    """A short run on a copy of the weights, stopped early: where one half of the held-out batches has the lowest loss.

    Its gain is that on the other half of the held-out batches, over the present weights of the run.
    """

    gain: float
    """relative fall of the held-out loss from the present weights to the step at which the run is stopped"""
    steps: int
    """number of optimizer steps"""
    stopped_at: int = 0
    """number of steps after which the run is stopped; 0 if it is unknown"""
    fallen: float | None = None
    """gain over the weights at which the run began, after its last step, on a batch that it trained on; None if it was
    not measured"""
    seeds: int = 1
    """number of such runs, one for each draw of the weights; this is the one with the largest gain"""

    @property
    def trained(self) -> bool:
        """Whether the loss of the run did not blow up; a run that blew up shows nothing about the data or the weights.

        The loss on a batch of the run's own must not rise by 20%, unless the run was stopped before that with a gain of
        over 5%. The loss on held-out batches may be higher than that, because the run may memorise its own batches; if
        only this loss was measured, it must not be twice the present loss.
        """
        if self.fallen is None:
            return self.gain > -1.0
        return self.gain > -math.inf and (self.fallen > -0.2 or self.gain > 0.05)


@dataclass(frozen=True)
class Restart:
    """Short runs from new and from the initial weights, by what was changed: only that can be what helped.

    A run that was not tried, or that is still under way, is None.
    """

    gain: float
    """the larger gain of the two runs from new weights, `own` and `adam`; -inf if none of them is complete"""
    seeds: int
    """number of runs from new weights of the kind with that gain"""
    steps: int
    """number of optimizer steps of each"""
    fallen: float | None = None
    """`RestartedRun.fallen` of the run with that gain"""
    own: RestartedRun | None = None
    """new weights, with the run's own optimizer at the rate of the run: shows what other initial weights are worth"""
    adam: RestartedRun | None = None
    """new weights, with Adam at a learning rate of 0.01: shows what the model can learn from these batches at all"""
    tenth: RestartedRun | None = None
    """the run's initial weights, with its own optimizer at a tenth of the rate of the run"""
    hundredth: RestartedRun | None = None
    """the run's initial weights, with its own optimizer at a hundredth of the rate of the run"""
    usual_rate: RestartedRun | None = None
    """the present weights, with the run's own optimizer at the rate that was usual before the schedule ended"""
    going_on: RestartedRun | None = None
    """the present weights, with the run's own optimizer in its present state: the gain of more steps alone"""
    held_out_batches: int = 0
    """number of batches that the gains are evaluated on, in two halves; with a single one, it is also the one that
    chooses where to stop, so that gains are too high. 0 if it is unknown"""
    left: tuple[str, ...] = ()
    """names of the fields above whose run was needed, but not covered by the gradient budget so far"""

    @property
    def trained(self) -> bool:
        """Whether the loss of the best run from new weights did not blow up, see `RestartedRun.trained`."""
        return not self.seeds or RestartedRun(self.gain, self.steps, fallen=self.fallen).trained

    @property
    def own_gain(self) -> float | None:
        """Gain of new weights with the run's own optimizer and rate; None if it was not tried or blew up."""
        return _gain_of(self.own)

    @property
    def adam_gain(self) -> float | None:
        """Gain of new weights with Adam at 0.01; None if it was not tried or blew up."""
        return _gain_of(self.adam)

    @property
    def usual_rate_gain(self) -> float | None:
        """Gain of the present weights at the usual rate; None if it was not tried or blew up."""
        return _gain_of(self.usual_rate)

    @property
    def smaller_rate(self) -> RestartedRun | None:
        """The better of the two runs from the initial weights at a smaller rate; None if none was tried."""
        tried = [run for run in (self.tenth, self.hundredth) if run is not None]
        return max(tried, key=lambda run: run.gain, default=None)

    @property
    def smaller_rate_gain(self) -> float | None:
        """Largest gain of the initial weights at a smaller rate; None if it was not tried or blew up."""
        return _gain_of(self.smaller_rate)

    @property
    def smaller_rate_factor(self) -> float | None:
        """Factor on the learning rate of `smaller_rate`: 0.1 or 0.01; None if none was tried."""
        better = self.smaller_rate
        return None if better is None else 0.1 if better is self.tenth else 0.01

    @property
    def going_on_gain(self) -> float | None:
        """Gain of the present weights if the run goes on for as many steps; None if it was not tried.

        `Trials.own` is the gain of fewer steps, and is known whenever there were trials.
        """
        return None if self.going_on is None else self.going_on.gain


def _gain_of(run: RestartedRun | None) -> float | None:
    """Return the gain of a run; None if there was none or its loss blew up, which shows nothing."""
    return None if run is None or not run.trained else run.gain


@dataclass(frozen=True)
class Symmetry:
    """Duplicate units, whose initial weights are all zero or equal to those of another unit of the same layer.

    Gradient descent updates such units alike, so they stay duplicates.
    """

    share: float
    """largest share of duplicate units in a hidden layer, over all hidden layers, in [0, 1]"""
    layer: str | None
    """name of the layer with that share"""
