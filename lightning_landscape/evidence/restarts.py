"""Readings of restarts: short runs on a copy that begin at new or at the initial weights."""

from __future__ import annotations

import math
from dataclasses import dataclass


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
    error: float = 0.0
    """standard error of the gain, from the differences of single batches; 0 if it is unknown"""

    @property
    def beyond_chance(self) -> bool:
        """Whether the gain is more than two of its standard errors."""
        return self.gain > 2 * self.error

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
    def best(self) -> RestartedRun | None:
        """The run from new weights with the larger gain; None if none is known."""
        return next((run for run in (self.own, self.adam) if run is not None and run.gain == self.gain), None)

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
