"""Readings that compare the present weights with earlier ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class BeforeAndAfter:
    """The best weights of the run so far and the present ones, compared on the present batches.

    If the best weights are as bad as the present ones on these batches, the data have changed; if they are far better,
    the weights have.
    """

    now: float
    """mean loss of the present weights on the latest batches"""
    best: float
    """mean loss of the best weights so far on the same batches"""
    start: float | None = None
    """mean loss of the initial weights on the same batches; None if these are unknown"""
    error: float | None = None
    """standard error of ``now - best``, from the differences of single batches; None for a single batch"""
    batches: int = 1
    """number of batches"""
    best_now: float | None = None
    """mean loss of the best trainable weights beside the frozen ones of now, such as those of a target network; None if
    the frozen weights are those of then"""
    moved: float = 0.0
    """|w - w_best|/|w_best|, how far the present weights are from the best ones; inf if the best ones are 0"""
    dead: float = 0.0
    """share of dead units in `dead_layer` at the present weights, in [0, 1]"""
    dead_at_best: float = 0.0
    """share of dead units in this layer at the best weights, in [0, 1]"""
    dead_layer: str | None = None
    """the layer whose share has grown most; None if it has grown in no layer, or the best weights are not better"""
    saturated: float = 0.0
    """share of saturated outputs in `saturated_layer` at the present weights, in [0, 1]"""
    saturated_at_best: float = 0.0
    """share of saturated outputs in this layer at the best weights, in [0, 1]"""
    saturated_layer: str | None = None
    """the layer whose share has grown most; None if it has grown in no layer"""
    norms: Mapping[str, float] = field(default_factory=dict)
    """|w| of each group of trainable parameters, at the present weights"""
    norms_at_best: Mapping[str, float] = field(default_factory=dict)
    """the same at the best weights"""
    norms_at_start: Mapping[str, float] = field(default_factory=dict)
    """the same at the initial weights; empty if these are unknown"""

    @property
    def lost(self) -> float:
        """By how much the present weights are worse than the best ones, in units of the loss; negative if better."""
        return self.now - self.best

    @property
    def best_beside_frozen(self) -> float:
        """Mean loss of the best trainable weights beside the present frozen ones."""
        return self.best if self.best_now is None else self.best_now

    @property
    def changed_around(self) -> bool:
        """Whether the best trainable weights do no better now: the data or the targets have changed, not these weights.

        Two standard errors count as no difference.
        """
        return self.now - self.best_beside_frozen <= 2 * (self.error or 0.0)

    @property
    def lost_share(self) -> float | None:
        """Share of what the best weights had gained over the initial ones that is lost; None if they gained nothing.

        A constant in the loss does not change it. All is lost at 1, and the weights are worse than initial ones above.
        """
        gained = math.nan if self.start is None else self.start - self.best
        return self.lost / gained if gained > 0 and math.isfinite(self.now) else None


@dataclass(frozen=True)
class WeightHistory:
    """Where the weights have been in the last steps, and when the loss was at its best."""

    best_step: int | None
    """optimizer step of the best weights so far, those of the anchor "best"; None if none were copied"""
    best_loss: float | None
    """mean training loss of the steps after them; None if none were copied"""
    since: int | None = None
    """optimizer step of the first sample of the weights that is compared; None if there is no sample"""
    steps: int = 0
    """number of optimizer steps from that sample on"""
    samples: int = 0
    """number of samples of the weights in these steps"""
    reach: float | None = None
    """largest distance of a sample from the present weights, over the norm of these; None if there is no sample"""
    step_length: float | None = None
    """a typical |Δw|/|w| of a single step, whatever a spike among them; None if it was not measured"""
    fastest_step: int | None = None
    """optimizer step after the best weights at which the weights had moved fastest; None if it is unknown"""
    fastest: float | None = None
    """how fast, over the median speed of the weights until the best ones: large after a spike of the learning rate or
    of the gradient; None if it is unknown"""
    best_rate: float | None = None
    """learning rate of the step of the best weights; None if it is unknown"""
    rate: float | None = None
    """learning rate of the latest step; None if it is unknown"""
    largest_rate_when_fastest: float | None = None
    """largest learning rate of the steps in which the weights moved fastest in the whole run; None if it is unknown"""

    @property
    def rate_has_risen(self) -> float:
        """Learning rate now over that at the best weights; 1 if one of them is unknown or 0."""
        return self.rate / self.best_rate if self.rate and self.best_rate else 1.0

    @property
    def reach_in_steps(self) -> float | None:
        """`reach` in lengths of a step: a straight path gives `steps`, and a random walk about their root.

        None if one of them is unknown, or the steps have no length.
        """
        return self.reach / self.step_length if self.reach is not None and self.step_length else None
