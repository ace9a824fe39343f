"""What a monitor has said of a run, from the run's directory: its state, its verdicts and what was measured."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning_landscape._text import capitalised
from lightning_landscape.captions import STATES
from lightning_landscape.errors import LandscapeError
from lightning_landscape.evidence import TONES, MetricTrend, Verdict
from lightning_landscape.reporting.event_files import LoggedRun, logged_runs
from lightning_landscape.reporting.events import FILE, Events, read_events
from lightning_landscape.reporting.numbers import evidence_rows

SILENCE = 300.0
"""seconds without a record after which a run is not called running"""


@dataclass(frozen=True)
class SaidVerdict:
    """A verdict as the records of a run hold it."""

    cause: str
    """value of the `Cause`"""
    code: str
    title: str
    step: int
    since: int
    stuck: bool
    """whether it is an alarm"""
    finding: str
    """name of the finding in words; empty for none"""
    tries: tuple[str, ...]
    """what to try, one thing in each"""
    reason: str
    tried: str
    """what was tried on a copy of the run; empty for nothing"""
    measured: tuple[tuple[str, str], ...]
    """names and values of what was measured"""
    metric: str = ""
    """name of the metric that the verdict is on; empty for the training loss"""


@dataclass(frozen=True)
class WatchedRun:
    """A run that a monitor has watched."""

    state: str
    """what the run does: "learning", "stalled", "not_judged", or the cause of its present verdict"""
    verdicts: tuple[SaidVerdict, ...]
    """the latest verdicts, in order"""
    steps: int
    horizon: int | None
    """number of steps that the run was to take; None if it is unknown"""
    status: str
    """how the fit ended, such as "ended"; "running" if it has not"""
    loss: Mapping[str, float]
    """the training loss under "start", "best" and "now", as far as it is known"""
    seen: float | None
    """when the last record was written, in seconds since 1970"""
    notes: tuple[str, ...] = field(default=())
    """sentences about what could not be watched, and findings"""

    @property
    def present(self) -> SaidVerdict | None:
        """The verdict behind the present state of the training loss, or else an alarm on a metric; None without one."""
        found = next((v for v in reversed(self.verdicts) if v.cause == self.state and not v.metric), None)
        if found is not None and found.stuck:
            return found
        on_metrics = {verdict.metric: verdict for verdict in self.verdicts if verdict.metric}
        return next((verdict for verdict in reversed(on_metrics.values()) if verdict.stuck), found)

    @property
    def over(self) -> SaidVerdict | None:
        """The latest alarm on the training loss, if its plateau is over and no verdict has followed; else None."""
        if self.present is not None or TONES.get(self.state) != "good":
            return None
        return next((verdict for verdict in reversed(self.verdicts) if verdict.stuck and not verdict.metric), None)

    @property
    def alarm(self) -> bool:
        """Whether the present verdict is an alarm."""
        return self.present is not None and self.present.stuck

    @property
    def words(self) -> str:
        """The state in a few words."""
        verdict = self.present
        if verdict is not None:
            title = verdict.title.removesuffix(f": {verdict.finding}") if verdict.finding else verdict.title
            return title if verdict.metric else capitalised(title)
        if self.over is not None:
            return f"No plateau any more; alarm at step {self.over.step:,}"
        if TONES.get(self.state) == "good":
            return "No plateau was found" if self.status != "running" else "No plateau so far"
        return capitalised(STATES.get(self.state, self.state.replace("_", " ")))


def watched_runs(folder: Path) -> dict[Path, WatchedRun]:
    """Return the runs at or below a directory that a monitor has watched, by the directory of the run.

    They are found by their records in event files or, with other loggers, by ``events.jsonl``.
    """
    runs = {folder / name: _from_document(run) for name, run in logged_runs(folder).items()}
    for path in _event_logs(folder):
        directory = path.parent.parent if path.parent.name == "landscape" and path.parent != folder else path.parent
        if directory in runs:
            continue
        with suppress(LandscapeError, OSError):  # a file of the same name that another program has written
            events = read_events(path)
            if any(event["event"] in ("start", "end", "verdict") for event in events):
                runs[directory] = _from_events(events)
    return runs


def _event_logs(folder: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(folder):
        names.sort()
        if FILE in files:
            yield Path(directory, FILE)


def _from_document(run: LoggedRun) -> WatchedRun:
    """Return the run of which a monitor has written this document; what is damaged is left out."""
    course = run.document.get("course", {})
    segments, loss = course.get("segments"), course.get("loss")
    state = segments[-1][1] if isinstance(segments, list) and segments and len(segments[-1]) == 2 else "learning"
    said = course.get("verdicts")
    curve = course.get("curve")
    steps = course.get("steps", (curve.get("step") or [0])[-1] if isinstance(curve, Mapping) else 0)
    horizon = course.get("horizon")
    return WatchedRun(
        state=str(state),
        verdicts=tuple(_from_record(verdict) for verdict in said or () if isinstance(verdict, Mapping)),
        steps=steps if isinstance(steps, int) else 0,
        horizon=horizon if isinstance(horizon, int) and horizon > 0 else None,
        status=str(course.get("status") or "running"),
        loss=_numbers(loss),
        seen=run.seen or None,
        notes=tuple(map(str, course.get("notes") or ())),
    )


def _numbers(loss: object) -> dict[str, float]:
    if not isinstance(loss, Mapping):
        return {}
    return {str(name): float(value) for name, value in loss.items() if isinstance(value, (int, float))}


def _from_record(verdict: Mapping[str, Any]) -> SaidVerdict:
    finding = verdict.get("finding")
    name = str(finding.get("name", "")) if isinstance(finding, Mapping) else ""
    rows = verdict.get("readings") or ()
    return SaidVerdict(
        cause=str(verdict.get("cause", "undecided")),
        code=str(verdict.get("code", "")),
        title=str(verdict.get("title", "")),
        step=int(verdict.get("step") or 0),
        since=int(verdict.get("since") or 0),
        stuck=verdict.get("stuck") is True,
        finding=name.replace("-", " "),
        tries=tuple(map(str, verdict.get("tries") or ())),
        reason=str(verdict.get("reason", "")),
        tried=str(verdict.get("tried", "")),
        measured=tuple((str(row[0]), str(row[1])) for row in rows if isinstance(row, Sequence) and len(row) == 2),
        metric=str(verdict.get("metric") or ""),
    )


def _from_events(events: Events) -> WatchedRun:
    """Return the run with these events."""
    verdicts: list[SaidVerdict] = []
    state, status, horizon, steps = "learning", "running", None, 0
    loss: dict[str, float] = {}
    notes: tuple[str, ...] = ()
    for event in events:
        steps = max(steps, event["step"]) if isinstance(event.get("step"), int) else steps
        kind = event["event"]
        if kind == "start":
            status, horizon = "running", event.get("horizon")
        elif kind == "verdict" and (verdict := _from_event(event)) is not None:
            verdicts.append(verdict)
            state = state if verdict.metric else verdict.cause
        elif kind == "escaped":
            state = "learning"
        elif kind == "end":
            status, loss = str(event.get("status", "ended")), _numbers(event.get("loss"))
            steps = event["steps"] if isinstance(event.get("steps"), int) else steps
            notes = tuple(map(str, event.get("notes") or ()))
    seen = None
    if events:
        with suppress(ValueError, TypeError, KeyError):
            seen = datetime.fromisoformat(events[-1]["time"]).timestamp()
    planned = horizon if isinstance(horizon, int) and horizon > 0 else None
    return WatchedRun(state, tuple(verdicts), steps, planned, status, loss, seen, notes)


def _from_event(event: Mapping[str, Any]) -> SaidVerdict | None:
    """Return the verdict of an event; None if it is damaged."""
    try:
        verdict = Verdict.from_dict(event)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return SaidVerdict(
        cause=verdict.cause.value,
        code=verdict.code,
        title=verdict.title,
        step=verdict.step,
        since=verdict.since,
        stuck=verdict.stuck,
        finding="" if verdict.finding is None else verdict.finding.words,
        tries=tuple(capitalised(line) for line in verdict.tries),
        reason=verdict.reason,
        tried=capitalised(verdict.tried),
        measured=tuple(evidence_rows(verdict.evidence)),
        metric="" if (metric := verdict.evidence.get(MetricTrend)) is None else metric.name,
    )


def status_in_words(status: str, seen: float | None, now: float) -> str:
    """Return whether a run has ended or is running, and how old its last record is.

    >>> status_in_words("running", 1000.0, 1012.0), status_in_words("running", 0.0, 480.0)
    ('running, last record 12 s ago', 'no news for 8 min')
    >>> status_in_words("ended", 0.0, 7200.0)
    'ended, 2 h ago'
    """
    if seen is None:
        return status
    age = duration(max(0.0, now - seen))
    if status != "running":
        return f"{status}, {age} ago"
    return f"running, last record {age} ago" if now - seen < SILENCE else f"no news for {age}"


def duration(seconds: float) -> str:
    """Return a duration in its largest unit.

    >>> duration(12), duration(480), duration(7200), duration(200000)
    ('12 s', '8 min', '2 h', '2 days')
    """
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} s"
