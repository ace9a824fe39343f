"""The runs that monitors have recorded in TensorBoard's event files, read from a directory of logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_landscape.logs.event_records import events
from lightning_landscape.reporting.loggers import PLUGIN
from lightning_landscape.reporting.page import Document


@dataclass(frozen=True)
class LoggedRun:
    """A run as its event files have it."""

    document: Document
    """the latest readable record of each part"""
    seen: float
    """when the run wrote its last event, in seconds since 1970"""


def logged_runs(folder: Path) -> dict[str, LoggedRun]:
    """Return the runs with records of a monitor by their directories below this one, as TensorBoard names them."""
    runs = {}
    for directory in sorted({path.parent for path in folder.rglob("*tfevents*")}):
        run = _logged_run(sorted(directory.glob("*tfevents*")))
        if run.document:
            runs[directory.relative_to(folder).as_posix()] = run
    return runs


def _logged_run(files: Sequence[Path]) -> LoggedRun:
    texts: dict[str, list[bytes]] = {}
    seen = 0.0
    for file in files:
        for event in events(file):
            seen = max(seen, event.wall_time)
            for value in event.summary.value:
                if value.tag.startswith(f"{PLUGIN}/"):
                    texts.setdefault(value.tag.rpartition("/")[2], []).extend(value.tensor.string_val)
    latest = {part: _latest(records) for part, records in texts.items()}
    return LoggedRun({part: content for part, content in latest.items() if content is not None}, seen)


def _latest(records: Sequence[bytes]) -> dict[str, object] | None:
    """Return the latest record that is a JSON object with finite numbers; None if there is none."""
    for record in reversed(records):
        try:
            content = json.loads(record)
            json.dumps(content, allow_nan=False)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict) and isinstance(content.get("schema"), int):
            return content
    return None
