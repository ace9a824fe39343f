"""`Trend`: the fall of the loss over a window of steps, as the stall test needs it."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_landscape._text import percent

STANDARD_ERRORS = 2.5
"""half the width of every confidence interval in this package, in standard errors"""


@dataclass(frozen=True)
class Trend:
    """The fall of the loss over the last `window` optimizer steps, with its error bar, as the stall test needs it.

    The test is an equivalence test: the loss has stalled if even the largest fall that the noise allows is smaller than
    `tolerance * level`. To find no significant trend would not be enough, since noise can hide a fall. The level is
    measured from the floor, so a constant in the loss changes nothing.

    It is made twice. One standard error is enough to begin a diagnosis, whose measurements show a cause or none
    (`seems_stalled`); an alarm that names no cause needs 2.5 of them (`stalled`).
    """

    window: int
    """length of the window in optimizer steps"""
    level: float
    """distance of the mean loss in the window from the floor, in units of the loss; never negative"""
    progress: float
    """fall of the fitted line over the window, in units of the loss; negative if the loss rose"""
    margin: float
    """`STANDARD_ERRORS` (2.5) standard errors of `progress`, in units of the loss; never negative"""
    tolerance: float
    """share of `level` by which the loss must fall over the window to count as progress, for example 0.012"""
    predicted: float | None = None
    """Σ|g·Δw| over the window, in units of the loss: it bounds the first-order fall; None if it was not measured"""
    floor: float = 0.0
    """the lowest possible loss: measured, 0, or assumed as explained in `functional.loss_floor`"""
    batches: int | None = None
    """number of batches on which earlier and present weights were compared; None for the losses of training"""

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
    def seems_stalled(self) -> bool:
        """Whether the loss has stalled or, where noise hides that of a flat loss too, has probably not fallen.

        For the latter, one standard error excludes a fall by `threshold`.
        """
        probably = self.progress + self.margin / STANDARD_ERRORS < self.threshold
        return self.stalled or (self.margin >= self.threshold and probably)

    @property
    def stalled(self) -> bool:
        """Whether the test rules out that the loss fell by `threshold` over the window."""
        return self.largest_fall < self.threshold or self.bounded

    @property
    def powered(self) -> bool:
        """Whether the noise is low enough for the test to detect a fall of twice the threshold."""
        return self.margin < 2 * self.threshold or self.bounded

    @property
    def proven(self) -> bool:
        """Whether the loss has stalled by a test that would have noticed a fall."""
        return self.stalled and self.powered

    @property
    def falling(self) -> bool:
        """Whether the loss fell by more than the threshold, and the error bar excludes that it did not fall at all."""
        return self.progress - self.margin > 0 and self.progress > self.threshold

    def sentence(self) -> str:
        """Return what the test found, with the smallest fall that it would have noticed, and what is 100%."""
        above = (
            f" Percentages are shares of its height above a floor of {self.floor:.4g}."
            if self.floor and self.level
            else ""
        )
        return f"{self._finding()}{above}"

    def _finding(self) -> str:
        if self.level == 0:
            where = f"{self.floor:.4g}, its floor," if self.floor else "zero"
            return (
                f"The training loss averages {where} over {self.window} steps, so its fall cannot be given in percent."
            )
        if self.largest_fall >= self.threshold and self.bounded and self.predicted is not None:
            if self.predicted == 0:
                return f"The weights have not moved in {self.window} steps."
            most = percent(self.predicted / self.level)
            most = most if most.startswith("less") else f"at most {most}"
            return f"{self.window} steps this small can lower the training loss by {most}."
        if not self.stalled:
            return self._sentence_without_stall()
        batches = "" if self.batches is None else f" on the same {self.batches} batches"
        noticed = percent(max(self.tolerance, self.margin / self.level))
        if self.largest_fall <= 0 and self.margin >= self.level:
            return f"The training loss{batches} has risen in {self.window} steps, by more than its noise explains."
        if self.largest_fall <= 0:
            return (
                f"The training loss{batches} has not fallen at all in {self.window} steps; the test would have noticed "
                f"a fall of {noticed}."
            )
        most = percent(self.largest_fall / self.level)
        most = most if most.startswith("less") else f"less than {most}"
        return (
            f"The training loss{batches} fell by {most} in {self.window} steps; the test would have noticed {noticed}."
        )

    def _sentence_without_stall(self) -> str:
        """Return the sentence for a loss that is falling, or that is too noisy to tell."""
        if self.falling:
            fall, error = percent(self.progress / self.level), percent(self.margin / self.level)
            return f"The training loss fell by {fall} in {self.window} steps (give or take {error})."
        hidden = self.largest_fall / self.level
        fall = f"a fall by {percent(hidden)}" if hidden < 1 else "any fall"
        return (
            f"The training loss is too noisy to tell from it alone whether it still falls: the noise of {self.window} "
            f"steps can hide {fall}."
        )
