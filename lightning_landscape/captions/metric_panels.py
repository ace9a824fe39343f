"""Which metrics share the axis of the training loss, and the ranges of those that have panels of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lightning_landscape.captions.metric_curves import MetricCurve

TRAINING = "training loss"
"""the name of the curve of the training loss"""
LEGIBLE = 0.25
"""share of a common axis that each of two curves has to cover; else each gets a panel of its own"""
SEEN = 0.08
"""share of a common axis that the fall from the best to the latest value has to cover"""
REACH = 5.0
"""range of a panel over what a metric that has stopped improving does late in the run; earlier values may lie beyond"""
FAR = 30.0
"""ratio of the highest to the lowest loss above which a panel is logarithmic"""
USUAL = 0.98
"""share of the losses that decide the range of a panel, since the first few may be far higher"""
LEAST_VALUES = 6
"""values of a metric from which on early ones may lie beyond the frame"""


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis."""

    training: bool
    """whether the training loss is drawn here"""
    curves: tuple[MetricCurve, ...]
    """the metrics that are drawn here"""
    frame: tuple[float, float] | None = None
    """lowest and highest value of the axis of a single metric; None for the range of all that is drawn"""

    @property
    def axis(self) -> str:
        """The name of the axis."""
        if not self.curves:
            return TRAINING
        return "loss" if self.training else self.curves[0].name

    @property
    def beyond(self) -> str | None:
        """How many values of the metric lie beyond the frame, in words; None if none does."""
        if self.frame is None:
            return None
        (curve,), (low, high) = self.curves, self.frame
        outside = sum(not low <= value <= high for value in curve.finite)
        side = "above" if curve.mode == "min" else "below"
        return f"{outside} earlier value{'s' * (outside > 1)} {side} the frame" if outside else None


def metric_panels(curves: Sequence[MetricCurve], losses: Sequence[float]) -> tuple[Panel, ...]:
    """Return the training loss with the metrics that are well seen on its axis, then each other metric by itself."""
    beside = tuple(curve for curve in curves if _fits_beside(curve, losses))
    others = [curve for curve in curves if curve not in beside and curve.finite]
    alone = [Panel(training=False, curves=(curve,), frame=_frame(curve)) for curve in others]
    return (Panel(training=True, curves=beside), *alone) if losses else tuple(alone)


def _fits_beside(curve: MetricCurve, losses: Sequence[float]) -> bool:
    """Return whether a loss, its rise from its best value, and the training loss can all be seen on one axis."""
    values = curve.finite
    if curve.mode == "max" or not (values and losses) or (curve.declared and "loss" not in curve.name.lower()):
        return False
    low, high = _range([*values, *curve.range, *losses])
    scale: Callable[[float], float] = math.log if low > 0 and high > FAR * low else float
    whole = scale(high) - scale(low)
    if not whole > 0:
        return True
    own, of_training = (_reach(part, scale) / whole for part in (values, losses))
    if len(values) > 1 and min(own, of_training) < LEGIBLE:
        return False
    if curve.since is None or not curve.is_worse:
        return True
    return abs(scale(values[-1]) - scale(max(low, values[-1] - curve.fall_back))) >= SEEN * whole


def _frame(curve: MetricCurve) -> tuple[float, float]:
    """Return the range of the metric, without earlier values that are far worse if it has stopped improving."""
    values = curve.finite
    low, high = curve.range
    late = sorted(values[len(values) // 2 :])
    calm = late[int(0.1 * len(late)) : len(late) - int(0.1 * len(late))]
    reach = REACH * max(curve.fall_back, calm[-1] - calm[0])
    if curve.since is None or not reach > 0 or len(values) < LEAST_VALUES:
        return low, high
    return (low, min(high, low + reach)) if curve.mode == "min" else (max(low, high - reach), high)


def _reach(values: Sequence[float], scale: Callable[[float], float]) -> float:
    low, high = _range(values)
    return scale(high) - scale(low)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the lowest value, and the highest one that a few peaks do not decide."""
    ordered = sorted(values)
    low, usual = ordered[0], ordered[int(USUAL * (len(ordered) - 1))]
    return low, min(ordered[-1], low + 2 * (usual - low)) if usual > low else ordered[-1]
