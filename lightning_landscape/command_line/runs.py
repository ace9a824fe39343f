"""`landscape runs`: the state of every run below a directory, watched or not."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_landscape._text import capitalised
from lightning_landscape.clock import SYSTEM_CLOCK
from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Table, Verb
from lightning_landscape.command_line.logged import LoggedRun, judged_run, name_below, reason_of
from lightning_landscape.command_line.progress import Progress
from lightning_landscape.errors import LogError
from lightning_landscape.evidence import TONES
from lightning_landscape.evidence.causes import Tone
from lightning_landscape.logs.reading import read_log, run_directories, size_of
from lightning_landscape.logs.words import STATES, since_in_words

if TYPE_CHECKING:
    from lightning_landscape.reporting.watched import WatchedRun

MARKS = {"alarm": "▲", "unsure": "◐", "quiet": "◆", "good": "●"}
"""signs of how a run is, as in the Landscape tab"""
URGENCY = tuple(MARKS)


@dataclass(frozen=True)
class Row:
    """A run in the table and in the document."""

    run: str
    tone: Tone
    state: str
    words: str
    """the state in a few words"""
    status: str
    """whether the run has ended or is running, and how old its last record is"""
    watched: bool = False
    finding: str = ""
    cause: str | None = None
    code: str | None = None
    since: float | None = None
    since_words: str = ""
    steps: float | None = None
    horizon: int | None = None
    loss: float | None = None
    seen: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that the documentation of ``landscape runs`` lists."""
        return {
            "run": self.run,
            "watched": self.watched,
            "alarm": self.tone == "alarm",
            "state": self.state,
            "title": self.words,
            "cause": self.cause,
            "finding": self.finding or None,
            "code": self.code,
            "since": self.since,
            "steps": self.steps,
            "horizon": self.horizon,
            "loss": self.loss,
            "status": self.status,
            "seen": self.seen,
        }


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("logdir", type=Path, metavar="LOGDIR", help="a directory; all below it is searched for runs")
    parser.add_argument("--tag", help="name of the loss in runs that were not watched (default: the training loss)")


def _run(options: Namespace) -> Answer:
    """Return the state of every run.

    Raises:
        CannotLookError: if there is no such directory, or no run in it.
    """
    from lightning_landscape.reporting.watched import watched_runs

    folder: Path = options.logdir
    if not folder.is_dir():
        raise CannotLookError(f"{folder} is no directory")
    now = SYSTEM_CLOCK.date().timestamp()
    watched = watched_runs(folder)
    rows = [_watched_row(name_below(folder, directory), run, now) for directory, run in watched.items()]
    others = [directory for directory in run_directories(folder) if directory not in watched]
    with Progress("Reading logs", sum(map(size_of, others))) as progress:
        for directory in others:
            name = name_below(folder, directory)
            try:
                rows.append(_judged_row(judged_run(name, read_log(directory, progress.advance), options.tag), now))
            except LogError as error:
                rows.append(_unjudged_row(name, reason_of(error, directory)))
    if not rows:
        raise CannotLookError(f"{folder} holds no run: no event file, CSV or JSON lines in it or below it")
    rows.sort(key=lambda row: (URGENCY.index(row.tone), -(row.seen or 0.0), row.run))
    alarms = frozenset(i for i, row in enumerate(rows) if row.tone == "alarm")
    columns = ["", "run", "state", "finding", "since", "steps", "loss", "last record"]
    table = Table(columns, [_cells(row) for row in rows], alarms=alarms, numbers=frozenset([5, 6]))
    document = {"runs": [row.to_dict() for row in rows]}
    return Answer(document, [table, _summary(rows)], bool(alarms))


def _watched_row(name: str, run: WatchedRun, now: float) -> Row:
    from lightning_landscape.reporting.watched import status_in_words

    verdict = run.present
    known = TONES.get(run.state, "unsure")
    tone: Tone = "alarm" if run.alarm else "unsure" if known == "alarm" else "quiet" if run.over is not None else known
    since = "" if verdict is None else "start" if verdict.since <= 0 else f"step {verdict.since:,}"
    return Row(
        name, tone, run.state, run.words, status_in_words(run.status, run.seen, now),
        watched=True,
        finding="" if verdict is None else verdict.finding,
        cause=None if verdict is None else verdict.cause,
        code=None if verdict is None else verdict.code,
        since=None if verdict is None else verdict.since,
        steps=run.steps,
        horizon=run.horizon,
        loss=run.loss.get("now"),
        seen=run.seen,
        since_words=since,
    )  # fmt: skip


def _judged_row(run: LoggedRun, now: float) -> Row:
    from lightning_landscape.reporting.watched import duration

    judged = run.judged
    tone: Tone = "alarm" if judged.alarm else "good" if judged.state == "falling" else "quiet"
    age = "" if run.seen is None else f", {duration(max(0.0, now - run.seen))} ago"
    fields = run.to_dict()
    return Row(
        run.run, tone, judged.state, f"Loss {STATES[judged.state]}", f"not watched{age}",
        cause=fields["cause"],
        code=fields["code"],
        since=judged.since,
        steps=judged.last_step,
        loss=judged.level.now,
        seen=run.seen,
        since_words=since_in_words(judged),
    )  # fmt: skip


def _unjudged_row(name: str, reason: str) -> Row:
    return Row(name, "unsure", "not_judged", "Not judged", capitalised(reason))


def _cells(row: Row) -> list[str]:
    steps = "" if row.steps is None else f"{row.steps:,.0f}"
    if row.steps is not None and row.horizon:
        share = f" ({math.floor(100 * row.steps / row.horizon)}%)" if row.steps < row.horizon else ""
        steps = f"{row.steps:,.0f} of {row.horizon:,}{share}"
    loss = "" if row.loss is None else f"{row.loss:.4g}"
    return [
        MARKS[row.tone], row.run, row.words, capitalised(row.finding), row.since_words, steps, loss,
        capitalised(row.status),
    ]  # fmt: skip


def _summary(rows: Sequence[Row]) -> str:
    """Return how many runs there are of each kind, in a sentence."""
    words = {"alarm": "with an alarm", "unsure": "uncertain", "quiet": "for information", "good": "without an alarm"}
    counts = [(sum(row.tone == tone for row in rows), said) for tone, said in words.items()]
    parts = ", ".join(f"{count} {said}" for count, said in counts if count)
    alarm = next((row for row in rows if row.tone == "alarm"), None)
    more = ""
    if alarm is not None:
        verb = "show" if alarm.watched else "plateau"
        more = f" `landscape {verb}` on its directory says more of a run."
    return f"{len(rows)} run{'s' * (len(rows) != 1)}: {parts}.{more}"


VERB = Verb(
    name="runs",
    help="list the runs below a directory, those with an alarm first",
    description="Lists every run below a directory: its state, what was found, since when, how far it has come, and "
    "how old its last record is. Runs with an alarm come first. A run that LandscapeMonitor has not watched is judged "
    "by its loss, as `landscape plateau` does.",
    examples=[
        Example("landscape runs lightning_logs", "all runs below a directory"),
        Example("landscape runs lightning_logs --json", "the same for a script"),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
