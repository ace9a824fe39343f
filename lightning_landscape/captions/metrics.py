"""Whether validation and the declared metrics still improve, and how their curves share a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

from lightning_landscape._text import percent, ratio, shortened
from lightning_landscape.captions.caption import Caption
from lightning_landscape.captions.metric_curves import CURVES, MetricCurve, metric_curves

TRAINING = "training loss"
"""the name of the curve of the training loss"""
SAME = 0.01
"""change over the best value, up to which a metric is not called worse"""
LEAST_POINTS = 6
"""points of a curve from which on it is said whether it falls, and early values may lie beyond the frame"""
ERRORS = 2.5
"""standard errors by which the training loss has to differ between both ends to be called falling"""
SHORT_NAME = 26
"""characters of the name of a metric in a sentence"""
LEGIBLE = 0.15
"""share of a common axis that each of two curves has to cover; else each gets a panel of its own"""
SEEN = 0.08
"""share of a common axis that the fall from the best to the latest value has to cover"""
REACH = 5.0
"""range of a panel over what a metric that has stopped improving does late in the run; earlier values may lie beyond"""
FAR = 30.0
"""ratio of the highest to the lowest loss above which a panel is logarithmic"""
USUAL = 0.98
"""share of the losses that decide the range of a panel, since the first few may be far higher"""
LISTED = 2
"""metrics whose first and last values are listed below the title"""


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


@dataclass(frozen=True)
class MetricChart:
    """The curves of the metrics beside that of the training loss, and what they show."""

    caption: Caption
    panels: tuple[Panel, ...]
    omitted: int
    """number of metrics that are not drawn"""

    @property
    def curves(self) -> tuple[MetricCurve, ...]:
        """The metrics that are drawn, from top to bottom."""
        return tuple(curve for panel in self.panels for curve in panel.curves)


def metric_chart(
    metrics: Sequence[Mapping[str, Any]], steps: Sequence[int], losses: Sequence[float | None]
) -> MetricChart | None:
    """Return the metrics of a run as a chart; None if none was logged.

    Args:
        metrics: the metrics, as for `metric_curves`.
        steps: shape (n,), optimizer steps of the training loss.
        losses: shape (n,), the training losses there; None or NaN for those that are not finite.
    """
    found = metric_curves(metrics)
    if not found:
        return None
    training = [(step, loss) for step, loss in zip(steps, losses, strict=True) if loss is not None]
    training = [(step, loss) for step, loss in training if math.isfinite(loss)]
    return MetricChart(
        metric_caption(found, training), _panels(found[:CURVES], [loss for _, loss in training]), len(found[CURVES:])
    )


def metric_caption(curves: Sequence[MetricCurve], training: Sequence[tuple[int, float]]) -> Caption:
    """Return since when the first metric that has stopped improving has done so, and what the training loss does.

    Args:
        curves: the metrics, at least one.
        training: (step, finite loss) pairs of the training loss.
    """
    judged = [curve for curve in curves if curve.declared] or curves
    leading = next((curve for curve in judged if curve.since is not None), judged[0])
    course = [f"{TRAINING} from {number(training[0][1])} to {number(training[-1][1])}"] if training else []
    others = [_course(curve) for curve in curves if len(curve.finite) > 1]
    more = [f"{len(others) - LISTED} more"] if len(others) > LISTED else []
    return Caption(_title(leading, training), tuple([*course, *others[:LISTED], *more]))


def number(value: float) -> str:
    """Return a value with about three digits.

    >>> number(0.0461), number(48900.0), number(-1e9)
    ('0.0461', '48,900', '-1e+09')
    """
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def best_words(curve: MetricCurve) -> str | None:
    """Return where the metric was best, for the label beside that point; None if no value is finite."""
    return None if curve.best is None else f"best: {number(curve.best[1])} at step {curve.best[0]:,}"


def since_words(curve: MetricCurve) -> str | None:
    """Return since when the metric has not improved, for the label beside that line; None while it may improve."""
    return None if curve.since is None else f"not clearly better since step {curve.since:,}"


def falls(losses: Sequence[float]) -> bool:
    """Return whether losses fall clearly: the last third is lower than the first by several standard errors.

    >>> falls([1.0, 0.9, 0.8, 0.7, 0.6, 0.5]), falls([1.0, 0.9, 1.1, 0.9, 1.0, 1.1]), falls([2.0, 1.0])
    (True, False, False)
    """
    third = len(losses) // 3
    if len(losses) < LEAST_POINTS:
        return False
    first, last = losses[:third], losses[-third:]
    return fmean(first) - fmean(last) > ERRORS * math.sqrt((variance(first) + variance(last)) / third)


def _title(curve: MetricCurve, training: Sequence[tuple[int, float]]) -> str:
    name = shortened(curve.name, SHORT_NAME)
    if curve.best is None or curve.last is None:
        return f"No value of {name} is finite"
    if len(curve.finite) == 1:
        return f"{name} is {number(curve.best[1])} at step {curve.best[0]:,}"
    if curve.since is None:
        so_far = " so far" if curve.last[1] == curve.best[1] else ""
        return f"{name} is best at step {curve.best[0]:,}{so_far}: {number(curve.best[1])}"
    while_falling = ", while training falls" if falls([loss for step, loss in training if step >= curve.since]) else ""
    if curve.fall_back <= SAME * abs(curve.best[1]):
        return f"{name} has not clearly improved since step {curve.since:,}{while_falling}"
    return f"{name} was best at step {curve.best[0]:,}; {_worse(curve, curve.best[1], curve.last[1])}{while_falling}"


def _worse(curve: MetricCurve, best: float, last: float) -> str:
    """Return in words by how much the latest value is worse; in percent for losses, which are positive."""
    if curve.mode == "max":
        return f"down from {number(best)} to {number(last)} since"
    if best <= 0:
        return f"up from {number(best)} to {number(last)} since"
    if last >= 10 * best:
        return f"{ratio(last / best)} times as high since"
    return f"{percent(curve.fall_back / best)} worse since"


def _course(curve: MetricCurve) -> str:
    return f"{shortened(curve.name, SHORT_NAME)} from {number(curve.finite[0])} to {number(curve.finite[-1])}"


def _panels(curves: Sequence[MetricCurve], losses: Sequence[float]) -> tuple[Panel, ...]:
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
    low, high = _range([*values, *losses])
    scale: Callable[[float], float] = math.log if low > 0 and high > FAR * low else float
    whole = scale(high) - scale(low)
    if not whole > 0:
        return True
    own, of_training = (_reach(part, scale) / whole for part in (values, losses))
    if len(values) > 1 and min(own, of_training) < LEGIBLE:
        return False
    if curve.since is None or curve.fall_back <= SAME * abs(values[-1]):
        return True
    return abs(scale(values[-1]) - scale(values[-1] - curve.fall_back)) >= SEEN * whole


def _frame(curve: MetricCurve) -> tuple[float, float]:
    """Return the range of the metric, without earlier values that are far worse if it has stopped improving."""
    values = curve.finite
    low, high = min(values), max(values)
    late = sorted(values[len(values) // 2 :])
    calm = late[int(0.1 * len(late)) : len(late) - int(0.1 * len(late))]
    reach = REACH * max(curve.fall_back, calm[-1] - calm[0])
    if curve.since is None or not reach > 0 or len(values) < LEAST_POINTS:
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
