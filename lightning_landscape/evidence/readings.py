"""Readings of the run itself: loss, updates, gradients, activations, and the loss along lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Plateau:
    """The part of the run that is being diagnosed: the steps in which the loss has not fallen."""

    step: int
    """the latest optimizer step"""
    since: int
    """optimizer step at which the plateau began"""
    proven: bool = False
    """whether a test with enough power has shown at any time that the loss does not fall; else noise may hide a fall"""


@dataclass(frozen=True)
class Trend:
    """The fall of the loss over the last `window` optimizer steps, with its error bar, as the stall test needs it.

    The test is an equivalence test: the loss has stalled if even the largest fall that the noise allows is smaller than
    `tolerance * level`. To find no significant trend would not be enough, since noise can hide a fall.
    """

    window: int
    """length of the window in optimizer steps"""
    level: float
    """absolute value of the mean loss in the window, in units of the loss; never negative"""
    progress: float
    """fall of the fitted line over the window, in units of the loss; negative if the loss rose"""
    margin: float
    """2.5 standard errors of `progress`, in units of the loss; never negative"""
    tolerance: float
    """share of `level` by which the loss must fall over the window to count as progress, for example 0.012"""
    predicted: float | None = None
    """Σ|g·Δw| over the window, in units of the loss: it bounds the first-order fall; None if it was not measured"""

    @property
    def threshold(self) -> float:
        """The smallest fall over the window that counts as progress, in units of the loss."""
        return self.tolerance * self.level

    @property
    def largest_fall(self) -> float:
        """Upper end of the confidence interval for the fall over the window, in units of the loss."""
        return self.progress + self.margin

    @property
    def bounded(self) -> bool:
        """Whether the updates were too small to lower the loss by 30% of the threshold; this holds for any noise."""
        return (
            self.predicted is not None
            and self.predicted < 0.3 * self.threshold
            and self.progress - self.margin < self.threshold
        )

    @property
    def stalled(self) -> bool:
        """Whether the test rules out that the loss fell by `threshold` over the window."""
        return self.largest_fall < self.threshold or self.bounded

    @property
    def powered(self) -> bool:
        """Whether the noise is low enough for the test to detect a fall of twice the threshold."""
        return self.margin < 2 * self.threshold or self.bounded

    @property
    def falling(self) -> bool:
        """Whether the loss fell by more than the threshold, and the error bar excludes that it did not fall at all."""
        return self.progress - self.margin > 0 and self.progress > self.threshold

    def sentence(self) -> str:
        """Return what the test found, in one sentence that names the smallest fall that it would have detected."""
        if self.level == 0:
            return f"The training loss averages zero over {self.window} steps, so its fall cannot be given in percent."
        detectable = f"(a fall of {max(self.tolerance, self.margin / self.level):.1%} would have been seen)"
        if self.largest_fall >= self.threshold and self.bounded and self.predicted is not None:
            if self.predicted == 0:
                return f"The weights have not moved in {self.window} steps."
            most = f"{self.predicted / self.level:.1e} of its value"
            return f"The updates of {self.window} steps could not lower the training loss by more than {most}."
        if not self.stalled:
            return self._sentence_without_stall()
        if self.largest_fall <= 0:
            return f"The training loss has not fallen at all in {self.window} steps {detectable}."
        most = f"{self.largest_fall / self.level:.1%}"
        return f"The training loss has not fallen by more than {most} in {self.window} steps {detectable}."

    def _sentence_without_stall(self) -> str:
        """Return the sentence for a loss that is falling, or that is too noisy to tell."""
        if self.falling:
            fall, error = self.progress / self.level, self.margin / self.level
            return f"The training loss has fallen by {fall:.1%} in {self.window} steps (give or take {error:.1%})."
        return (
            f"The training loss may have fallen by up to {self.largest_fall / self.level:.1%} in {self.window} steps; "
            f"it is too noisy to tell whether it has fallen by {self.tolerance:.1%}, which would count as progress."
        )


@dataclass(frozen=True)
class LossLevel:
    """The training loss at the start of the run, at its lowest and now, each a mean over several steps."""

    start: float
    """mean of the first 10 losses"""
    best: float
    """lowest mean over a block of steps so far"""
    now: float
    """mean over the latest block of steps"""
    first: float | None = None
    """loss of the very first batch, before any optimizer step; None if it was not recorded"""
    start_spread: float | None = None
    """standard deviation of the losses behind `start`, computed from the differences of successive losses so that a
    steady rise or fall does not count; None if it was not measured"""
    spread: float | None = None
    """standard deviation of the single losses behind `now`; None if it was not measured"""

    @property
    def share_of_start(self) -> float:
        """Present loss over starting loss, in [0, inf]: below 1 if the loss fell, above 1 if it rose.

        If the loss is negative at both ends, the inverse ratio keeps that meaning. If its sign changed, there is no
        ratio: the value is 0 after a fall and inf after a rise.
        """
        if self.now * self.start > 0:
            return self.now / self.start if self.start > 0 else self.start / self.now
        if self.now == self.start:
            return 1.0
        return 0.0 if self.now < self.start else math.inf

    @property
    def solved(self) -> bool:
        """Whether a positive loss has come down below a tenth of its starting value."""
        return 0 <= self.now < 0.1 * self.start


@dataclass(frozen=True)
class Divergence:
    """The loss is not finite, or it grows without bound."""

    step: int
    """optimizer step of the first loss that was not finite, or at which the growth began"""
    finite: bool
    """False if the loss is NaN or infinite; True if it is finite and keeps growing"""
    start: float
    """mean of the first losses; NaN if none of them was finite"""
    now: float
    """the last loss if it is not finite, else the mean loss over the last 1% of the run"""


@dataclass(frozen=True)
class UpdateStatistics:
    """How far the optimizer moves the weights, and which parameters it does not move."""

    update_ratio: float | None
    """mean of |Δw|/|w| over single steps; None if it was not measured"""
    travelled: float | None
    """Σ|Δw|/max(|w|, 1) over 5% of the run: all updates as a multiple of the weights; None if it was not measured"""
    no_grad_share: float
    """share of the optimizers' parameters that received no gradient, in [0, 1]"""
    not_in_optimizer: float
    """share of the module's trainable parameters that receive a gradient but are in no optimizer, in [0, 1]"""
    frozen: float = 0.0
    """share of the module's parameters with `requires_grad=False`, in [0, 1]"""
    left_by_decay: float | None = None
    """|g + λw|/|g|, the share of the gradient g that is left after weight decay λ: 0 if the two cancel; None if the
    weights move, since it is measured only while they do not"""


