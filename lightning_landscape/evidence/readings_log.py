"""The readings of a run, with the optimizer steps at which they were taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lightning_landscape.evidence.kinds import reading_of, stored_name
from lightning_landscape.evidence.readings import Line
from lightning_landscape.evidence.serialization import to_builtins

R = TypeVar("R")

KEPT = {"Line": 48, "Plane": 6, "Spectrum": 12, "Curvature": 100}
"""readings that are kept of a kind, for lines of each anchor"""
KEPT_OF_OTHERS = 20


class ReadingsLog:
    """All readings of a run by their class, in the order of the steps; of a long run, a thinned-out selection.

    Readings of a class that cannot be found after a resume, such as one defined in a notebook, are kept as they were
    stored and are saved again.
    """

    def __init__(self) -> None:
        # By the stored name of the class, then by anchor ("" for readings without one). A reading whose class is
        # unknown is the mapping of its fields.
        self._series: dict[str, dict[str, list[tuple[int, object]]]] = {}

    def add(self, step: int, readings: Sequence[object]) -> None:
        """Enter the readings that were taken at this optimizer step."""
        for reading in readings:
            name = stored_name(type(reading))
            anchor = getattr(reading, "anchor", "")
            series = self._series.setdefault(name, {}).setdefault(anchor if isinstance(anchor, str) else "", [])
            series.append((step, reading))
            if len(series) > KEPT.get(name, KEPT_OF_OTHERS):
                del series[1 : len(series) // 2 : 2]  # every other one of the older half

    def of(self, kind: type[R], anchor: str | None = None) -> list[tuple[int, R]]:
        """Return the readings of this class with their steps, oldest first; those from one anchor where it is given."""
        name = stored_name(kind)
        found = [
            pair
            for key, series in self._series.get(name, {}).items()
            if anchor in (None, key)
            for pair in series
        ]  # fmt: skip
        known = ((step, self._restored(name, reading)) for step, reading in sorted(found, key=lambda pair: pair[0]))
        return [(step, reading) for step, reading in known if isinstance(reading, kind)]

    def latest(self, kind: type[R]) -> R | None:
        """Return the latest reading of this class; None where none was taken."""
        ends = [series[-1] for series in self._series.get(stored_name(kind), {}).values() if series]
        latest = max(ends, key=lambda pair: pair[0], default=None)
        return latest[1] if latest is not None and isinstance(latest[1], kind) else None

    def latest_of_first_anchor(self, kind: type[R]) -> R | None:
        """Return the latest reading from the anchor that was measured first; None where none was taken."""
        series = next(iter(self._series.get(stored_name(kind), {}).values()), ())
        return series[-1][1] if series and isinstance(series[-1][1], kind) else None

    def lines(self) -> dict[str, list[tuple[int, Line]]]:
        """Return the lines by their anchors, each with its steps."""
        return {anchor: self.of(Line, anchor) for anchor in self._series.get(stored_name(Line), {})}

    @property
    def kinds(self) -> frozenset[str]:
        """The names of the classes of which there are readings, as they are stored."""
        return frozenset(self._series)

    def state_dict(self) -> dict[str, dict[str, list[list[Any]]]]:
        """Return builtins only, for the checkpoint."""
        return {
            name: {anchor: [[step, _fields(reading)] for step, reading in series] for anchor, series in anchors.items()}
            for name, anchors in self._series.items()
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Sequence[Sequence[Any]]]]) -> None:
        """Continue from what `state_dict` returned."""
        self._series = {
            str(name): {
                str(anchor): [(int(step), self._restored(str(name), fields)) for step, fields in series]
                for anchor, series in anchors.items()
            }
            for name, anchors in state.items()
        }

    @staticmethod
    def _restored(name: str, reading: object) -> object:
        """Return the reading for its stored fields, where its class is known by now."""
        if not isinstance(reading, Mapping):
            return reading
        restored = reading_of(name, reading)
        return reading if restored is None else restored


def _fields(reading: object) -> dict[str, Any]:
    return dict(reading) if isinstance(reading, Mapping) else to_builtins(reading)
