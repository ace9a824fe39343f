"""The reading of probes that return plain numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurements:
    """The numbers of all probes that return a number instead of a reading of their own."""

    values: Mapping[str, float]
    """the numbers, by the names of the probes"""


def merged(readings: Iterable[object]) -> list[object]:
    """Return the readings with all `Measurements` merged into one, since evidence has one reading of each class."""
    others: list[object] = []
    values: dict[str, float] = {}
    for reading in readings:
        if isinstance(reading, Measurements):
            values.update(reading.values)
        else:
            others.append(reading)
    return [*others, Measurements(values)] if values else others
