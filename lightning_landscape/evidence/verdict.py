"""What a set of readings amounts to: the evidence, the cause and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lightning_landscape.evidence.causes import CAUSES, Cause
from lightning_landscape.evidence.kinds import reading_of, stored_name
from lightning_landscape.evidence.serialization import refilled, to_builtins

R = TypeVar("R")


class Evidence:
    """Readings keyed by their type: ``evidence.get(Trend)`` is the `Trend`, or None where none was taken."""

    def __init__(self, *readings: object) -> None:
        self._readings = {type(reading): reading for reading in readings}
        self._stored: dict[str, Mapping[str, Any]] = {}  # those whose class is not known here, by name

    def get(self, kind: type[R]) -> R | None:
        """The reading of this kind, or None."""
        reading = self._readings.get(kind)
        if reading is None and stored_name(kind) in self._stored:
            reading = refilled(kind, self._stored[stored_name(kind)])
        return reading if isinstance(reading, kind) else None

    def including(self, *readings: object) -> Evidence:
        """The same evidence with these readings added; one of a kind replaces the older one."""
        found = Evidence(*self._readings.values(), *readings)
        found._stored = dict(self._stored)
        return found

    def __iter__(self) -> Iterator[object]:
        return iter(self._readings.values())

    def __len__(self) -> int:
        return len(self._readings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Evidence) and (self._readings, self._stored) == (other._readings, other._stored)

    def __hash__(self) -> int:
        return hash(frozenset(self._readings))

    def __repr__(self) -> str:
        return f"Evidence({', '.join(map(repr, self))})"

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Builtins only, keyed by the name of the reading's type, after that of its module where it is not ours."""
        known = {stored_name(type(reading)): to_builtins(reading) for reading in self}
        return {**{name: dict(values) for name, values in self._stored.items()}, **known}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Evidence:
        """The readings of `to_dict`.

        One whose class is not imported here, or has other fields by now, is stored again as it is; nothing is imported.
        """
        found = {name: reading_of(name, values) for name, values in data.items()}
        evidence = cls(*(reading for reading in found.values() if reading is not None))
        evidence._stored = {name: data[name] for name, reading in found.items() if reading is None}
        return evidence


@dataclass(frozen=True)
class Verdict:
    """One named cause for one stretch of the run, with what it was drawn from."""

    cause: Cause
    step: int
    """optimizer step at which the verdict was reached"""
    since: int
    """optimizer step from which on the loss has not fallen"""
    stuck: bool
    """whether it alarms"""
    reason: str
    """the numbers against their thresholds, in sentences"""
    advice: str = ""
    """what a person can do about it"""
    evidence: Evidence = field(default_factory=Evidence, compare=False)

    @property
    def code(self) -> str:
        """The code by which the warning is looked up, such as "LL202"."""
        return CAUSES[self.cause].code

    @property
    def title(self) -> str:
        """The cause in words; where the verdict is no alarm, "stuck" is only a possibility."""
        title = CAUSES[self.cause].title
        return title if self.stuck or not title.startswith("stuck") else f"perhaps {title}"

    def to_dict(self) -> dict[str, Any]:
        """Builtins only, as in the event log and in checkpoints."""
        return {
            "cause": self.cause.value,
            "step": self.step,
            "since": self.since,
            "stuck": self.stuck,
            "reason": self.reason,
            "advice": self.advice,
            "evidence": self.evidence.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_dict` was taken of.

        Raises:
            TypeError: if what should be words or numbers is something else.
        """
        for name, kind in {"step": int, "since": int, "stuck": bool, "reason": str, "advice": str}.items():
            if not isinstance(data[name], kind):
                raise TypeError(f"{name} must be of type {kind.__name__}, got {data[name]!r}")
        return cls(
            cause=Cause(data["cause"]),
            step=data["step"],
            since=data["since"],
            stuck=data["stuck"],
            reason=data["reason"],
            advice=data["advice"],
            evidence=Evidence.from_dict(data["evidence"]),
        )
