"""Readings of the run itself: its loss, its steps, its gradients, its units, and the loss along lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Plateau:
    """The stretch of the run that is being examined."""

    step: int
    """the latest optimizer step"""
    since: int
    """the step from which on the loss has not fallen"""


@dataclass(frozen=True)
class Trend:
    """How far the loss fell over the last `window` steps, with the error bar of that statement.

    The loss has stalled when the *largest* fall that the noise leaves open is still below `tolerance * level`: an
    equivalence test, since failing to see a trend is no evidence that there is none.
    """

    window: int
    """optimizer steps"""
    level: float
    """absolute value of the mean loss in the window, in units of the loss"""
    progress: float
    """fall of the fitted line over the window, in units of the loss; negative where the loss rose"""
    margin: float
    """2.5 standard errors of `progress`"""
    tolerance: float
    """share of `level` that a fall must reach to count as progress"""
    predicted: float | None = None
    """Σ|g·Δw| over the window: no first-order decrease can exceed it; None where it was not measured"""

    @property
    def threshold(self) -> float:
        """The fall that counts as progress, in units of the loss."""
        return self.tolerance * self.level

    @property
    def largest_fall(self) -> float:
        """Upper end of the interval for the fall over the window, in units of the loss."""
        return self.progress + self.margin

    @property
    def bounded(self) -> bool:
        """Whether the updates were too small to lower the loss by 30% of the threshold, whatever the noise hides."""
        return (
            self.predicted is not None
            and self.predicted < 0.3 * self.threshold
            and self.progress - self.margin < self.threshold
        )

    @property
    def stalled(self) -> bool:
        """Whether a fall of `threshold` over the window is excluded."""
        return self.largest_fall < self.threshold or self.bounded

    @property
    def powered(self) -> bool:
        """Whether a fall of twice the threshold would have been seen through the noise."""
        return self.margin < 2 * self.threshold or self.bounded

    @property
    def falling(self) -> bool:
        """Whether a fall above the threshold is certain."""
        return self.progress - self.margin > 0 and self.progress > self.threshold

    def steps_to_fall(self, share: float) -> tuple[float, float, float] | None:
        """Steps until the loss has fallen by a further `share` of its level, as (fewest, expected, most).

        The line through the window goes on as it is; "most" is inf where the noise leaves open that it does not fall.
        None where it does not fall at all.
        """
        if self.progress <= 0:
            return None
        goal = share * self.level * self.window
        least = self.progress - self.margin
        return goal / self.largest_fall, goal / self.progress, goal / least if least > 0 else math.inf

    def sentence(self) -> str:
        """What the test found, with the fall that it would have seen."""
        if self.level == 0:
            return (
                f"The training loss averages zero over {self.window} steps, so that no share of it can be said to fall."
            )
        seen = f"(a fall of {max(self.tolerance, self.margin / self.level):.1%} would have been seen)"
        if self.largest_fall >= self.threshold and self.bounded and self.predicted is not None:
            if self.predicted == 0:
                return f"The weights have not moved in {self.window} steps."
            most = f"{self.predicted / self.level:.1e}"
            return f"The updates of {self.window} steps could not lower the training loss by more than {most} of it."
        if not self.stalled:
            return self._open_sentence()
        if self.largest_fall <= 0:
            return f"The training loss has not fallen at all in {self.window} steps {seen}."
        most = f"{self.largest_fall / self.level:.1%}"
        return f"The training loss has not fallen by more than {most} in {self.window} steps {seen}."

    def _open_sentence(self) -> str:
        """What the test leaves open."""
        if self.falling:
            fallen, around = self.progress / self.level, self.margin / self.level
            return f"The training loss has fallen by {fallen:.1%} in {self.window} steps (give or take {around:.1%})."
        return (
            f"The training loss may have fallen by up to {self.largest_fall / self.level:.1%} in {self.window} steps; "
            f"the noise hides whether it has by the {self.tolerance:.1%} that count."
        )


@dataclass(frozen=True)
class LossLevel:
    """Where the loss started, how low it came and where it is, each a mean over a block of steps."""

    start: float
    best: float
    now: float
    first: float | None = None
    """the loss of the very first batch, before any step; None where it was not kept"""
    start_spread: float | None = None
    """standard deviation of the single losses behind `start`, from the differences of successive ones, so that a steady
    rise or fall does not count; None where it was not measured"""
    spread: float | None = None
    """standard deviation of the single losses behind `now`; None where it was not measured"""

    @property
    def share_of_start(self) -> float:
        """Present loss over starting loss: below 1 where the loss fell, above 1 where it rose, in [0, inf].

        Of a loss that is negative at both ends it is the inverse; where the sign changed there is no scale, and it is 0
        after a fall and inf after a rise.
        """
        if self.now * self.start > 0:
            return self.now / self.start if self.start > 0 else self.start / self.now
        if self.now == self.start:
            return 1.0
        return 0.0 if self.now < self.start else math.inf

    @property
    def solved(self) -> bool:
        """Whether a positive loss has come down to a tenth of where it started."""
        return 0 <= self.now < 0.1 * self.start


@dataclass(frozen=True)
class Divergence:
    """The loss left the region in which it can come back."""

    step: int
    """optimizer step of the first loss that was not finite, or from which on it grew"""
    finite: bool
    """False: NaN or inf; True: a finite loss that keeps growing"""
    start: float
    """mean of the first losses; NaN where none was finite"""
    now: float
    """the last loss where that is not finite, else its mean over 1% of the run"""


@dataclass(frozen=True)
class Schedule:
    """What the learning rate is and was."""

    learning_rate: float
    peak: float
    elapsed: float | None
    """share of the run's horizon that has passed, in [0, 1]; None where the horizon is unknown"""

    @property
    def share_of_peak(self) -> float:
        """Learning rate over its largest value so far, in [0, 1]."""
        return self.learning_rate / self.peak if self.peak > 0 else 1.0


