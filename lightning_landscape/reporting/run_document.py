"""The course of one run in bounded memory: what the Landscape tab and the report draw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.evidence import TONES, Curvature, Plane, ReadingsLog, Spectrum, Verdict, to_builtins
from lightning_landscape.reporting.messages import evidence_rows

SCHEMA = 1
"""of the document; a tab that meets a higher one says so and draws nothing"""
POINTS = 200
"""points of the loss curve; when they are used up, neighbours are merged"""
SEGMENTS = 100
DRAWN: Mapping[type[object], tuple[str, str]] = {
    Plane: ("planes", "planes"),
    Spectrum: ("curvature", "spectra"),
    Curvature: ("curvature", "ends"),
}
"""where readings stand in the document, besides lines"""
COLUMNS, GROUPS = 100, 64
"""of the heat map of gradient norms"""
VERDICTS = 50
LONGEST_NAME, LONGEST_TEXT = 120, 2000


class RunDocument:
    """Losses, states and readings of a run, thinned as it grows, so that its length does not matter.

    A point of the curve is ``[step, mean, lowest, highest, gradient norm]``; a segment ``[first step, state]``.
    """

    def __init__(self) -> None:
        self.points: list[list[float | None]] = []
        self.segments: list[list[Any]] = []
        self._first: int | None = None
        self._span = 1
        self._open: list[list[float | None]] = []

    def update(self, step: int, loss: float | None, grad_norm: float | None) -> None:
        """Take in one optimizer step; a loss that is not finite leaves a gap."""
        self._first = step if self._first is None else self._first
        known = loss if loss is not None and math.isfinite(loss) else None
        self._open.append([step, known, known, known, grad_norm])
        if len(self._open) == self._span:
            self.points.append(_merged(self._open) if self._span > 1 else self._open[0])
            self._open = []
            if len(self.points) == POINTS:
                self.points = [_merged(self.points[i : i + 2]) for i in range(0, POINTS, 2)]
                self._span *= 2

    def mark(self, step: int, state: str) -> None:
        """Say what the run is doing from this step on; the same as before changes nothing."""
        if not self.segments:
            self.segments.append([step if self._first is None else self._first, state])
        elif self.segments[-1][1] != state:
            self.segments.append([step, state])
            del self.segments[1 : -SEGMENTS + 1]

    def state_dict(self) -> dict[str, Any]:
        """Builtins only."""
        return {
            "points": [list(point) for point in self.points],
            "open": [list(point) for point in self._open],
            "span": self._span,
            "first": self._first,
            "segments": [list(segment) for segment in self.segments],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.points, self._open = [_point(p) for p in state["points"]], [_point(p) for p in state["open"]]
        self._first = state["first"]
        self._span, self.segments = int(state["span"]), [list(segment) for segment in state["segments"]]
        self.document()  # what cannot be drawn is damaged

    def document(
        self, verdicts: Sequence[Verdict] = (), readings: ReadingsLog | None = None, **known: Any
    ) -> dict[str, dict[str, Any]]:
        """Everything as JSON-able parts of bounded size, numbers rounded and what is not finite as None.

        Args:
            verdicts: one per episode, in order; of very many the last are kept.
            readings: the lines, planes and curvatures to draw; None for none.
            known: what else is known of the run, into the part "course".
        """
        points = [*self.points, *([_merged(self._open)] if self._open else [])]
        columns = [list(column) for column in zip(*points, strict=True)] or [[], [], [], [], []]
        course = {
            "curve": dict(zip(("step", "loss", "low", "high", "grad_norm"), columns, strict=True)),
            "segments": self.segments,
            "tones": dict(TONES),
            "verdicts": [told(verdict) for verdict in verdicts[-VERDICTS:]],
            "earlier_verdicts": max(0, len(verdicts) - VERDICTS),
            **known,
        }
        parts = {"course": course, "lines": {}, "planes": {}, "curvature": {}}
        readings = ReadingsLog() if readings is None else readings
        parts["lines"] = {clean(anchor): _with_steps(curves) for anchor, curves in readings.lines().items()}
        for kind, (part, field) in DRAWN.items():
            if found := readings.of(kind):
                parts[part][field] = _with_steps(found)
        return {name: {"schema": SCHEMA, **rounded(part)} for name, part in parts.items() if part}


def heat_map(steps: Sequence[int], groups: Sequence[str], norms: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Gradient norms as a part of the document: at most 100 columns and 64 groups, None where there is no gradient.

    What is not finite becomes the string "not finite": unlike a gap, it is of interest.
    """
    columns = list(zip(steps, norms, strict=True))
    while len(columns) > COLUMNS:
        columns = [_joined(columns[i : i + 2]) for i in range(0, len(columns), 2)]
    return {
        "schema": SCHEMA,
        "steps": [step for step, _ in columns],
        "groups": [clean(group) for group in groups[:GROUPS]],
        "omitted": max(0, len(groups) - GROUPS),
        "norms": [[_norm(norm) for norm in column[:GROUPS]] for _, column in columns],
    }


def told(verdict: Verdict) -> dict[str, Any]:
    """A verdict in the words that people read."""
    return {
        "cause": verdict.cause.value,
        "code": verdict.code,
        "title": verdict.title,
        "step": verdict.step,
        "since": verdict.since,
        "stuck": verdict.stuck,
        "reason": verdict.reason[:LONGEST_TEXT],
        "advice": verdict.advice[:LONGEST_TEXT],
        "readings": [[name, clean(value)] for name, value in evidence_rows(verdict.evidence)],
    }


def clean(name: str) -> str:
    """A name on one line and of bounded length, its beginning and its end kept."""
    line = "".join(letter if letter.isprintable() else " " for letter in name)
    half = LONGEST_NAME // 2
    return line if len(line) <= LONGEST_NAME else f"{line[: half - 1]}…{line[-half:]}"


def rounded(value: Any) -> Any:
    """The same with floats to 6 significant digits, None where they are not finite, and names made clean."""
    if isinstance(value, bool) or value is None or isinstance(value, int):
        return value
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {clean(str(key)): rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return str(value)


def _with_steps(readings: Sequence[tuple[int, object]]) -> list[dict[str, Any]]:
    return [{"step": step, **to_builtins(reading)} for step, reading in readings]


def _joined(columns: Sequence[tuple[int, Sequence[float | None]]]) -> tuple[int, Sequence[float | None]]:
    """One column for neighbours: an average would hide the one step at which a norm was large, or no number."""
    pairs = zip(*(column for _, column in columns), strict=True)
    return columns[-1][0], [max((v for v in pair if v is not None), key=_size, default=None) for pair in pairs]


def _size(norm: float) -> float:
    return math.inf if math.isnan(norm) else norm


def _norm(norm: float | None) -> float | str | None:
    if norm is None:
        return None
    return float(f"{norm:.3g}") if math.isfinite(norm) else "not finite"


def _point(numbers: Sequence[Any]) -> list[float | None]:
    """The step and what is known of it, as numbers."""
    return [int(numbers[0]), *(None if number is None else float(number) for number in numbers[1:])]


def _merged(points: Sequence[Sequence[float | None]]) -> list[float | None]:
    """One point for many: the last step, the mean, the lowest and the highest loss, and the largest norm."""
    steps, *losses, norms = zip(*points, strict=True)
    known = [norm for norm in norms if norm is not None and not math.isnan(norm)]
    if None in losses[0]:
        losses = [tuple(loss for loss in column if loss is not None) for column in losses]
    means, lows, highs = losses
    loss = [sum(means) / len(means), min(lows), max(highs)] if means else [None, None, None]
    return [steps[-1], *loss, max(known, default=None)]
