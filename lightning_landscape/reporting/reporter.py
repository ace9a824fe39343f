"""Everything that a run says, to loggers, files and the terminal; none of them can stop the others or the run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from lightning_landscape import __version__
from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.evidence import Evidence, Verdict
from lightning_landscape.reporting import loggers as kinds
from lightning_landscape.reporting.events import FILE, append_event, event_line
from lightning_landscape.reporting.messages import announce, card
from lightning_landscape.reporting.page import report_page
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.terminal import announced, say

log = logging.getLogger("lightning_landscape")

STRIKES = 3
"""failures after which a logger gets no more of a kind, numbers or media; and nothing at all if nothing succeeded"""
FREELY, GROWTH = 20, 1.1
"""pictures and records of one name that are sent as they come; after that, one whenever the run has grown by 10%"""
REPORT = "landscape_report.html"
WAITING = 100
"""events that wait for a logger which has not made its directory yet"""


class Reporter:
    """Scalars, pictures, cards, records, events and warnings.

    Args:
        loggers: those of the trainer; None on a rank that is to be silent, where warnings are not raised either.
        folder: where events and the report go; empty for the directory of the first logger that writes files, and
            nowhere without one; None where the run's events, report and records are left to another monitor.
        clock: dates events, and announces work in the terminal that takes long.
    """

    def __init__(self, loggers: Iterable[Any] | None, folder: str | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self.silent = loggers is None
        self._loggers = list(loggers or ())
        self._names = [type(logger).__name__ for logger in self._loggers]
        self._chronicles = folder is not None and not self.silent
        self._folder = Path(folder) if folder and self._chronicles else None
        self._searches = self._folder is None and self._chronicles and bool(self._loggers)
        self._waiting: list[str] = []
        self._step = 0
        self.failures = [0] * len(self._loggers)
        self._strikes: dict[tuple[int, str], int] = {}
        self._reached: set[int] = set()
        self._file_failures = 0
        self._written: Path | None = None
        self._sent: dict[str, tuple[int, int]] = {}
        self._parts: dict[str, str] = {}
        self._drawn: dict[str, int] = {}

    def begin(self, step: int, **fields: Any) -> None:
        """A fit begins, or goes on."""
        self.event("start", step, version=__version__, **fields)

    def verdict(self, verdict: Verdict) -> None:
        """A verdict, for the Text tab and the event log."""
        self.card("landscape/verdict_card", card(verdict), verdict.step)
        self.event("verdict", **verdict.to_dict())

    def escaped(self, verdict: Verdict, step: int) -> None:
        """The run has left behind what this alarm was about."""
        text = f"Escaped at step {step}: the loss falls again (`{verdict.cause}` since step {verdict.since})."
        self.card("landscape/verdict_card", text, step)
        self.event("escaped", step, cause=verdict.cause.value, since=verdict.since)

    def readings(self, step: int, readings: Iterable[object]) -> None:
        """What an examination found."""
        self.event("readings", step, readings=Evidence(*readings).to_dict())

    def end(self, step: int, report: Report, status: str) -> None:
        """A fit is over: the last record, the report, and a summary where there is something to say."""
        if not self._chronicles or not report.steps:
            return
        course = {**report.document.get("course", {}), "status": status}
        document = {**report.document, "course": course}
        self.records(lambda: document, step, last=True)
        self.event("end", step, status=status, **{k: v for k, v in report.to_dict().items() if k != "verdicts"})
        self.report(document)
        if report.alarms or log.isEnabledFor(logging.INFO):
            self.tell(report.summary(status, self._written))

    # Loggers.

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One row of numbers at the loggers' own x."""
        self._step = step
        if values:
            self._each("numbers", lambda logger: kinds.numbers(logger, values, step))

    def picture(self, tag: str, pixels: np.ndarray[Any, Any], step: int) -> None:
        """One picture, an array of shape (height, width, 3) in uint8."""
        self._each("media", lambda logger: kinds.show(logger, tag, pixels, step))

    def pictures(self, draw: Callable[[], Mapping[str, Any]], step: int, *, last: bool = False) -> None:
        """Those figures of a run that have changed, unless there have been many since it was much shorter."""
        if self._loggers and (self._due("pictures", step) or last):
            from lightning_landscape.plots import render, uncollected

            with uncollected():
                for name, figure in draw().items():
                    pixels = render(figure)
                    digest = crc32(pixels.tobytes())
                    if self._drawn.get(name) != digest:  # nothing new since the last time
                        self._drawn[name] = digest
                        self.picture(f"landscape/{name}", pixels, step)

    def card(self, tag: str, markdown: str, step: int) -> None:
        """One piece of Markdown."""
        self._each("media", lambda logger: kinds.write(logger, tag, markdown, step))

    def records(
        self, document: Callable[[], Mapping[str, Mapping[str, Any]]], step: int, *, last: bool = False
    ) -> None:
        """The parts of the run's document that have changed, for the Landscape tab."""
        if not self._chronicles or not self._loggers or not (self._due("records", step) or last):
            return
        for part, content in document().items():
            text = json.dumps(content, allow_nan=False, separators=(",", ":"))
            if self._parts.get(part) != text:
                self._parts[part] = text
                self._each("media", partial(kinds.record, part=part, text=text, step=step))

    # Files.

    @property
    def folder(self) -> Path | None:
        """Where events and the report go; None for nowhere, or while no logger has a directory."""
        if self._searches:
            try:
                self._folder = next(filter(None, map(kinds.own_folder, self._loggers)), None)
            except Exception as error:  # a property of somebody's logger
                log.warning("no directory for events and report: %s: %s", type(error).__name__, error)
                self._searches = False
            self._searches = self._searches and self._folder is None
        return self._folder

    def event(self, event: str, step: int, **fields: Any) -> None:
        """One line in ``events.jsonl``, now or as soon as a logger has made its directory."""
        self._step = step
        if self._searches or self._folder is not None:
            self._file(lambda: self._append(event_line(event, step, fields, self._clock)))

    def _append(self, line: str) -> None:
        self._waiting = [*self._waiting[1 - WAITING :], line]
        if (folder := self.folder) is not None:
            while self._waiting:
                append_event(folder / FILE, self._waiting.pop(0))

    def report(self, document: Mapping[str, Mapping[str, Any]]) -> None:
        """The report as one HTML file that needs nothing else, and a copy for loggers that keep files elsewhere."""
        if (folder := self.folder) is None:
            return
        path = folder / REPORT
        page = report_page({_title(folder): document})
        if self._file(lambda: kinds.replace(path, lambda draft: draft.write_text(page, encoding="utf-8"))):
            self._written = path
            self._each("media", lambda logger: kinds.upload(logger, path))

    # The terminal.

    def warn(self, text: str, kind: type[Warning]) -> None:
        """One warning in the terminal, not torn by a progress bar."""
        if not self.silent:
            self.event("warning", self._step, category=kind.__name__, text=text)
            announce(text, kind)

    def tell(self, text: str) -> None:
        """Something that is no warning, not torn by a progress bar."""
        if not self.silent:
            say(text)

    def waiting(self, what: str) -> AbstractContextManager[None]:
        """Return a context that announces the work inside where it takes long."""
        return nullcontext() if self.silent else announced(what, self._clock)

    def notes(self) -> list[str]:
        """Which loggers failed, and how often."""
        counts = zip(self._names, self.failures, strict=True)
        notes = [f"{name} refused what it was sent {_times(n)}" for name, n in counts if n]
        failed = self._file_failures
        return [*notes, *([f"{self.folder} could not be written {_times(failed)}"] if failed else [])]

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles are made of: the notes, without the loggers."""
        folder = None if self._folder is None else str(self._folder)
        return dict(vars(self), _loggers=[], _searches=False, _folder=folder, _written=None)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over what `__getstate__` has given."""
        vars(self).update(state)
        self._folder = None if state["_folder"] is None else Path(state["_folder"])

    def __bool__(self) -> bool:
        return bool(self._loggers)

    def _each(self, kind: str, send: Callable[[Any], None]) -> None:
        for i, logger in enumerate(self._loggers):
            if self._muted(i, kind):
                continue
            try:
                send(logger)
            except Exception as error:
                self.failures[i] += 1
                self._strikes[i, kind] = self._strikes.get((i, kind), 0) + 1
                end = f"; it gets no more {kind} from lightning_landscape" if self._muted(i, kind) else ""
                log.warning("%s: %s: %s%s", type(logger).__name__, type(error).__name__, error, end)
            else:
                self._reached.add(i)

    def _muted(self, i: int, kind: str) -> bool:
        return self._strikes.get((i, kind), 0) >= STRIKES or (self.failures[i] >= STRIKES and i not in self._reached)

    def _file(self, write: Callable[[], Any]) -> bool:
        if self._file_failures >= STRIKES:
            return False
        try:
            write()
        except Exception as error:
            self._file_failures += 1
            # Once is enough for people: it will be the same the next time, and the report counts.
            level = logging.WARNING if self._file_failures == 1 else logging.DEBUG
            log.log(level, "%s cannot be written: %s: %s", self.folder, type(error).__name__, error)
            return False
        return True

    def _due(self, name: str, step: int) -> bool:
        count, latest = self._sent.get(name, (0, 0))
        if count >= FREELY and step < GROWTH * latest:
            return False
        self._sent[name] = (count + 1, step)
        return True


def _title(folder: Path) -> str:
    """The run's name as people know it: the last two directories above the folder."""
    return "/".join(folder.absolute().parts[1:-1][-2:]) or "run"


def _times(count: int) -> str:
    return f"{count} time{'s' * (count > 1)}"