@dataclass(frozen=True)
class UpdateStatistics:
    """How far the weights travel."""

    update_ratio: float | None
    """mean |Δw|/|w| of one step; None where it was not measured"""
    travelled: float | None
    """Σ|Δw|/max(|w|, 1) over 5% of the run; None where it was not measured"""
    no_grad_share: float
    """share of the optimizers' parameters that received no gradient, in [0, 1]"""
    not_in_optimizer: float
    """share of the module's trainable parameters that no optimizer holds although a gradient reaches them, in [0, 1]"""
    frozen: float = 0.0
    """share of the module's parameters that require no gradient, in [0, 1]"""
    left_by_decay: float | None = None
    """share of the gradient that the weight decay leaves, |g + λw|/|g|: 0 where the two cancel out; measured only where
    the weights stand still, else None"""


@dataclass(frozen=True)
class GradientScale:
    """The gradient before clipping, as a whole and by group of parameters, in the order of the module."""

    norm: float
    relative: float
    """|g|·max(|w|, 1)/|loss|: the relative change of the loss along a relative step of 1"""
    groups: Mapping[str, float]
    """norm by group of parameters; groups without any gradient are left out"""

    @property
    def first_to_last(self) -> float:
        """Norm of the first group over that of the last; inf where the last is zero, 1 where there is one group."""
        norms = list(self.groups.values())
        if len(norms) < 2:
            return 1.0
        return norms[0] / norms[-1] if norms[-1] > 0 else math.inf


@dataclass(frozen=True)
class Activity:
    """What the activation layers do on a fixed set of samples."""

    dead: float
    """largest share of units of one layer that are zero on every sample, in [0, 1]"""
    dead_layer: str | None
    saturated: float
    """largest share of (unit, sample) pairs of one bounded layer that sit at its bounds, in [0, 1]"""
    saturated_layer: str | None
    layers: int
    samples: int


@dataclass(frozen=True)
class Line:
    """The loss on the straight line from an anchor (α = 0) to the present weights (α = 1) and a step beyond."""

    anchor: str
    alphas: tuple[float, ...]
    losses: tuple[float, ...]
    """same length as `alphas`; NaN and inf stay what they are"""
    barrier: float
    """largest rise over the chord between α = 0 and α = 1, in units of the loss; never negative; NaN where an end is"""
    monotone: bool
    """whether the loss never rises from α = 0 to α = 1"""
    samples: int

    @property
    def relative_barrier(self) -> float:
        """Barrier over the larger of the two end losses; NaN where that is not positive."""
        ends = [loss for alpha, loss in zip(self.alphas, self.losses, strict=True) if alpha in (0.0, 1.0)]
        top = max(ends)
        return self.barrier / top if top > 0 else math.nan


@dataclass(frozen=True)
class GradientNoise:
    """How much of a batch's gradient is the gradient, and how much the choice of the batch [McCandlish18]_.

    .. [McCandlish18] An empirical model of large-batch training, arXiv:1812.06162.
    """

    signal: float
    """estimate of |G|², the square of the gradient without noise; by chance it may be negative"""
    noise: float
    """estimate of tr Σ, the variance of a single sample's gradient; by chance it may be negative"""
    batches: int
    """how many were compared"""
    batch_samples: float
    """samples in each"""
