"""The readings of a run, with the optimizer steps at which they were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lightning_landscape.evidence.kinds import reading_of, stored_name
from lightning_landscape.evidence.measurements import merged
from lightning_landscape.evidence.readings import Line
from lightning_landscape.evidence.serialization import to_builtins

R = TypeVar("R")

MAX_READINGS = {"Line": 48, "Plane": 6, "Spectrum": 12, "Curvature": 100}
"""largest number of readings of a class; for lines, of each anchor"""
MAX_READINGS_OF_OTHERS = 20
"""largest number of readings of any other class"""


class ReadingsLog:
    """The readings of a run by their class, in the order of their steps; in a long run, older ones are thinned out.

    After a resume, a reading whose class is not imported, such as one defined in a notebook, is kept as it was stored,
    so `state_dict` returns it again.
    """

    def __init__(self) -> None:
        # The keys are the stored name of the class, then the anchor ("" for readings without one). A reading whose
        # class is not imported is stored as the mapping of its fields.
        self._series: dict[str, dict[str, list[tuple[int, object]]]] = {}

    def add(self, step: int, readings: Sequence[object]) -> None:
        """Add the readings that were measured at this optimizer step."""
        for reading in merged(readings):
            name = stored_name(type(reading))
            anchor = getattr(reading, "anchor", "")
            series = self._series.setdefault(name, {}).setdefault(anchor if isinstance(anchor, str) else "", [])
            series.append((step, reading))
            if len(series) > MAX_READINGS.get(name, MAX_READINGS_OF_OTHERS):
                del series[1 : len(series) // 2 : 2]  # every second one of the older half

    def of(self, kind: type[R], anchor: str | None = None) -> list[tuple[int, R]]:
        """Return the readings of this class with their steps, oldest first; only those of one anchor if it is given."""
        name = stored_name(kind)
        logged = [
            pair
            for key, series in self._series.get(name, {}).items()
            if anchor in (None, key)
            for pair in series
        ]  # fmt: skip
        restored = ((step, self._restored(name, reading)) for step, reading in sorted(logged, key=lambda pair: pair[0]))
        return [(step, reading) for step, reading in restored if isinstance(reading, kind)]

    def latest(self, kind: type[R]) -> R | None:
        """Return the latest reading of this class; None if there is none."""
        ends = [series[-1] for series in self._series.get(stored_name(kind), {}).values() if series]
        latest = max(ends, key=lambda pair: pair[0], default=None)
        return latest[1] if latest is not None and isinstance(latest[1], kind) else None

    def latest_of_first_anchor(self, kind: type[R]) -> R | None:
        """Return the latest reading of the anchor that was measured first; None if there is none."""
        series = next(iter(self._series.get(stored_name(kind), {}).values()), ())
        return series[-1][1] if series and isinstance(series[-1][1], kind) else None

    def lines(self) -> dict[str, list[tuple[int, Line]]]:
        """Return the lines with their steps, by their anchors."""
        return {anchor: self.of(Line, anchor) for anchor in self._series.get(stored_name(Line), {})}

    @property
    def kinds(self) -> frozenset[str]:
        """The stored names of the classes that have readings."""
        return frozenset(self._series)

    def state_dict(self) -> dict[str, dict[str, list[list[Any]]]]:
        """Return all readings as builtins, for the checkpoint."""
        return {
            name: {anchor: [[step, _fields(reading)] for step, reading in series] for anchor, series in anchors.items()}
            for name, anchors in self._series.items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Sequence[Sequence[Any]]]]) -> None:
        """Restore the readings that `state_dict` returned."""
        self._series = {
            str(name): {
                str(anchor): [(int(step), self._restored(str(name), fields)) for step, fields in series]
                for anchor, series in anchors.items()
            }
            for name, anchors in state.items()
        }

    @staticmethod
    def _restored(name: str, reading: object) -> object:
        """Return the reading for its stored fields, or the fields as they are if its class is not imported."""
        if not isinstance(reading, Mapping):
            return reading
        restored = reading_of(name, reading)
        return reading if restored is None else restored


def _fields(reading: object) -> dict[str, Any]:
    """Return the fields of a reading, or of a mapping that stands for one, as builtins."""
    return dict(reading) if isinstance(reading, Mapping) else to_builtins(reading)
