"""The numbers behind a verdict in words: grouped, with their units, and marked where they are past a threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from lightning_landscape._text import percent
from lightning_landscape.diagnosis import thresholds
from lightning_landscape.evidence import (
    Activity,
    BeforeAndAfter,
    Clipping,
    Curvature,
    Divergence,
    Evidence,
    GradientScale,
    InputUse,
    Line,
    LinearFit,
    LossFloor,
    LossLevel,
    Measurements,
    Plateau,
    Players,
    Restart,
    Schedule,
    StartingPoint,
    Symmetry,
    Trend,
    Trials,
    UpdateStatistics,
    short_name,
)
from lightning_landscape.evidence.kinds import OURS

MARK = "▲ "
"""stands before a number that is past its threshold"""
UNREACHED, UNITS_DEAD = thresholds.PARAMETERS_UNREACHED, thresholds.UNITS_DEAD


@dataclass(frozen=True)
class Number:
    """One number of a reading: what it is, how it is written, and where trouble begins."""

    words: str
    value: Callable[[Any], object]
    """takes the reading, and returns the number; None to leave it out"""
    share: bool = False
    """whether it is written in percent"""
    unit: str = ""
    below: float | None = None
    """threshold below which the number is a sign of trouble"""
    above: float | None = None
    """threshold from which on the number is a sign of trouble"""

    def row(self, group: str, reading: object) -> Iterator[tuple[str, str]]:
        """Yield the name and the value; nothing if the number is not known."""
        value = self.value(reading)
        if value is not None:
            yield f"{group}: {self.words}", f"{self._mark(value)}{self._written(value)}{self._thresholds()}"

    def _written(self, value: object) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if not isinstance(value, float):
            return f"{value:,}{self.unit}" if isinstance(value, int) else f"{value}{self.unit}"
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "infinite"
        return percent(value) if self.share else f"{value:.4g}{self.unit}"

    def _thresholds(self) -> str:
        limits = [("below", self.below), ("from", self.above)]
        known = [f"{side} {percent(limit) if self.share else f'{limit:g}'}" for side, limit in limits if limit]
        return f" (trouble {' or '.join(known)})" if known else ""

    def _mark(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return ""
        past = (self.below is not None and value < self.below) or (self.above is not None and value >= self.above)
        return MARK if past else ""


def _fields(**words: str) -> tuple[Number, ...]:
    """Return the numbers that are fields of a reading as they are, from the words for each field."""
    return tuple(Number(text, attrgetter(name)) for name, text in words.items())


def _over(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


NUMBERS: dict[type, tuple[str, tuple[Number, ...]]] = {
    Plateau: (
        "plateau",
        (
            *_fields(since="first step", step="step of this check"),
            *_fields(proven="shown by a test that would have noticed a fall"),
            Number("asked for by the user", lambda plateau: plateau.asked or None),
        ),
    ),
    LossLevel: (
        "training loss",
        (
            *_fields(start="at the start", best="lowest", now="now"),
            Number("lowest possible", lambda r: r.floor if r.floor_measured else None),
            Number("standard deviation of single batches", lambda r: r.spread),
        ),
    ),
    Trend: (
        "trend of the loss",
        (
            Number("steps compared", lambda r: r.window),
            Number(
                "fall over these steps", lambda r: _over(r.progress, r.level) if r.progress > 0 else None, share=True
            ),
            Number("give or take", lambda r: _over(r.margin, r.level), share=True),
            Number("fall that counts as progress", lambda r: r.tolerance, share=True),
        ),
    ),
    Divergence: ("divergence", _fields(step="first step", now="loss now")),
    UpdateStatistics: (
        "steps of the optimizer",
        (
            Number("one step, as a share of the norm of the weights", lambda r: r.update_ratio, share=True),
            Number(
                "all steps over 5% of the run, in norms of the weights",
                lambda r: r.travelled,
                below=thresholds.TRAVEL_SMALL,
                above=thresholds.TRAVEL_LARGE,
            ),
            Number("parameters without a gradient", lambda r: r.no_grad_share, share=True, above=UNREACHED),
            Number("trainable parameters in no optimizer", lambda r: r.not_in_optimizer, share=True, above=UNREACHED),
            Number("frozen parameters", lambda r: r.frozen, share=True, above=thresholds.PARAMETERS_FROZEN),
        ),
    ),
    GradientScale: (
        "gradient",
        (
            Number("norm", lambda r: r.norm),
            Number("relative change of the loss per relative change of the weights", lambda r: r.relative),
            Number(
                "norm in the first layers over that in the last",
                lambda r: r.first_to_last,
                below=thresholds.FIRST_TO_LAST_VANISHED,
            ),
        ),
    ),
    Clipping: ("gradient", (Number("left after clipping", lambda r: r.median, share=True),)),
    Schedule: (
        "learning rate",
        (
            *_fields(learning_rate="now", peak="peak"),
            Number(
                "now, as a share of the peak",
                lambda r: r.share_of_peak,
                share=True,
                below=thresholds.SHARE_OF_PEAK_SMALL,
            ),
            Number("share of the run that has passed", lambda r: r.elapsed, share=True),
        ),
    ),
    StartingPoint: ("loss on the same batches", _fields(loss="initial weights", now="present weights")),
    BeforeAndAfter: (
        "loss on the same batches",
        _fields(best="best weights so far", now="present weights, compared with them"),
    ),
    InputUse: (
        "use of the inputs",
        (
            Number("loss", lambda r: r.loss if r.paired else None),
            Number("loss with shuffled targets", lambda r: r.shuffled if r.paired else None),
            Number(
                "rise by shuffling the targets",
                lambda r: max(0.0, r.share) if r.paired else None,
                share=True,
                below=thresholds.INPUT_USE_NONE,
            ),
        ),
    ),
    LinearFit: (
        "linear regression on the inputs",
        (
            Number("share of the targets explained, of samples left out", lambda r: max(0.0, r.explained), share=True),
            Number("the same by chance", lambda r: max(0.0, r.by_chance), share=True),
        ),
    ),
    Activity: (
        "units",
        (
            Number(
                "dead, in the worst layer", lambda r: r.dead if r.dead_layer else None, share=True, above=UNITS_DEAD
            ),
            Number("that layer", lambda r: r.dead_layer if r.dead else None),
            Number(
                "saturated, in the worst layer",
                lambda r: r.saturated if r.saturated_layer else None,
                share=True,
                above=thresholds.ACTIVATIONS_SATURATED,
            ),
            Number("that layer", lambda r: r.saturated_layer if r.saturated else None),
        ),
    ),
    Symmetry: (
        "units",
        (Number("duplicates of others", lambda r: r.share, share=True, above=thresholds.UNITS_DUPLICATE),),
    ),
    Trials: (
        "trials on a copy",
        (
            Number("steps of each", lambda r: r.steps),
            Number("largest fall of the loss", lambda r: r.best, share=True),
            Number("weight decay over gradient", lambda r: r.decay_pull or None),
        ),
    ),
    Restart: (
        "runs from new weights",
        (
            Number("steps of each", lambda r: r.steps),
            Number("fall below the present loss", lambda r: r.gain if r.gain > 0 else None, share=True),
        ),
    ),
    Curvature: ("curvature", _fields(lambda_min="smallest", lambda_max="largest")),
    Line: ("line from earlier weights", _fields(barrier="rise above the lowest loss before")),
    LossFloor: ("training loss", _fields(known="lowest possible on a batch")),
}
"""the numbers of each reading, in the order in which they are shown"""


def evidence_rows(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the numbers of the readings as (name, value), grouped.

    Readings of the user's own classes come last, with every single number or text of theirs. Those of this library that
    are not in `NUMBERS` are told in the sentences of a verdict.
    """
    known = {type(reading): reading for reading in evidence}
    if Players in known:  # of several optimizers, no loss was found to stand still
        known.pop(Plateau, None)
    rows = [
        row
        for kind, (group, numbers) in NUMBERS.items()
        if kind in known
        for number in numbers
        for row in number.row(group, known[kind])
    ]
    measured = evidence.get(Measurements)
    rows += [] if measured is None else [(name, f"{value:.4g}") for name, value in measured.values.items()]
    return rows + [
        (f"{short_name(reading)}: {name}", f"{value:.4g}" if isinstance(value, float) else str(value))
        for reading, fields in evidence.to_dict().items()
        if reading not in OURS
        for name, value in fields.items()
        if value is not None and not isinstance(value, (list, dict))
    ]
