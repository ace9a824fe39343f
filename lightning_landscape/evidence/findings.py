"""`Finding`: what in the code, the data or the settings of a run is wrong, beside the cause that a verdict names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightning_landscape.evidence.causes import CAUSES, Cause

Weight = Literal["certain", "evidence", "note"]
"""how much a finding says; see `WEIGHTS`"""
WEIGHTS: tuple[Weight, ...] = ("certain", "evidence", "note")
"""the weights of a finding, the largest first

- "certain": it is wrong whatever the loss does. It is a warning in the first steps, and the verdict once the loss has
  stopped falling.
- "evidence": it may be meant, but it explains a loss that has stopped falling, and is then the verdict.
- "note": it is a sentence in the report.
"""


@dataclass(frozen=True)
class Finding:
    """One thing in the code, the data or the settings that holds training back, as a finder has found it.

    Raises:
        ValueError: if `weight` is none of `WEIGHTS`.
    """

    name: str
    """short name in lower case with hyphens, such as "squashed-twice"; part of the code, and of the link to the docs"""
    cause: Cause
    """the kind of trouble that it leads to"""
    sentence: str
    """what was found, in one or two sentences with their numbers"""
    advice: str
    """one thing to do, with a line of code"""
    weight: Weight = "evidence"
    title: str = ""
    """what stands still or goes wrong, in place of the cause in words, where that is not the training loss"""

    def __post_init__(self) -> None:
        if self.weight not in WEIGHTS:
            raise ValueError(f"weight must be one of {', '.join(map(repr, WEIGHTS))}, got {self.weight!r}")

    @property
    def code(self) -> str:
        """The code of the warning, such as "LL202 squashed-twice"; the page of its cause in the docs explains it."""
        return f"{CAUSES[self.cause].code} {self.name}"

    @property
    def words(self) -> str:
        """The name with spaces, such as "squashed twice"."""
        return self.name.replace("-", " ")

    def to_dict(self) -> dict[str, str]:
        """Return all fields as builtins."""
        fields = {
            "name": self.name,
            "cause": self.cause.value,
            "sentence": self.sentence,
            "advice": self.advice,
            "weight": self.weight,
        }
        return fields | ({"title": self.title} if self.title else {})

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Finding:
        """Return the finding of which `to_dict` returned this.

        Raises:
            TypeError: if a field is no string.
        """
        for name in ("name", "sentence", "advice", "weight"):
            if not isinstance(data[name], str):
                raise TypeError(f"{name} must be of type str, got {data[name]!r}")
        fields = (data["name"], Cause(data["cause"]), data["sentence"], data["advice"], data["weight"])
        return cls(*fields, str(data.get("title", "")))
