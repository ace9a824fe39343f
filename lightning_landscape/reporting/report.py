"""What a monitor saw, as text, as a dict, as Markdown and in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_landscape.evidence import CAUSES, LossLevel, Verdict
from lightning_landscape.reporting.messages import NOT_JUDGED, card, message
from lightning_landscape.reporting.page import framed, report_page
from lightning_landscape.reporting.terminal import table


class Report(str):
    """The report as a string, with the same content in other forms."""

    _steps: int
    _level: LossLevel | None
    _verdicts: tuple[Verdict, ...]
    _notes: tuple[str, ...]
    _document: Mapping[str, Mapping[str, Any]] | None

    def __new__(
        cls,
        steps: int,
        level: LossLevel | None,
        verdicts: Sequence[Verdict],
        notes: Sequence[str] = (),
        document: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Report:
        """A string first, so that it prints and logs like one.

        Args:
            steps: optimizer steps that were watched.
            level: where the loss started and where it is; None where no loss was seen.
            verdicts: one per episode, in order.
            notes: what could not be watched, and why.
            document: what the Landscape tab draws; None where only words are wanted.
        """
        lines = [_headline(steps, level, verdicts, notes), *(message(verdict) for verdict in verdicts), *notes]
        report = super().__new__(cls, "\n".join(lines))
        report._steps, report._level = steps, level
        report._verdicts, report._notes, report._document = tuple(verdicts), tuple(notes), document
        return report

    @property
    def steps(self) -> int:
        """Optimizer steps that were watched."""
        return self._steps

    @property
    def document(self) -> Mapping[str, Mapping[str, Any]]:
        """What the Landscape tab draws of this run; empty where only words are known."""
        return self._document or {}

    @property
    def alarms(self) -> int:
        """How many of the verdicts alarm."""
        return sum(verdict.stuck for verdict in self._verdicts)

    def summary(self, status: str = "", written: Path | None = None, width: int | None = None) -> str:
        """A table for the terminal: what happened, and where to see more."""
        headline = _headline(self._steps, self._level, self._verdicts, self._notes)
        rows = [("run", f"{headline}{f' {status}.' if status else ''}")]
        for verdict in self._verdicts[-5:]:
            mark = "stuck" if verdict.stuck else "verdict"
            rows.append((mark, f"step {verdict.step}: {verdict.title} [{verdict.code}]"))
        if self.alarms and (advice := next(v.advice for v in reversed(self._verdicts) if v.stuck)):
            rows.append(("try", advice))
        rows += [("note", note) for note in self._notes]
        return table("Loss landscape", rows + ([("report", str(written))] if written else []), width)

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
        parts = ["## Loss landscape", _headline(self._steps, self._level, self._verdicts, self._notes)]
        parts += [card(verdict) for verdict in self._verdicts]
        return "\n\n".join([*parts, *(f"- {note}" for note in self._notes)])

    def __reduce__(self) -> tuple[type[Report], tuple[Any, ...]]:
        """What copies and pickles are made of."""
        return Report, (self._steps, self._level, self._verdicts, self._notes, self._document)

    def _repr_html_(self) -> str:
        if not self._document or not self._steps:
            return f"<pre>{html.escape(self)}</pre>"
        return framed(report_page({"this run": self._document}), "Loss landscape")


def _headline(steps: int, level: LossLevel | None, verdicts: Sequence[Verdict], notes: Sequence[str]) -> str:
    if steps == 0:
        return "No optimizer step was watched."
    loss = "" if level is None else f", training loss {level.start:.4g} to {level.now:.4g}"
    alarms = sum(verdict.stuck for verdict in verdicts)
    healthy = level is not None and all(CAUSES[verdict.cause].tone == "quiet" for verdict in verdicts)
    quiet = "not judged" if NOT_JUDGED in notes else "healthy, no alarm" if healthy else "no alarm"
    return f"{steps} steps watched{loss}: {f'{alarms} alarms' if alarms > 1 else '1 alarm' if alarms else quiet}."
