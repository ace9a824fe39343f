"""Send what a monitor reports to loggers, files and the terminal; an error of one stops nothing else."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

from lightning_landscape import __version__
from lightning_landscape._files import write_atomically
from lightning_landscape._text import times
from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.evidence import Finding, Verdict
from lightning_landscape.reporting.events import FILE, append_event, event_line, readings_by_name
from lightning_landscape.reporting.loggers import (
    Logger,
    Pixels,
    landscape_folder,
    send_file,
    send_numbers,
    send_picture,
    send_record,
    send_text,
)
from lightning_landscape.reporting.messages import finding_markdown, verdict_markdown
from lightning_landscape.reporting.page import Document, report_page
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.terminal import announce, notice_if_slow, print_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

log = logging.getLogger("lightning_landscape")

MAX_FAILURES = 3
"""failures after which a logger is sent no more numbers, or no more media; and nothing at all if no call succeeded"""
SENT_AT_ONCE, GROWTH = 20, 1.1
"""pictures and records of one name that are sent without delay; the next ones wait until the run is 10% longer"""
REPORT = "landscape_report.html"
MAX_PENDING = 100
"""events that are kept in memory until a logger has made its directory"""

Kind = Literal["numbers", "media"]


class Reporter:
    """Sends scalars, pictures, texts, records and events, and raises warnings.

    Args:
        loggers: the trainer's loggers; None on a rank other than zero, where nothing is reported and no warning raised.
        folder: directory of the events and the report. If empty, it is that of the first logger that writes files; if
            there is none, they are not written. None if another monitor writes this run's events, report and records.
        clock: dates the events, and decides when a notice of slow work is printed.
    """

    def __init__(
        self, loggers: Iterable[Logger] | None, folder: str | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._clock = clock
        self.silent = loggers is None
        self._loggers = list(loggers or ())
        self._names = [type(logger).__name__ for logger in self._loggers]
        self._documents_run = folder is not None and not self.silent
        self._folder = Path(folder) if folder and self._documents_run else None
        self._awaits_folder = self._folder is None and self._documents_run and bool(self._loggers)
        self._pending: list[str] = []
        self._step = 0
        self.failures = [0] * len(self._loggers)
        """failed calls of each logger"""
        self._failures_of_kind: dict[tuple[int, Kind], int] = {}
        self._succeeded: set[int] = set()
        self._file_failures = 0
        self._written: Path | None = None
        self._sent: dict[str, tuple[int, int]] = {}
        self._parts: dict[str, str] = {}
        self._digests: dict[str, int] = {}

    def begin(self, step: int, **fields: object) -> None:
        """Report that a fit begins or resumes."""
        self.event("start", step, version=__version__, **fields)

    def verdict(self, verdict: Verdict) -> None:
        """Report a verdict as a text and an event."""
        self.text("landscape/verdict_card", verdict_markdown(verdict), verdict.step)
        self.event("verdict", **verdict.to_dict())

    def finding(self, finding: Finding, step: int) -> None:
        """Report a mistake that is certain as a text and an event."""
        self.text("landscape/findings", finding_markdown(finding), step)
        self.event("finding", step, **finding.to_dict())

    def escaped(self, verdict: Verdict, step: int) -> None:
        """Report that the loss falls again after this alarm."""
        text = f"At step {step} the loss falls again, so the alarm `{verdict.cause}` from step {verdict.step} is over."
        self.text("landscape/verdict_card", text, step)
        self.event("escaped", step, cause=verdict.cause.value, since=verdict.since)

    def readings(self, step: int, readings: Iterable[object]) -> None:
        """Report what the probes returned."""
        self.event("readings", step, readings=readings_by_name(readings))

    def end(self, step: int, report: Report, status: str) -> None:
        """Report that a fit is over: send the last records, write the report, and print a summary or one line.

        The summary is printed if there is an alarm, or with the logging level INFO.
        """
        if not self._documents_run or not report.steps:
            return
        self.records(lambda: report.document, step, last=True)
        self.event("end", step, status=status, **{k: v for k, v in report.to_dict().items() if k != "verdicts"})
        self.report(report.document)
        if report.alarms or log.isEnabledFor(logging.INFO):
            print_line(report.summary(status, self._written))
        elif status == "ended" and log.isEnabledFor(logging.WARNING):
            print_line(report.line(self._written))

    # Loggers.

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers at this step."""
        self._step = step
        if values:
            self._send("numbers", lambda logger: send_numbers(logger, values, step))

    def picture(self, tag: str, pixels: Pixels, step: int) -> None:
        """Log one picture of shape (height, width, 3)."""
        self._send("media", lambda logger: send_picture(logger, tag, pixels, step))

    def pictures(self, draw: Callable[[], Mapping[str, Figure]], step: int, *, last: bool = False) -> None:
        """Log the figures that have changed since they were last logged.

        After `SENT_AT_ONCE` calls, those before the run has grown by 10% do nothing, except the last of the run.
        """
        if self._loggers and (self._due("pictures", step) or last):
            from lightning_landscape.plots import render, uncollected

            with uncollected():
                for name, figure in draw().items():
                    pixels = render(figure)
                    digest = crc32(pixels.tobytes())
                    if self._digests.get(name) != digest:
                        self._digests[name] = digest
                        self.picture(f"landscape/{name}", pixels, step)

    def text(self, tag: str, markdown: str, step: int) -> None:
        """Log one text in Markdown."""
        self._send("media", lambda logger: send_text(logger, tag, markdown, step))

    def records(self, document: Callable[[], Document], step: int, *, last: bool = False) -> None:
        """Write the parts of the run's document that have changed for the Landscape tab, as rarely as pictures."""
        if not self._documents_run or not self._loggers or not (self._due("records", step) or last):
            return
        for part, content in document().items():
            text = json.dumps(content, allow_nan=False, separators=(",", ":"))
            if self._parts.get(part) != text:
                self._parts[part] = text
                self._send("media", partial(send_record, part=part, text=text, step=step))

    # Files.

    @property
    def folder(self) -> Path | None:
        """Directory of the events and the report; None if there is none, or until a logger has made its own."""
        if self._awaits_folder:
            try:
                self._folder = next(filter(None, map(landscape_folder, self._loggers)), None)
            except Exception as error:  # raised by a property of a user's logger
                log.warning("Events and report are not written: %s: %s", type(error).__name__, error)
                self._awaits_folder = False
            self._awaits_folder = self._awaits_folder and self._folder is None
        return self._folder

    def event(self, event: str, step: int, **fields: object) -> None:
        """Write one line to ``events.jsonl``, now or as soon as a logger has made its directory."""
        self._step = step
        if self._awaits_folder or self._folder is not None:
            self._attempt(lambda: self._append(event_line(event, step, fields, self._clock)))

    def _append(self, line: str) -> None:
        self._pending = [*self._pending[1 - MAX_PENDING :], line]
        if (folder := self.folder) is not None:
            while self._pending:
                append_event(folder / FILE, self._pending.pop(0))

    def report(self, document: Document) -> None:
        """Write the report as one HTML file, and upload it with the loggers that store files elsewhere."""
        if (folder := self.folder) is None:
            return
        path = folder / REPORT
        page = report_page({_title(folder): document})
        if self._attempt(lambda: write_atomically(path, lambda draft: draft.write_text(page, encoding="utf-8"))):
            self._written = path
            self._send("media", lambda logger: send_file(logger, path))

    # The terminal.

    def warn(self, text: str, kind: type[Warning], brief: Callable[[str, int], str] | None = None) -> None:
        """Raise a warning above any progress bar, as `announce` does, and write it as an event."""
        if not self.silent:
            self.event("warning", self._step, category=kind.__name__, text=text)
            announce(text, kind, brief)

    def waiting(self, work: str) -> AbstractContextManager[None]:
        """Return a context that prints a notice if the work inside is slow."""
        return nullcontext() if self.silent else notice_if_slow(work, self._clock)

    def notes(self) -> list[str]:
        """Return a sentence for each logger, and for the directory of files, that failed."""
        counts = zip(self._names, self.failures, strict=True)
        notes = [f"{name} failed {times(count)} to log what it was sent" for name, count in counts if count]
        if self._file_failures:
            notes.append(f"writing to {self.folder} failed {times(self._file_failures)}")
        return notes

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles keep: everything but the loggers and the path of the report."""
        folder = None if self._folder is None else str(self._folder)
        return dict(vars(self), _loggers=[], _awaits_folder=False, _folder=folder, _written=None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore what `__getstate__` returned."""
        vars(self).update(state)
        self._folder = None if state["_folder"] is None else Path(state["_folder"])

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def _send(self, kind: Kind, send: Callable[[Logger], None]) -> None:
        """Call `send` with every logger that has not failed too often."""
        for i, logger in enumerate(self._loggers):
            if self._switched_off(i, kind):
                continue
            try:
                send(logger)
            except Exception as error:
                self.failures[i] += 1
                self._failures_of_kind[i, kind] = self._failures_of_kind.get((i, kind), 0) + 1
                end = f"; lightning_landscape sends it no more {kind}" if self._switched_off(i, kind) else ""
                log.warning("%s failed to log %s: %s: %s%s", self._names[i], kind, type(error).__name__, error, end)
            else:
                self._succeeded.add(i)

    def _switched_off(self, i: int, kind: Kind) -> bool:
        never_worked = self.failures[i] >= MAX_FAILURES and i not in self._succeeded
        return never_worked or self._failures_of_kind.get((i, kind), 0) >= MAX_FAILURES

    def _attempt(self, write: Callable[[], None]) -> bool:
        """Return whether the file was written; after `MAX_FAILURES` failures, no file is written."""
        if self._file_failures >= MAX_FAILURES:
            return False
        try:
            write()
        except Exception as error:
            self._file_failures += 1
            # The next failures have the same reason; the report gives their number.
            level = logging.WARNING if self._file_failures == 1 else logging.DEBUG
            log.log(level, "Writing to %s failed: %s: %s", self.folder, type(error).__name__, error)
            return False
        return True

    def _due(self, name: str, step: int) -> bool:
        """Return whether pictures or records are to be sent at this step, and if so count them as sent."""
        count, latest = self._sent.get(name, (0, 0))
        if count >= SENT_AT_ONCE and step < GROWTH * latest:
            return False
        self._sent[name] = (count + 1, step)
        return True


def _title(folder: Path) -> str:
    """Return a name for the run: the last two directories above the folder."""
    return "/".join(folder.absolute().parts[1:-1][-2:]) or "run"
