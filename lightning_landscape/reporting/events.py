"""Write and read `events.jsonl`: what happened in a run, one JSON object per line, appended as it happens.

Every line holds ``v`` (the version of this format), ``event``, ``time`` (UTC, ISO 8601) and ``step`` (the step that
loggers use as x). The further fields depend on the event:

    start     horizon, version, groups             a fit begins, or resumes from a checkpoint
    readings  readings                             probes were run; each reading stands under the name of its type, a
                                                   type of your own under "module:name"; under "Line" stands a list
                                                   with the line from each anchor
    finding   name, cause, sentence, advice, weight   a mistake in the code, the data or the settings, found early
    verdict   cause, since, stuck, reason, advice, finding, evidence; `replaces` is the step of an earlier verdict on
                                                   the same plateau that this one corrects, if there is one
    escaped   cause, since                         the loss falls again after the alarm with this cause
    warning   text, category
    asked     id                                   another process has asked for a diagnosis, see `landscape ask`
    answer    id, verdict, why                     its answer: a verdict, or why there is none
    end       status, steps, loss, notes           the fit is over; `status` is for example "ended" or
                                                   "stopped by KeyError"

JSON has no NaN and no infinity. Such a number is written as null, and ``nonfinite`` lists its path and its value, with
which `read_events` puts it back.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.errors import LandscapeError
from lightning_landscape.evidence import Evidence, Line, to_builtins

VERSION = 1
FILE = "events.jsonl"


class Events(list[dict[str, Any]]):
    """Events in the order in which they were written.

    Args:
        skipped: how many lines could not be read. The last line of a killed run may be incomplete, or the file damaged.
    """

    def __init__(self, events: list[dict[str, Any]], skipped: int) -> None:
        super().__init__(events)
        self.skipped = skipped


def read_events(path: str | os.PathLike[str]) -> Events:
    """Return the events of a run, given its ``events.jsonl`` or the directory that its logger wrote to.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "events.jsonl"
    >>> _ = file.write_text(event_line("verdict", 120, {"cause": "diverged", "loss": float("nan")}) + '{"v": 1, "ev')
    >>> events = read_events(file)
    >>> events[0]["cause"], events[0]["loss"], events.skipped
    ('diverged', nan, 1)

    A `FileNotFoundError` is raised if there is no such file.

    Raises:
        LandscapeError: if a newer version of this library wrote the file.
    """
    source = Path(path)
    if source.is_dir():
        source = next((f for f in (source / FILE, source / "landscape" / FILE) if f.is_file()), source / FILE)
    events: list[dict[str, Any]] = []
    skipped = 0
    with source.open("rb") as lines:
        for line in lines:
            event = _parsed(line)
            if event is None:
                skipped += bool(line.strip())
            elif event["v"] > VERSION:
                raise LandscapeError(
                    f"{source} holds events of version {event['v']}; this library reads up to {VERSION}"
                )
            else:
                events.append(event)
    return Events(events, skipped)


def readings_by_name(readings: Iterable[object]) -> dict[str, Any]:
    """Return the fields of each reading by the name of its type; under "Line" a list with the line from each anchor."""
    given = list(readings)
    lines = [to_builtins(reading) for reading in given if isinstance(reading, Line)]
    return {**Evidence(*given).to_dict(), **({"Line": lines} if lines else {})}


def event_line(event: str, step: int, fields: Mapping[str, object], clock: Clock = SYSTEM_CLOCK) -> str:
    """Return one event, with the time of this clock, as a line of JSON."""
    nonfinite: list[list[str | int]] = []
    body = _without_nonfinite(dict(fields), [], nonfinite)
    now = clock.date().isoformat(timespec="milliseconds")
    content = {"v": VERSION, "event": event, "time": now, "step": step, **body}
    return json.dumps(content | ({"nonfinite": nonfinite} if nonfinite else {}), allow_nan=False) + "\n"


def append_event(path: Path, line: str) -> None:
    """Append the line to the file, after a line break if a killed run has left an incomplete line at its end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the event on this line, NaN and infinities restored; None if the line is not an event."""
    try:
        event = json.loads(line)
        if not isinstance(event["v"], int) or not isinstance(event["event"], str):
            return None
        for *path, number in event.pop("nonfinite", ()):
            container = event
            for key in path[:-1]:
                container = container[key]
            container[path[-1]] = float(number)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return dict(event)


def _without_nonfinite(value: object, path: list[str | int], nonfinite: list[list[str | int]]) -> Any:
    """Return the value as JSON, None for each number that is not finite; add its path and value to `nonfinite`."""
    if isinstance(value, float) and not math.isfinite(value):
        nonfinite.append([*path, str(value)])
        return None
    if isinstance(value, Mapping):
        return {str(key): _without_nonfinite(item, [*path, str(key)], nonfinite) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nonfinite(item, [*path, i], nonfinite) for i, item in enumerate(value)]
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)
