"""The reading of measurements that are plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurements:
    """Numbers that probes returned in place of a reading of their own, by the names of the probes."""

    values: Mapping[str, float]


def merged(readings: Iterable[object]) -> list[object]:
    """Return the readings with all `Measurements` joined into one, since evidence holds one reading of each class."""
    others: list[object] = []
    values: dict[str, float] = {}
    for reading in readings:
        if isinstance(reading, Measurements):
            values.update(reading.values)
        else:
            others.append(reading)
    return [*others, Measurements(values)] if values else others
