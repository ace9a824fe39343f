"""`events.jsonl`: what happened in a run, one JSON object a line, appended as it happens.

Every line holds ``v`` (the schema's version), ``event``, ``time`` (UTC, ISO 8601) and ``step`` (the loggers' x), and:

    start     horizon, version, groups            a fit begins, or goes on from a checkpoint
    readings  readings                            an examination, by the name of the reading's type; one of your own
                                                  as "module:name"
    verdict   cause, since, stuck, reason, advice, evidence
    escaped   cause, since                         the loss falls again
    warning   text, category
    end       status, steps, loss, notes          "ended", "stopped by KeyError"

JSON knows no NaN and no infinity: such a number is null, and ``nonfinite`` holds its path and its name.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_landscape.clock import SYSTEM_CLOCK, Clock
from lightning_landscape.errors import LandscapeError

VERSION = 1
FILE = "events.jsonl"


class Events(list[dict[str, Any]]):
    """Events in the order in which they were written.

    Args:
        skipped: how many lines could not be read: the torn last line of a run that was killed, or damage.
    """

    def __init__(self, events: list[dict[str, Any]], skipped: int) -> None:
        super().__init__(events)
        self.skipped = skipped


def read_events(path: str | os.PathLike[str]) -> Events:
    """The events of a run, from its ``events.jsonl`` or the directory that its logger wrote to.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "events.jsonl"
    >>> _ = file.write_text(event_line("verdict", 120, {"cause": "diverged", "loss": float("nan")}) + '{"v": 1, "ev')
    >>> events = read_events(file)
    >>> events[0]["cause"], events[0]["loss"], events.skipped
    ('diverged', nan, 1)

    Where there is no such file, a `FileNotFoundError`.

    Raises:
        LandscapeError: if it was written by a newer version of this library.
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


def event_line(event: str, step: int, fields: Mapping[str, Any], clock: Clock = SYSTEM_CLOCK) -> str:
    """Return one event as a line of JSON, dated by this clock."""
    lost: list[list[Any]] = []
    body = _without_nonfinite(dict(fields), [], lost)
    now = clock.date().isoformat(timespec="milliseconds")
    whole = {"v": VERSION, "event": event, "time": now, "step": step, **body}
    return json.dumps(whole | ({"nonfinite": lost} if lost else {}), allow_nan=False) + "\n"


def append_event(path: Path, line: str) -> None:
    """Write the line at the end of the file, on a line of its own even where a killed run has left half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
        if not isinstance(event["v"], int) or not isinstance(event["event"], str):
            return None
        for *path, name in event.pop("nonfinite", ()):
            place = event
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = float(name)
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return dict(event)


def _without_nonfinite(value: Any, path: list[Any], lost: list[list[Any]]) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        lost.append([*path, str(value)])
        return None
    if isinstance(value, Mapping):
        return {str(key): _without_nonfinite(item, [*path, str(key)], lost) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nonfinite(item, [*path, i], lost) for i, item in enumerate(value)]
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)
