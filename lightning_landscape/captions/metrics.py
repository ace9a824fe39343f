"""Whether validation and the declared metrics still improve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_landscape._text import percent, ratio, shortened
from lightning_landscape.captions.caption import Caption
from lightning_landscape.captions.falling import falls
from lightning_landscape.captions.metric_curves import CURVES, MetricCurve, metric_curves
from lightning_landscape.captions.metric_panels import TRAINING, Panel, metric_panels

SHORT_NAME = 26
"""characters of the name of a metric in a sentence"""
LISTED = 2
"""metrics whose first and last values are listed below the title"""


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
        metric_caption(found, training),
        metric_panels(found[:CURVES], [loss for _, loss in training]),
        len(found[CURVES:]),
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
    return Caption(_title(leading, training), (*course, *others[:LISTED], *more))


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
    if not curve.is_worse:
        return f"{name} has not clearly improved since step {curve.since:,}{while_falling}"
    return f"{name} was best at step {curve.best[0]:,}; {_worse(curve)}{while_falling}"


def _worse(curve: MetricCurve) -> str:
    """Return in words by how much the metric is worse than at its best; in percent for losses, which are positive."""
    best, now = curve.levels
    if curve.mode == "max":
        return f"down from {number(best)} to {number(now)} since"
    if best <= 0:
        return f"up from {number(best)} to {number(now)} since"
    if now >= 10 * best:
        return f"{ratio(now / best)} times as high since"
    return f"{percent(curve.fall_back / best)} worse since"


def _course(curve: MetricCurve) -> str:
    missing = len(curve.values) - len(curve.finite)
    gaps = f", not finite at {missing:,} of {len(curve.values):,} steps" if missing else ""
    return f"{shortened(curve.name, SHORT_NAME)} from {number(curve.finite[0])} to {number(curve.finite[-1])}{gaps}"
