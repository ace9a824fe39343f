"""`JudgedLoss`: what the loss in a log shows, and how long a further fall takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lightning_landscape.evidence import Cause, Divergence, LossLevel, Trend
from lightning_landscape.evidence.trend import STANDARD_ERRORS

FURTHER = 0.01
"""the further fall of the loss whose time is estimated, as a share of its height"""

ONE_SIDED = 1.65
"""standard errors above the mean below which 95% of a normal distribution lie"""

State = Literal["falling", "unclear", "still", "diverged"]
"""the loss falls; noise hides whether it does; it stands still; or it is not finite or grows without bound"""


@dataclass(frozen=True)
class Stretch:
    """Steps in which the loss stood still."""

    since: float
    """the first step"""
    until: float | None
    """the step at which the loss fell again; None if it still stands"""
    loss: float
    """mean loss at the end of the stretch"""
    stuck: bool
    """whether the run was stuck: the loss stood near its start, or it has fallen much faster since"""
    noticed: float | None = None
    """the step at which this could be told from the losses up to there; None if only the later ones show it"""


@dataclass(frozen=True)
class JudgedLoss:
    """What the loss shows at the end of a log; all steps are those of the log."""

    state: State
    first_step: float
    last_step: float
    values: int
    """number of values in the log"""
    every: float
    """median number of steps between two values"""
    level: LossLevel
    """the loss at the start, at its lowest and now"""
    trend: Trend
    """the fall over the latest steps, with what the test would have noticed"""
    stretches: tuple[Stretch, ...]
    """the stretches in which the loss stood still, in order"""
    since: float | None = None
    """the step since which the loss seems to stand still, or has diverged; None if neither"""
    cause: Cause | None = None
    """`undecided`, `diverged` or `scheduled_end`; None if the loss falls, or noise hides whether it does"""
    alarm: bool = False
    """whether the run is stuck or has diverged"""
    divergence: Divergence | None = None
    """set if the loss has diverged"""

    @property
    def steps_to_fall(self) -> tuple[float | None, float | None, float | None]:
        """Steps until the loss has fallen by a further 1% of its height at the present pace, at least, and at most.

        None for a number that is without bound: the loss does not fall, or noise could hide that it does not.
        """
        target, window = FURTHER * self.trend.level, self.trend.window
        pace = (self.trend.progress, self.trend.largest_fall, self.trend.progress - self.trend.margin)
        usual, fastest, slowest = (target * window / fall if fall > 0 and target > 0 else None for fall in pace)
        return usual, fastest, slowest


def has_probably_stalled(trend: Trend) -> bool:
    """Return whether a fall by the threshold is excluded with 95%, by a test that would have noticed twice as much."""
    return trend.powered and probable_fall(trend) < trend.threshold


def probable_fall(trend: Trend) -> float:
    """Return the fall over the window, in units of the loss, that the true one stays below with 95%."""
    return trend.progress + ONE_SIDED / STANDARD_ERRORS * trend.margin
