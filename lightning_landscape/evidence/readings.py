"""Readings of the run itself: loss, updates, gradients, activations, and the loss along lines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lightning_landscape.evidence.short_repr import short_repr

BELOW_FLOOR = -0.05
"""height above a measured floor, over the height of the start, down to which a loss agrees with that floor: the lowest
possible losses of single batches differ"""


@dataclass(frozen=True)
class Plateau:
    """The part of the run that is being diagnosed: the steps in which the loss has not fallen."""

    step: int
    """the latest optimizer step"""
    since: int
    """optimizer step at which the plateau began"""
    proven: bool = False
    """whether a test with enough power has shown at any time that the loss does not fall; else noise may hide a fall"""
    asked: bool = False
    """whether the user has asked for the diagnosis, so that it is made without a test that shows a plateau"""


@dataclass(frozen=True)
class LossLevel:
    """The training loss in the first steps of the run, at its lowest and now, each a mean over several steps."""

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
    floor: float = 0.0
    """the lowest possible loss, from which shares are measured"""
    floor_measured: bool = True
    """whether `floor` was measured or is 0 by definition; else it is assumed from how far the loss fell and scatters"""
    constant: float | None = None
    """loss of the best prediction that ignores the inputs; None if it is not known"""
    earlier: float | None = None
    """the loss at which the training began, if that was in an earlier fit and this one began clearly lower"""
    continues: bool = False
    """whether the training began before this fit; at a loss that is unknown if `earlier` is None"""
    runs_down: bool = False
    """whether the loss has run far below its start and below zero without levelling off, with no known lowest value"""

    @property
    def began(self) -> float:
        """The loss that is said to be the one at the start: that of the first batch, else the mean of the first 10.

        It is that mean as well where the first batch differs from it by no more than single batches do.
        """
        if self.first is None or not math.isfinite(self.first):
            return self.start
        usual = self.start_spread is not None and abs(self.first - self.start) <= 3 * self.start_spread
        return self.start if usual else self.first

    @property
    def share_of_start(self) -> float:
        """Present over starting height above the floor, in [0, inf]: below 1 if the loss fell, above 1 if it rose."""
        now, start = self.now - self.floor, self.start - self.floor
        if now * start > 0:
            return now / start if start > 0 else start / now
        if now == start:
            return 1.0
        return 0.0 if now < start else math.inf

    @property
    def risen_from_best(self) -> float:
        """Present over lowest height above the floor; 1 if the lowest loss is not above the floor."""
        best = self.best - self.floor
        return (self.now - self.floor) / best if best > 0 else 1.0

    def is_below(self, earlier: float, share: float) -> bool:
        """Return whether the present loss is below an earlier one by more than this share of its height."""
        return earlier - self.now > share * abs(earlier - self.floor)

    @property
    def solved(self) -> bool:
        """Whether the loss has come down below a tenth of its starting height above a floor that was measured.

        Where it began above the loss of the best constant prediction, as with inputs that were not scaled, it has to be
        below a tenth of that one.
        """
        start = self.start - self.floor
        if self.constant is not None and self.floor < self.constant < self.start:
            start = self.constant - self.floor
        return self.floor_measured and BELOW_FLOOR * start <= self.now - self.floor < 0.1 * start


@dataclass(frozen=True)
class LossFloor:
    """The lowest loss that the loss function allows on a batch, if the outputs of the model could take any values."""

    lowest: float | None
    """that loss; 0 if it cannot be told from 0; -inf if the loss has no lowest value; None if it was not found"""

    @property
    def known(self) -> float | None:
        """That loss; None if it has no lowest value or it was not found."""
        return None if self.lowest is None or math.isinf(self.lowest) else self.lowest


@dataclass(frozen=True)
class Divergence:
    """The loss is not finite, or it grows or falls without bound."""

    step: int
    """optimizer step of the first loss that was not finite, or at which the growth began"""
    finite: bool
    """False if the loss is NaN or infinite; True if it is finite and keeps growing, or falls ever faster"""
    start: float
    """the first loss, or the mean of the first ten if the first is above `now`; NaN if none of them was finite"""
    now: float
    """the last loss if it is not finite, else the mean loss over the last 1% of the run"""
    before: float | None = None
    """mean loss just before the growth began; None if it is unknown, or the loss is not finite"""

    @property
    def downwards(self) -> bool:
        """Whether the loss falls without bound."""
        return self.finite and self.now < self.start

    @property
    def value(self) -> str:
        """What the loss became, in a word: "NaN", "infinite" or "large"."""
        return "large" if self.finite else "NaN" if math.isnan(self.now) else "infinite"

    @property
    def sentence(self) -> str:
        """A sentence on how the loss diverged."""
        if self.downwards:
            return (
                f"The training loss fell from {self.start:.4g} to {self.now:.4g}, no lowest value of it is known, and "
                "it falls ever faster."
            )
        if self.finite:
            before = self.start if self.before is None else self.before
            return f"The training loss grew from {before:.4g} to {self.now:.4g} and is still growing."
        if math.isnan(self.start):
            return f"The training loss is {self.value} and was never finite."
        return f"The training loss is {self.value} and has not become finite again; it started at {self.start:.4g}."


@dataclass(frozen=True)
class UpdateStatistics:
    """How far the optimizer moves the weights, and which parameters it does not move."""

    update_ratio: float | None
    """a typical |Δw|/|w| of a single step; None if it was not measured"""
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
    """κ = |g|·max(|w|, 1)/(loss − floor): relative change of the loss per relative step; inf at the floor"""
    groups: Mapping[str, float]
    """norm for each group of parameters, in the order of the module, without the groups that received no gradient"""

    @property
    def first_to_last(self) -> float:
        """Norm of the first group over that of the last: 1 if there are fewer than two groups, inf if the last is 0."""
        norms = list(self.groups.values())
        if len(norms) < 2:
            return 1.0
        return norms[0] / norms[-1] if norms[-1] > 0 else math.inf

    @property
    def reached(self) -> GradientScale:
        """The same without groups whose gradient is exactly 0: these are cut off or not used, and nothing vanishes."""
        return replace(self, groups={name: norm for name, norm in self.groups.items() if norm != 0})


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
    """largest rise of the loss above the lowest loss before it, from α = 0 to α = 1, in units of the loss; 0 if the
    loss never rises, NaN if an end is not finite, inf if only a point between them is not"""
    monotone: bool
    """whether the loss never rises from α = 0 to α = 1"""
    samples: int
    """number of samples that the loss averages over; 0 if it is unknown"""
    anchor_step: int | None = None
    """optimizer step after which the weights were those of the anchor, 0 for the initial ones; None if it is unknown"""

    __repr__ = short_repr

    def loss_at(self, alpha: float) -> float:
        """Return the loss at this position; NaN where it was not measured."""
        return next((loss for a, loss in zip(self.alphas, self.losses, strict=True) if a == alpha), math.nan)


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
