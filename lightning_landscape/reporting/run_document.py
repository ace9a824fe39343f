"""What the Landscape tab and the report draw of one run, in memory that does not grow with the length of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape._text import capitalised, shortened
from lightning_landscape._thinning import largest_norm, merge_pairs
from lightning_landscape.captions import STATES, gradient_caption, order_for, run_caption
from lightning_landscape.evidence import TONES, Curvature, MetricTrend, Plane, ReadingsLog, Spectrum, Verdict
from lightning_landscape.evidence.card import link_to
from lightning_landscape.reporting.drawn import drawn, drawn_lines, drawn_metrics, drawn_trials, titled
from lightning_landscape.reporting.numbers import evidence_rows

SCHEMA = 1
"""version of the document; a tab of an older version of this library shows a note instead of drawing it"""
POINTS = 200
"""most points of the loss curve; when there are as many, neighbours are merged"""
SEGMENTS = 100
"""most changes of state that are kept: the first and the latest"""
DRAWN: Mapping[type[object], tuple[str, str]] = {
    Plane: ("planes", "planes"),
    Spectrum: ("curvature", "spectra"),
    Curvature: ("curvature", "ends"),
}
"""where readings stand in the document, besides lines"""
COLUMNS_OF_CURVE = ("step", "loss", "low", "high", "grad_norm")
"""the columns of the loss curve, as in a `Point`"""
COLUMNS, GROUPS = 100, 64
"""most columns and groups in the heat map of gradient norms"""
VERDICTS = 50
"""most verdicts that are shown: the latest"""
LONGEST_NAME, LONGEST_TEXT = 120, 2000
"""characters of a name, and of a reason or an advice"""

Point = Sequence["float | None"]
"""``[step, mean loss, lowest loss, highest loss, gradient norm]``; None where nothing finite is known"""


class RunDocument:
    """The loss curve, the states and the readings of a run, merged or thinned as the run grows.

    A segment is ``[first step, state]``; the states are the keys of `TONES`.
    """

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.segments: list[list[Any]] = []
        self._first: int | None = None
        self._span = 1
        self._open: list[Point] = []

    def update(self, step: int, loss: float | None, grad_norm: float | None) -> None:
        """Add one optimizer step; a loss that is not finite leaves a gap in the curve."""
        self._first = step if self._first is None else self._first
        finite = loss if loss is not None and math.isfinite(loss) else None
        self._open.append([step, finite, finite, finite, grad_norm])
        if len(self._open) == self._span:
            self.points.append(_merged(self._open) if self._span > 1 else self._open[0])
            self._open = []
            if len(self.points) == POINTS:
                self.points = [_merged(self.points[i : i + 2]) for i in range(0, POINTS, 2)]
                self._span *= 2

    def mark(self, step: int, state: str) -> None:
        """Record the state of the run from this step on, if it differs from the latest one."""
        if not self.segments:
            self.segments.append([step if self._first is None else self._first, state])
        elif self.segments[-1][1] != state:
            self.segments.append([step, state])
            del self.segments[1 : -SEGMENTS + 1]

    def state_dict(self) -> dict[str, Any]:
        """Return everything that was recorded, as builtins."""
        return {
            "points": [list(point) for point in self.points],
            "open": [list(point) for point in self._open],
            "span": self._span,
            "first": self._first,
            "segments": [list(segment) for segment in self.segments],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; a damaged state raises an error of any type."""
        self.points, self._open = [_restored(p) for p in state["points"]], [_restored(p) for p in state["open"]]
        self._first = state["first"]
        self._span, self.segments = int(state["span"]), [list(segment) for segment in state["segments"]]
        self.document()  # A damaged state raises an error here and not later, when the run is drawn.

    def document(
        self,
        verdicts: Sequence[Verdict] = (),
        readings: ReadingsLog | None = None,
        metrics: Sequence[Mapping[str, Any]] = (),
        **known: Any,
    ) -> dict[str, dict[str, Any]]:
        """Return the parts of the document as JSON objects of bounded size, None for each number that is not finite.

        Args:
            verdicts: one for each plateau, divergence or metric, in order; the last `VERDICTS` are shown.
            readings: the lines, planes and curvatures to draw; None for none.
            metrics: the validation losses and declared metrics to draw, as `captions.metric_curves` takes them.
            known: further fields of the part "course".
        """
        curve, of_training = self.curve(), [one for one in verdicts if one.evidence.get(MetricTrend) is None]
        course = {
            "curve": curve,
            "segments": self.segments,
            "tones": dict(TONES),
            "words": dict(STATES),
            "verdicts": [_verdict_as_dict(verdict) for verdict in verdicts[-VERDICTS:]],
            "earlier_verdicts": max(0, len(verdicts) - VERDICTS),
            "order": [*order_for(of_training[-1].cause if of_training else None)],
            **self._caption(verdicts, curve),
            **drawn_trials(of_training[-1].evidence if of_training else None),
            **known,
        }
        parts = {"course": course, "lines": {}, "planes": {}, "curvature": {}}
        parts["metrics"] = drawn_metrics(metrics, curve["step"], curve["loss"])
        readings = ReadingsLog() if readings is None else readings
        parts["lines"] = {clean(anchor): lines for anchor, lines in drawn_lines(readings.lines()).items()}
        for kind, (part, field) in DRAWN.items():
            if found := readings.of(kind):
                parts[part][field] = [drawn(step, reading) for step, reading in found]
        return {name: {"schema": SCHEMA, **rounded(part)} for name, part in parts.items() if part}

    def curve(self) -> dict[str, list[Any]]:
        """Return the points of the loss curve so far, by column."""
        points = [*self.points, *([_merged(self._open)] if self._open else [])]
        columns = [list(column) for column in zip(*points, strict=True)] or [[] for _ in COLUMNS_OF_CURVE]
        return dict(zip(COLUMNS_OF_CURVE, columns, strict=True))

    def _caption(self, verdicts: Sequence[Verdict], curve: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return the title of the loss curve; nothing before the first step."""
        state = self.segments[-1][1] if self.segments else "learning"
        return titled(run_caption(state, verdicts, curve["step"], curve["loss"])) if curve["step"] else {}


def heat_map(steps: Sequence[int], groups: Sequence[str], norms: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Return gradient norms as a part of the document: at most `COLUMNS` columns and `GROUPS` groups.

    Of more steps, neighbours share a column, which has the last of their steps and the largest norm of each group. A
    norm is None where a group has no gradient, and the string "not finite" where it is NaN or infinite.

    Args:
        steps: (n,) optimizer steps.
        groups: (m,) names of the groups.
        norms: (n, m).
    """
    caption = titled(gradient_caption(steps, groups, norms)) if norms else {}
    steps, columns = list(steps), [column[:GROUPS] for column in norms]
    while len(columns) > COLUMNS:
        steps, columns = [*steps[1:-1:2], steps[-1]], [*merge_pairs(columns)]
    return {
        "schema": SCHEMA,
        "steps": steps,
        "groups": [clean(group) for group in groups[:GROUPS]],
        "omitted": max(0, len(groups) - GROUPS),
        "norms": [[_norm(norm) for norm in column] for column in columns],
        **caption,
    }


def _verdict_as_dict(verdict: Verdict) -> dict[str, Any]:
    """Return the fields of a verdict that the tab shows, each of bounded length; "metric" if it is on a metric."""
    metric = verdict.evidence.get(MetricTrend)
    return {
        "cause": verdict.cause.value,
        "code": verdict.code,
        "title": verdict.title,
        "step": verdict.step,
        "since": verdict.since,
        "stuck": verdict.stuck,
        "link": link_to(verdict),
        "reason": verdict.reason[:LONGEST_TEXT],
        "tries": [capitalised(line)[:LONGEST_TEXT] for line in verdict.tries],
        "tried": capitalised(verdict.tried)[:LONGEST_TEXT],
        "finding": None if verdict.finding is None else {"name": clean(verdict.finding.name)},
        "readings": [[name, clean(value)] for name, value in evidence_rows(verdict.evidence)],
        **({} if metric is None else {"metric": clean(metric.name)}),
    }


def clean(name: str) -> str:
    """Return the name on one line of at most `LONGEST_NAME` characters."""
    return shortened(name, LONGEST_NAME)


def rounded(value: object) -> Any:
    """Return the value as JSON: floats with 6 significant digits, or None if they are not finite, and clean keys."""
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(key)): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return str(value)


def _norm(norm: float | None) -> float | str | None:
    if norm is None:
        return None
    return float(f"{norm:.3g}") if math.isfinite(norm) else "not finite"


def _restored(numbers: Sequence[Any]) -> Point:
    """Return a point from a checkpoint, its values converted to numbers."""
    return [int(numbers[0]), *(None if number is None else float(number) for number in numbers[1:])]


def _merged(points: Sequence[Point]) -> Point:
    """Return one point for several: the last step; the mean, lowest and highest loss; and the largest norm."""
    steps, *losses, norms = zip(*points, strict=True)
    if None in losses[0]:
        losses = [tuple(loss for loss in column if loss is not None) for column in losses]
    means, lows, highs = losses
    loss = [sum(means) / len(means), min(lows), max(highs)] if means else [None, None, None]
    return [steps[-1], *loss, largest_norm(norms)]
