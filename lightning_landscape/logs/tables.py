"""Numbers from CSV, JSON lines and plain columns of numbers, as loggers and their exports write them.

A table is wide, with a column for each tag (Lightning's `CSVLogger`, exports of W&B), or long, with a column of names
and one of values (exports of MLflow).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from lightning_landscape.errors import LogError
from lightning_landscape.logs.series import Log, number, step_of

STEP_COLUMNS = ("step", "_step", "global_step", "trainer/global_step", "iteration", "iter", "epoch")
"""names of the column of steps in lower case, the best first"""
NAME_COLUMNS, VALUE_COLUMNS = ("key", "metric", "tag", "name"), ("value",)
RUN_COLUMNS = ("run_id", "run", "run id", "run_name", "run name")
NO_TAGS = {*STEP_COLUMNS, "", "_runtime", "_timestamp", "timestamp", "wall time", "time", "relative time (process)"}
"""columns in lower case that hold no values"""
LONGEST_FIELD = 1_000_000
"""characters of the longest field of a table"""


def read_table(lines: Iterable[str], name: str) -> Log:
    """Return the numbers of a table; its form is found from its first line.

    Args:
        lines: with their line breaks.
        name: of the file, for messages.

    Raises:
        LogError: if there is no line, or the first one shows no form that is known.
    """
    source = iter(lines)
    first = next((line for line in source if line.strip()), None)
    if first is None:
        raise LogError(f"{name} is empty")
    rest = chain([first], source)
    if first.lstrip().startswith(("{", "[")):
        return _json_lines(rest, name)
    if number(first.strip()) is not None:
        return _plain_numbers(rest)
    return _csv(rest, first, name)


def _plain_numbers(lines: Iterable[str]) -> Log:
    log = Log()
    unreadable = 0
    for row, line in enumerate(filter(str.strip, lines)):
        value = number(line.strip())
        unreadable += value is None
        if value is not None:
            log.add("loss", row, value)
    _note_unreadable(log, unreadable, "line")
    return log


def _json_lines(lines: Iterable[str], name: str) -> Log:
    """Return the numbers of JSON objects, one in each line; objects within them have a slash in their tags.

    Raises:
        LogError: if no line is an object with a number.
    """
    log = Log()
    unreadable = 0
    for row, line in enumerate(filter(str.strip, lines)):
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, Mapping):
            unreadable += 1
            continue
        fields = dict(_flat(entry, ""))
        step = next((found for key in STEP_COLUMNS if (found := _field(fields, key)) is not None), None)
        for tag, value in fields.items():
            if tag.lower() not in NO_TAGS:
                log.add(tag, step_of(step, row), value)
    if not log.series:
        raise LogError(f"{name} has no line that is a JSON object with a number")
    _note_unreadable(log, unreadable, "line")
    return log


def _field(fields: Mapping[str, float], key: str) -> float | None:
    return fields.get(key)


def _flat(entry: Mapping[str, Any], prefix: str, depth: int = 0) -> Iterator[tuple[str, float]]:
    for key, item in entry.items():
        if isinstance(item, Mapping) and depth < 8:
            yield from _flat(item, f"{prefix}{key}/", depth + 1)
        elif (value := number(item)) is not None and not isinstance(item, str):
            yield f"{prefix}{key}", value


def _csv(lines: Iterable[str], first: str, name: str) -> Log:
    """Return the numbers of a table with a line of headings.

    Raises:
        LogError: if it has no column of numbers, or a field is too long.
    """
    delimiter = max(",;\t", key=first.count)
    csv.field_size_limit(LONGEST_FIELD)
    rows = csv.reader((line.replace("\0", "") for line in lines), delimiter=delimiter)
    try:
        headings = [heading.strip() for heading in next(rows)]
        log = _long(rows, headings) if _is_long(headings) else _wide(rows, headings)
    except csv.Error as error:
        raise LogError(f"{name} is no table of numbers: {error}") from error
    if not log.series:
        raise LogError(f"{name} has no column of numbers; its first line is {first.strip()[:80]!r}")
    return log


def _is_long(headings: Sequence[str]) -> bool:
    lower = [heading.lower() for heading in headings]
    return any(name in lower for name in NAME_COLUMNS) and any(name in lower for name in VALUE_COLUMNS)


def _wide(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> Log:
    log = Log()
    lower = [heading.lower() for heading in headings]
    steps = next((lower.index(name) for name in STEP_COLUMNS if name in lower), None)
    lone = set(lower) - NO_TAGS == {"value"}  # TensorBoard's own export has the columns Wall time, Step and Value
    tags = [(i, "loss" if lone else headings[i]) for i, name in enumerate(lower) if name not in NO_TAGS]
    short = 0
    for row, cells in enumerate(rows):
        if not cells:
            continue
        short += len(cells) != len(headings)
        at = step_of(number(cells[steps]) if steps is not None and steps < len(cells) else None, row)
        for i, tag in tags:
            if i < len(cells) and cells[i] and (value := number(cells[i])) is not None:
                log.add(tag, at, value)
    _note_unreadable(log, short, "row")
    return log


def _long(rows: Iterable[Sequence[str]], headings: Sequence[str]) -> Log:
    lower = [heading.lower() for heading in headings]
    names = next(lower.index(name) for name in NAME_COLUMNS if name in lower)
    values = next(lower.index(name) for name in VALUE_COLUMNS if name in lower)
    steps = next((lower.index(name) for name in STEP_COLUMNS if name in lower), None)
    runs = next((lower.index(name) for name in RUN_COLUMNS if name in lower and lower.index(name) != names), None)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    short = 0
    for row, cells in enumerate(rows):
        if len(cells) != len(headings):
            short += bool(cells)
            continue
        if (value := number(cells[values])) is not None:
            at = step_of(None if steps is None else number(cells[steps]), row)
            found.setdefault((cells[runs] if runs is not None else "", cells[names]), []).append((at, value))
    log = Log()
    several = len({run for run, _ in found}) > 1
    for (run, tag), points in found.items():
        for at, value in sorted(points, key=lambda point: point[0]):  # an export of MLflow may be in any order
            log.add(f"{run} - {tag}" if several else tag, at, value)
    _note_unreadable(log, short, "row")
    return log


def _note_unreadable(log: Log, count: int, what: str) -> None:
    if count:
        log.notes.append(f"{count:,} {what}{'s' * (count > 1)} could not be read.")
