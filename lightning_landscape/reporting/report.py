"""What a monitor found in a run, as text, as a dict, as Markdown and as HTML for a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning_landscape._text import capitalised
from lightning_landscape.clock import SYSTEM_CLOCK
from lightning_landscape.evidence import LossLevel, Verdict
from lightning_landscape.reporting.messages import closing_line, fallen_since, headline, message, verdict_markdown
from lightning_landscape.reporting.page import Document, page_in_iframe, report_page
from lightning_landscape.reporting.terminal import table


class Report(str):
    """The report as a string, with methods that return the same content in other forms."""

    _steps: int
    _level: LossLevel | None
    _verdicts: tuple[Verdict, ...]
    _notes: tuple[str, ...]
    _document: Document | None

    def __new__(
        cls,
        steps: int,
        level: LossLevel | None,
        verdicts: Sequence[Verdict],
        notes: Sequence[str] = (),
        document: Document | None = None,
    ) -> Report:
        """Make the text from these parts.

        Args:
            steps: number of optimizer steps that were watched.
            level: the training loss in the first steps, at its lowest and now; None if no loss was seen.
            verdicts: one for each plateau or divergence, in order.
            notes: sentences about what could not be watched, and why.
            document: what the Landscape tab draws of the run; None for a report without pictures.
        """
        lines = [headline(steps, level, verdicts, notes), *(_told(verdict, level) for verdict in verdicts), *notes]
        report = super().__new__(cls, "\n".join(lines))
        report._steps, report._level = steps, level
        report._verdicts, report._notes, report._document = tuple(verdicts), tuple(notes), document
        return report

    @property
    def steps(self) -> int:
        """Number of optimizer steps that were watched."""
        return self._steps

    @property
    def document(self) -> Document:
        """What the Landscape tab draws of this run; empty for a report without pictures."""
        return self._document or {}

    @property
    def alarms(self) -> int:
        """Number of verdicts that are alarms."""
        return sum(verdict.stuck for verdict in self._verdicts)

    def summary(self, status: str = "", written: Path | None = None, width: int | None = None) -> str:
        """Return a table for the terminal.

        Args:
            status: how the fit ended: "ended" or, for example, "stopped by KeyError"; empty to leave it out.
            written: the HTML file of the report, if there is one.
            width: columns of the terminal; None to look them up.
        """
        rows = [("run", headline(self._steps, self._level, self._verdicts, self._notes))]
        if status:
            rows.append(("fit", f"The fit {status if status == 'ended' else f'was {status}'}."))
        for verdict in self._verdicts[-5:]:
            mark = "stuck" if verdict.stuck else "verdict"
            rows.append((mark, f"step {verdict.step}: {verdict.title} [{verdict.code}]"))
            rows += [("", said)] if (said := fallen_since(verdict, self._level)) else []
        if self.alarms and (advice := next(v.advice for v in reversed(self._verdicts) if v.stuck)):
            rows += [("try", capitalised(line)) for line in advice.splitlines()[:1]]
        rows += [("note", note) for note in self._notes]
        return table("Loss landscape", rows + ([("report", str(written))] if written else []), width)

    def line(self, written: Path | None = None) -> str:
        """Return one line for the end of a run without an alarm; `written` is the HTML file of the report."""
        return closing_line(self._steps, self._level, self._verdicts, self._notes, written)

    def to_dict(self) -> dict[str, Any]:
        """Return the report without its pictures as builtins, for JSON."""
        level = self._level
        loss = {"start": level.began, "best": level.best, "now": level.now} if level else {}
        return {
            "steps": self._steps,
            "loss": loss,
            "verdicts": [verdict.to_dict() for verdict in self._verdicts],
            "notes": list(self._notes),
        }

    def to_markdown(self) -> str:
        """Return a heading, a section for each verdict, and the notes as Markdown."""
        parts = ["## Loss landscape", headline(self._steps, self._level, self._verdicts, self._notes)]
        for verdict in self._verdicts:
            parts += [verdict_markdown(verdict), fallen_since(verdict, self._level)]
        return "\n\n".join([*filter(None, parts), *(f"- {note}" for note in self._notes)])

    def __reduce__(self) -> tuple[type[Report], tuple[Any, ...]]:
        """Return the arguments from which `copy` and `pickle` make the report again."""
        return Report, (self._steps, self._level, self._verdicts, self._notes, self._document)

    def __repr__(self) -> str:
        alarms = f"{self.alarms} alarm{'s' * (self.alarms != 1)}"
        return f"<Report of {self._steps} steps with {alarms}; print it to read it>"

    def _repr_html_(self) -> str:
        if not self._document or not self._steps:
            return f"<pre>{html.escape(self)}</pre>"
        page = report_page({"this run": self._document}, written=SYSTEM_CLOCK.date().timestamp())
        return page_in_iframe(page, "Loss landscape")


def _told(verdict: Verdict, level: LossLevel | None) -> str:
    """Return the message of a verdict, with a line on what the loss has done since, where that changes it."""
    said = fallen_since(verdict, level)
    return f"{message(verdict)}\n  {said}" if said else message(verdict)
