"""Metrics that a run has logged, such as a validation loss, as curves that can be drawn whatever a user logs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lightning_landscape._text import shortened
from lightning_landscape.captions.falling import falls

CURVES = 4
"""most metrics that are drawn"""
POINTS = 200
"""most points of a curve, besides the best; of more, equally spaced ones are kept"""
LARGEST = 1e100
"""size from which on a value counts as not finite, since arithmetic with it may overflow"""
SAME = 0.01
"""change over the best value, up to which a metric is not called worse"""
LONGEST_NAME = 60
"""characters of the name of a metric"""


@dataclass(frozen=True)
class MetricCurve:
    """The values of one metric by optimizer step."""

    name: str
    """the name under which it is logged, on one line"""
    mode: Literal["min", "max"]
    """whether lower or higher values are better"""
    declared: bool
    """whether the user has named it in `monitor=`"""
    steps: tuple[int, ...]
    """shape (n,), optimizer steps"""
    values: tuple[float | None, ...]
    """shape (n,), the values there; None for those that are not finite"""
    best: tuple[int, float] | None
    """step and value of the best one; None if no value is finite"""
    since: int | None
    """the step since which it has not improved beyond its noise; None while it may still improve"""
    level: float | None = None
    """the best mean over neighbouring values; None to compare single values"""
    now: float | None = None
    """the mean over the latest values"""

    @property
    def last(self) -> tuple[int, float] | None:
        """Step and value of the latest finite one; None if no value is finite."""
        return next(
            ((step, v) for step, v in zip(reversed(self.steps), reversed(self.values), strict=True) if v is not None),
            None,
        )

    @property
    def finite(self) -> list[float]:
        """The finite values, in order."""
        return [value for value in self.values if value is not None]

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest value, the best one among them, which a curve of merged values may not reach."""
        values = self.finite if self.best is None else [*self.finite, self.best[1]]
        return min(values), max(values)

    @property
    def levels(self) -> tuple[float, float]:
        """The best and the latest level, or else the best and the latest value; NaN if no value is finite."""
        if self.level is not None and self.now is not None:
            return self.level, self.now
        return (self.best[1], self.last[1]) if self.best is not None and self.last is not None else (math.nan, math.nan)

    @property
    def fall_back(self) -> float:
        """By how much the metric is worse than at its best, in its own units; never negative."""
        best, now = self.levels
        return max(0.0, now - best if self.mode == "min" else best - now)

    @property
    def is_worse(self) -> bool:
        """Whether the metric has become worse since its best value, by more than its values scatter."""
        if self.best is None or self.fall_back <= SAME * abs(self.levels[0]):
            return False
        since = [v for step, v in zip(self.steps, self.values, strict=True) if v is not None and step >= self.best[0]]
        return falls([-value for value in since] if self.mode == "min" else since)


def metric_curves(metrics: Sequence[Mapping[str, Any]]) -> list[MetricCurve]:
    """Return the metrics that have been logged at least once, the declared ones first.

    Args:
        metrics: mappings with the keys "name", "mode", "declared", "step" and "value" (lists of equal length), "best"
            (None, or a mapping with "step" and "value") and "since" (a step, or None). With "level" and "now", the best
            and the latest mean over a few values, these are compared; without them, the best and the latest value.
    """
    curves = [curve for curve in map(_curve, metrics) if curve.steps]
    return sorted(curves, key=lambda curve: not curve.declared)


def _curve(metric: Mapping[str, Any]) -> MetricCurve:
    points = {int(step): _drawable(value) for step, value in zip(metric["step"], metric["value"], strict=True)}
    mode: Literal["min", "max"] = "max" if metric.get("mode") == "max" else "min"
    since, best = metric.get("since"), metric.get("best")
    known = None if best is None else _drawable(best["value"])
    found = _best(points, mode) if best is None or known is None else (int(best["step"]), known)
    steps = _thinned(sorted(points))
    if found is not None and found[0] in points:
        steps = sorted({*steps, found[0]})
    return MetricCurve(
        shortened(str(metric["name"]), LONGEST_NAME),
        mode,
        bool(metric.get("declared")),
        tuple(steps),
        tuple(points[step] for step in steps),
        found,
        None if since is None else int(since),
        _drawable(metric.get("level")),
        _drawable(metric.get("now")),
    )


def _best(points: Mapping[int, float | None], mode: str) -> tuple[int, float] | None:
    known = [(step, value) for step, value in points.items() if value is not None]
    sign = 1 if mode == "min" else -1
    return min(known, key=lambda point: sign * point[1], default=None)


def _thinned(steps: list[int]) -> list[int]:
    """Return every n-th step and the last, at most `POINTS` of them."""
    every = -(-len(steps) // (POINTS - 1)) or 1
    return [*steps[:-1:every], *steps[-1:]]


def _drawable(value: Any) -> float | None:
    """Return the value as a float; None if it is not finite, or so large that arithmetic with it overflows."""
    return float(value) if value is not None and abs(value) < LARGEST else None
