"""Readings of the outputs of a network: whether they differ between samples, and the loss of a constant prediction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OutputSpread:
    """How far the outputs of one layer differ between samples, as a share of their size, in [0, 1]."""

    layer: str
    """name of the submodule"""
    now: float
    """spread at the present weights: 0 if the outputs of all samples are one vector"""
    start: float | None = None
    """spread at the initial weights; None if it was not measured"""
    direction: float | None = None
    """present spread of the outputs divided by their lengths, which is all that a cosine similarity sees; None for
    outputs of a single unit"""
    of_start: float | None = None
    """standard deviation of the outputs between samples, over that at the initial weights: it is not small if the
    outputs differ as before and only have a larger mean; None if it was not measured, or was 0"""


@dataclass(frozen=True)
class BestConstant:
    """The loss of the best prediction that is the same for all samples, and the present loss on the same samples."""

    function: str
    """name of the loss function, such as "cross_entropy" """
    loss: float
    """present value of the loss function"""
    constant: float
    """about its value on all data for the best constant: the class shares, the mean of the targets, or their median"""
    error: float = 0.0
    """standard error of the difference of the two, since these samples are few"""
    fitted: bool = True
    """False where the samples are too few to show the class shares, and equal probabilities stand for them"""

    @property
    def prediction(self) -> str:
        """The best constant in words."""
        if self.function == "cross_entropy":
            return "the class shares" if self.fitted else "equal probabilities of all classes"
        return "the median of the targets" if self.function == "l1_loss" else "the mean of the targets"


@dataclass(frozen=True)
class Outputs:
    """What a few batches show of the outputs of a network, at the present and at the initial weights."""

    spreads: tuple[OutputSpread, ...]
    """of the layers next to the loss, that is, those with no other layer between them and the loss"""
    samples: int
    """number of samples whose outputs were compared"""
    loss: float
    """present loss of these batches"""
    loss_of_means: float | None = None
    """their loss if the outputs next to the loss are replaced by their means over the samples; None if it was not
    measured, since the outputs clearly differ"""
    moved: float | None = None
    """distance of the weights from the initial ones, over the norm of the initial ones; None if these are not known"""
    same_from: str | None = None
    """name of the first layer from which on the outputs of all samples are one vector; None if there is none"""
    targets_agree: float | None = None
    """by how many standard errors the targets of samples whose outputs at the initial weights are nearest to each other
    are closer than those of any two samples; None if no target was seen"""
    targets_agree_at_loss: float | None = None
    """the same for the outputs next to the loss alone; far less where the layers before mix the samples of a batch"""
    best_constant: BestConstant | None = None
    """None if no loss function was seen whose best constant can be computed"""
    saturated_softmax: float = 0.0
    """largest share of the rows of a softmax, over all softmaxes and attentions, in which one probability is 1 up to
    rounding, in [0, 1]"""
    softmax_layer: str | None = None
    """where that softmax is called; None if none was seen"""
    softmax_at_start: float | None = None
    """that share of the same softmax at the initial weights; None if it was not measured"""

    @property
    def largest_spread(self) -> float | None:
        """The largest spread of the layers next to the loss; None if no layer was seen there."""
        return max((spread.now for spread in self.spreads), default=None)

    @property
    def largest_direction(self) -> float | None:
        """The largest spread of their directions; None if a layer has a single unit or none was seen."""
        directions = [spread.direction for spread in self.spreads]
        known = [direction for direction in directions if direction is not None]
        return max(known) if known and len(known) == len(directions) else None

    @property
    def largest_of_start(self) -> float | None:
        """The largest deviation between samples over that at the initial weights; None if it was not measured."""
        return max((spread.of_start for spread in self.spreads if spread.of_start is not None), default=None)

    @property
    def spread_at_start(self) -> float | None:
        """The largest spread of these layers at the initial weights; None if it was not measured."""
        return max((spread.start for spread in self.spreads if spread.start is not None), default=None)
