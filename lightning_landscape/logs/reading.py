"""Read the log of a run from a file, from a directory or from standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from lightning_landscape.errors import LogError
from lightning_landscape.logs.event_records import events
from lightning_landscape.logs.series import Log, number
from lightning_landscape.logs.tables import read_table
from lightning_landscape.logs.unchanged import unchanged

EVENT_FILES = "*tfevents*"
TABLES = ("metrics.csv", "*.csv", "*.jsonl", "*.ndjson")
"""files of a run's directory that may be tables, the best first"""
NO_LOGS = ("events.jsonl", "hparams.csv")
"""files that hold no numbers of the course of a run"""
LONGEST_LINE = 10_000_000
"""characters of the longest line of a text"""

Advance = Callable[[int], object]
"""is told how many bytes were read"""


def read_log(path: Path, advance: Advance = lambda read: None) -> Log:
    """Return the numbers of a run, from a file or a directory that a logger wrote to.

    Raises:
        LogError: if there is no such file, or nothing in it can be read.
    """
    if path.is_dir():
        return _of_directory(path, advance)
    if not path.exists():
        raise LogError(f"{path} does not exist")
    if not path.is_file():
        raise LogError(f"{path} is neither a file nor a directory")
    if "tfevents" in path.name:
        return _of_event_files([path], advance)
    with unchanged(path), path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        log = read_table(_lines(file, str(path), advance), str(path))
    log.seen = path.stat().st_mtime
    return log


def read_standard_input() -> Log:
    """Return the numbers of a table on standard input."""
    return read_table(_lines(sys.stdin, "standard input", lambda read: None), "standard input")


def run_directories(folder: Path) -> list[Path]:
    """Return the directories at or below this one that hold the log of a run; links to directories are not followed."""
    found = []
    for directory, names, files in os.walk(folder):
        names.sort()
        if _log_files(Path(directory), files):
            found.append(Path(directory))
    return found


def size_of(path: Path) -> int:
    """Return the number of bytes that `read_log` reads."""
    files = _log_files(path, os.listdir(path)) if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _of_directory(folder: Path, advance: Advance) -> Log:
    files = _log_files(folder, sorted(os.listdir(folder)))
    if not files:
        below = run_directories(folder)
        if below:
            raise LogError(f"{folder} holds {len(below)} runs below it, such as {below[0]}; name one of them")
        raise LogError(f"{folder} holds no event file, CSV or JSON lines")
    return _of_event_files(files, advance) if "tfevents" in files[0].name else read_log(files[0], advance)


def _log_files(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the files of a run in a directory that are read: all its event files, or else the best table."""
    paths = [folder / name for name in sorted(names) if name not in NO_LOGS]
    if event_files := [path for path in paths if path.match(EVENT_FILES)]:
        return event_files
    return next(([path] for pattern in TABLES for path in paths if path.match(pattern)), [])


def _of_event_files(files: list[Path], advance: Advance) -> Log:
    log = Log()
    for file in files:
        with unchanged(file):
            for event in events(file):
                log.seen = max(log.seen or 0.0, event.wall_time)
                for value in event.summary.value:
                    if (scalar := _scalar(value)) is not None:
                        log.add(value.tag, event.step, scalar)
        advance(file.stat().st_size)
    if not log.series:
        names = ", ".join(map(str, files[:2])) + (" …" if len(files) > 2 else "")
        raise LogError(f"{names} {'holds' if len(files) == 1 else 'hold'} no number that can be read")
    return log


def _scalar(value: Any) -> float | None:
    """Return the number of a summary's value, as torch and as TensorFlow 2 write it; None if it is something else."""
    if value.HasField("simple_value"):
        return number(value.simple_value)
    if not value.HasField("tensor") or value.metadata.plugin_data.plugin_name != "scalars":
        return None
    from tensorboard.util.tensor_util import make_ndarray

    try:
        return number(make_ndarray(value.tensor).item())
    except (ValueError, TypeError):
        return None


def _lines(file: IO[str], name: str, advance: Advance) -> Iterator[str]:
    """Yield the lines of a text.

    Raises:
        LogError: if a line is too long for a table.
    """
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise LogError(f"{name} has a line of more than {LONGEST_LINE:,} characters, so it is no table")
        advance(len(line))
        yield line
