"""`MetricTrend`: what the values of a logged metric show, beside the training loss."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricTrend:
    """A metric that the user has declared, or the validation loss: its levels, its best, and since when it rests.

    Levels are means over a few neighbouring values. Training losses are those at the time of the level.
    """

    name: str
    """the name under which it is logged"""
    rises: bool
    """whether a larger value is better"""
    declared: bool
    """whether the user has named it; else it is the validation loss, which the monitor has found by itself"""
    values: int
    """number of finite values so far"""
    first_step: int
    """step of the first value"""
    step: int
    """step of the latest value"""
    first: float
    """the first value"""
    best: float
    """the best level"""
    best_step: int
    """step of the best level"""
    now: float
    """level of the latest values"""
    gained: float
    """improvement from the first level to the best one; 0 if it is not more than the noise"""
    worse: float
    """by how much the latest level is worse than the best one; 0 if it may be noise"""
    since: int | None
    """step since when it has not improved beyond its noise; None if it still improves, or that is not certain"""
    training_first: float | None = None
    """training loss at the first value; None where it is unknown, as in the next two"""
    training_best: float | None = None
    """training loss at the best level"""
    training_now: float | None = None
    """training loss at the latest value"""
    elapsed: float | None = None
    """share of the planned steps that has passed, in [0, 1]; None if the planned number is unknown"""
    noise: float | None = None
    """standard deviation of a single value about its neighbours; None in records of earlier versions"""

    @property
    def worse_share(self) -> float | None:
        """`worse` as a share of the best level; None where that is not far enough from 0 to be a measure."""
        return self.worse / abs(self.best) if self.worse < 10 * abs(self.best) else None

    @property
    def training_fell(self) -> float:
        """Fall of the training loss since the best level of the metric; 0 if it is unknown or has risen."""
        if self.training_best is None or self.training_now is None:
            return 0.0
        return max(0.0, self.training_best - self.training_now)
