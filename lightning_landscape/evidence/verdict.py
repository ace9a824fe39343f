"""Evidence, the readings that a verdict is drawn from, and the verdict itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lightning_landscape.evidence.card import card
from lightning_landscape.evidence.causes import CAUSES, Cause
from lightning_landscape.evidence.findings import Finding
from lightning_landscape.evidence.kinds import reading_of, short_name, stored_name
from lightning_landscape.evidence.message import cause_in_words, message, short_message
from lightning_landscape.evidence.readings import Plateau
from lightning_landscape.evidence.serialization import refilled, to_builtins
from lightning_landscape.evidence.trend import Trend

R = TypeVar("R")
HIDDEN = "noise hides whether the loss still falls, the cause is undecided"
"""an undecided verdict in words where no test has shown a plateau"""


class Evidence:
    """Readings keyed by their type: ``evidence.get(Trend)`` returns the `Trend`, or None if it was not measured."""

    def __init__(self, *readings: object) -> None:
        self._readings = {type(reading): reading for reading in readings}
        self._stored: dict[str, Mapping[str, Any]] = {}  # stored readings whose class is not imported, by name

    def get(self, kind: type[R]) -> R | None:
        """Return the reading of class `kind`, or None if there is none."""
        reading = self._readings.get(kind)
        if reading is None and stored_name(kind) in self._stored:
            reading = refilled(kind, self._stored[stored_name(kind)])
        return reading if isinstance(reading, kind) else None

    def including(self, *readings: object) -> Evidence:
        """Return the evidence with these readings added; a new reading replaces an older one of the same class."""
        evidence = Evidence(*self._readings.values(), *readings)
        evidence._stored = dict(self._stored)
        return evidence

    def __iter__(self) -> Iterator[object]:
        return iter(self._readings.values())

    def __len__(self) -> int:
        return len(self._readings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evidence) and (self._readings, self._stored) == (other._readings, other._stored)

    def __hash__(self) -> int:
        return hash(frozenset(self._readings))

    def __repr__(self) -> str:
        return f"Evidence({', '.join(map(short_name, self.to_dict()))})"

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the fields of every reading as builtins, keyed by the reading's `stored_name`."""
        imported = {stored_name(type(reading)): to_builtins(reading) for reading in self}
        return {**{name: dict(values) for name, values in self._stored.items()}, **imported}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Evidence:
        """Return the evidence of which `to_dict` returned this.

        No module is imported. A reading whose class is not imported, or has other fields now, is kept as it was stored,
        so `to_dict` returns it again.
        """
        readings = {name: reading_of(name, values) for name, values in data.items()}
        evidence = cls(*(reading for reading in readings.values() if reading is not None))
        evidence._stored = {name: data[name] for name, reading in readings.items() if reading is None}
        return evidence


@dataclass(frozen=True)
class Verdict:
    """Why the loss does not fall during one plateau: a cause, the finding behind it, the reasons, and advice.

    ``print(monitor.verdict)`` prints the whole message; a notebook shows it as a card.
    """

    cause: Cause
    """the named cause"""
    step: int
    """optimizer step at which the verdict was reached"""
    since: int
    """optimizer step at which the plateau began"""
    stuck: bool
    """whether the verdict is an alarm, which says that the run is stuck"""
    reason: str
    """the measured numbers with their thresholds, in sentences, one or more lines"""
    advice: str = ""
    """what to try, one thing in each line: the things that helped on a copy of the run come first"""
    tried: str = ""
    """what was tried on a copy of the run and what it did to the loss, in a sentence; empty if nothing was tried"""
    finding: Finding | None = None
    """what in the code, the data or the settings leads to the cause; None where nothing was found"""
    evidence: Evidence = field(default_factory=Evidence, compare=False)
    """the readings that the verdict was drawn from"""
    replaces: int | None = None
    """step of an earlier verdict on the same plateau that this one corrects; None if it corrects none"""

    @property
    def code(self) -> str:
        """The code of the warning, such as "LL202", or "LL202 squashed-twice" with a finding; the docs explain it."""
        return CAUSES[self.cause].code if self.finding is None else f"{CAUSES[self.cause].code} {self.finding.name}"

    @property
    def cause_in_words(self) -> str:
        """The cause in words, or the title of the finding; a verdict that is no alarm says "perhaps stuck"."""
        titled = "" if self.finding is None else self.finding.title
        if self.cause is Cause.UNDECIDED and not titled and self._may_still_fall:
            return HIDDEN
        return titled or cause_in_words(self.cause, stuck=self.stuck)

    @property
    def _may_still_fall(self) -> bool:
        """Whether nothing shows that the loss does not fall, and noise may hide it; an alarm is beyond doubt."""
        plateau, trend = self.evidence.get(Plateau), self.evidence.get(Trend)
        shown = self.stuck or plateau is None or plateau.proven or plateau.asked
        return not shown and trend is not None and not trend.stalled

    @property
    def finding_in_words(self) -> str:
        """The name of the finding after a colon; empty without one, or if its title says it."""
        return "" if self.finding is None or self.finding.title else f": {self.finding.words}"

    @property
    def title(self) -> str:
        """The cause in words and the name of the finding, as in "stuck on a flat region: squashed twice"."""
        return self.cause_in_words + self.finding_in_words

    @property
    def tries(self) -> tuple[str, ...]:
        """The lines of the advice, one thing to try in each."""
        return tuple(filter(None, map(str.strip, self.advice.splitlines())))

    def brief(self, begin: str = "", width: int = 100) -> str:
        """Return the message in at most 8 lines of this width, with these words before its title."""
        return short_message(self, begin, width)

    def __str__(self) -> str:
        return message(self)

    def __repr__(self) -> str:
        finding = "" if self.finding is None else f", finding={self.finding.name!r}"
        return f"Verdict({self.cause}, step={self.step}, since={self.since}, stuck={self.stuck}{finding})"

    def _repr_html_(self) -> str:
        return card(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as builtins, as they are written to event logs and checkpoints."""
        return {
            "cause": self.cause.value,
            "step": self.step,
            "since": self.since,
            "stuck": self.stuck,
            "reason": self.reason,
            "advice": self.advice,
            "tried": self.tried,
            "finding": None if self.finding is None else self.finding.to_dict(),
            "evidence": self.evidence.to_dict(),
            **({} if self.replaces is None else {"replaces": self.replaces}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """Return the verdict of which `to_dict` returned this.

        Raises:
            TypeError: if a field has the wrong type.
        """
        for name, kind in {"step": int, "since": int, "stuck": bool, "reason": str, "advice": str}.items():
            if not isinstance(data[name], kind):
                raise TypeError(f"{name} must be of type {kind.__name__}, got {data[name]!r}")
        finding = data.get("finding")  # version 0.1 had none
        return cls(
            cause=Cause(data["cause"]),
            step=data["step"],
            since=data["since"],
            stuck=data["stuck"],
            reason=data["reason"],
            advice=data["advice"],
            tried=str(data.get("tried", "")),  # version 0.1 told it in the reason
            finding=None if finding is None else Finding.from_dict(finding),
            evidence=Evidence.from_dict(data["evidence"]),
            replaces=None if data.get("replaces") is None else int(data["replaces"]),
        )