@dataclass(frozen=True)
class GradientScale:
    """Median norms of the gradient before clipping, over the latest measured steps."""

    norm: float
    """norm of the whole gradient, in units of the loss over units of the weights"""
    relative: float
    """κ = |g|·max(|w|, 1)/|loss|, the relative change of the loss per relative change of the weights; inf at loss 0"""
    groups: Mapping[str, float]
    """norm for each group of parameters, in the order of the module, without the groups that received no gradient"""

    @property
    def first_to_last(self) -> float:
        """Norm of the first group over that of the last: 1 if there are fewer than two groups, inf if the last is 0."""
        norms = list(self.groups.values())
        if len(norms) < 2:
            return 1.0
        return norms[0] / norms[-1] if norms[-1] > 0 else math.inf


@dataclass(frozen=True)
class Activity:
    """Dead and saturated units of the activation layers, on a fixed set of samples."""

    dead: float
    """largest share of a layer's units that are zero on every sample, over all rectifying layers, in [0, 1]"""
    dead_layer: str | None
    """name of the layer with that share; None if no rectifying layer was found"""
    saturated: float
    """largest share of a layer's outputs, over all samples, that lie at the bounds of the activation, in [0, 1]"""
    saturated_layer: str | None
    """name of the layer with that share; None if no bounded layer was found"""
    layers: int
    """number of activation layers that were examined"""
    samples: int
    """number of samples on which they were examined"""


@dataclass(frozen=True)
class Line:
    """The loss on the straight line from an anchor (α = 0) through the present weights (α = 1) and a little beyond."""

    anchor: str
    """name of the anchor: "initial", "previous", "best", or the path of a checkpoint"""
    alphas: tuple[float, ...]
    """positions on the line, ascending, shape (n,)"""
    losses: tuple[float, ...]
    """loss at each position, shape (n,); may hold NaN and inf"""
    barrier: float
    """largest rise of the loss above the chord between α = 0 and α = 1, in units of the loss; never negative; NaN if an
    end is not finite, inf if only a point between them is not"""
    monotone: bool
    """whether the loss never rises from α = 0 to α = 1"""
    samples: int
    """number of samples that the loss averages over; 0 if it is unknown"""

    @property
    def relative_barrier(self) -> float:
        """Barrier over the larger of the losses at α = 0 and α = 1; NaN if that loss is not positive."""
        ends = [loss for alpha, loss in zip(self.alphas, self.losses, strict=True) if alpha in (0.0, 1.0)]
        top = max(ends)
        return self.barrier / top if top > 0 else math.nan


@dataclass(frozen=True)
class GradientNoise:
    """Signal and noise of a mini-batch gradient, estimated from several batches [McCandlish18]_.

    .. [McCandlish18] An empirical model of large-batch training, arXiv:1812.06162.
    """

    signal: float
    """unbiased estimate of |G|², the squared norm of the noise-free gradient; it can be negative by chance"""
    noise: float
    """unbiased estimate of tr Σ, the variance of the gradient of one sample; it can be negative by chance"""
    batches: int
    """number of batches that were compared"""
    batch_samples: float
    """number of samples in one batch; the harmonic mean if the batches differ"""
