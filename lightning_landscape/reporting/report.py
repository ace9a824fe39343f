"""What a monitor saw, as text, as a dict, as Markdown and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.evidence import Cause, LossLevel, Verdict
from lightning_landscape.reporting.words import card, message

FINE = {Cause.SETTLED, Cause.SCHEDULED_END, Cause.SLOW}
"""verdicts after which a run without alarm is healthy; of one that is undecided nobody knows"""


class Report(str):
    """The report as a string, with the same content in other forms.

    Args:
        steps: optimizer steps that were watched.
        level: where the loss started and where it is; None where no loss was seen.
        verdicts: one per episode, in order.
        notes: what could not be watched, and why.
    """

    _steps: int
    _level: LossLevel | None
    _verdicts: tuple[Verdict, ...]
    _notes: tuple[str, ...]

    def __new__(
        cls, steps: int, level: LossLevel | None, verdicts: Sequence[Verdict], notes: Sequence[str] = ()
    ) -> Report:
        """A string first, so that it prints and logs like one."""
        lines = [_headline(steps, level, verdicts), *(message(verdict) for verdict in verdicts), *notes]
        report = super().__new__(cls, "\n".join(lines))
        report._steps, report._level = steps, level
        report._verdicts, report._notes = tuple(verdicts), tuple(notes)
        return report

    def to_dict(self) -> dict[str, Any]:
        """Builtins only."""
        level = self._level
        loss: Mapping[str, float] = {"start": level.start, "best": level.best, "now": level.now} if level else {}
        return {
            "steps": self._steps,
            "loss": dict(loss),
            "verdicts": [verdict.to_dict() for verdict in self._verdicts],
            "notes": list(self._notes),
        }

    def to_markdown(self) -> str:
        """A heading, one card per verdict, and the notes."""
        parts = ["## Loss landscape", _headline(self._steps, self._level, self._verdicts)]
        parts += [card(verdict) for verdict in self._verdicts]
        return "\n\n".join([*parts, *(f"- {note}" for note in self._notes)])

    def __reduce__(self) -> tuple[type[Report], tuple[Any, ...]]:
        """What copies and pickles are made of."""
        return Report, (self._steps, self._level, self._verdicts, self._notes)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self)}</pre>"


def _headline(steps: int, level: LossLevel | None, verdicts: Sequence[Verdict]) -> str:
    if steps == 0:
        return "No optimizer step was watched."
    loss = "" if level is None else f", training loss {level.start:.4g} to {level.now:.4g}"
    alarms = sum(verdict.stuck for verdict in verdicts)
    healthy = level is not None and all(verdict.cause in FINE for verdict in verdicts)
    quiet = "healthy, no alarm" if healthy else "no alarm"
    return f"{steps} steps watched{loss}: {f'{alarms} alarms' if alarms > 1 else '1 alarm' if alarms else quiet}."
