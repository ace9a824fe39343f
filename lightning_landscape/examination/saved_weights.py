"""How much the state of a monitor adds to the user's checkpoints: copies of weights that do not fit go into files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from torch import Tensor

from lightning_landscape.examination.weight_files import REFERENCE, StoredPoint, WeightFiles

SHARE = 0.1
"""largest share of the user's checkpoint by which it may grow"""
AT_LEAST = 8 * 2**20
"""bytes by which any checkpoint may grow"""
WITHOUT_TENSORS = 2**20
"""bytes of these that are left for numbers and texts: the curve of the loss, the readings and the verdicts"""

Place: TypeAlias = tuple[Any, ...]
"""keys and indices that lead to a point in the state of a monitor"""


def allowance(checkpoint: Mapping[str, Any]) -> int:
    """Return the bytes of weights that may be added to a checkpoint with these weights and optimizer states."""
    own = _bytes_in(checkpoint.get("state_dict", {})) + _bytes_in(checkpoint.get("optimizer_states", []))
    return int(max(AT_LEAST, SHARE * own)) - WITHOUT_TENSORS


def slimmed(state: dict[str, Any], most: int, files: WeightFiles) -> dict[str, Any]:
    """Return the state with references to files in place of the points of weights that do not fit.

    A point that does not fit and cannot be written is left out, and a run that resumes begins without it. The initial
    weights come first. The state itself is not changed.

    Args:
        state: the state of a monitor.
        most: bytes of weights that fit.
        files: writes the points.
    """
    stored: list[StoredPoint] = []
    for key, place in _places(state):
        point = _at(state, place)
        if REFERENCE in point:
            continue
        size = _bytes_in(point)
        if size <= most:
            most -= size
            continue
        written = files.write(key, point)
        stored += [] if written is None else [written]
        state = _with(state, place, {} if written is None else written.reference)
    files.saved(stored)
    return state


def _places(state: Mapping[str, Any]) -> Iterator[tuple[str, Place]]:
    """Iterate over the points of weights in the state of a monitor, those first that a resumed run needs most.

    Yields:
        what the point is, and where it is
    """
    examination = state.get("examination", {})
    snapshots = examination.get("snapshots", {})
    at, steps = ("examination", "snapshots"), snapshots.get("steps", {})
    for name in snapshots.get("points", {}):
        yield f"{name} {steps.get(name, 0)}", (*at, "points", name)
    if snapshots.get("recent") is not None:
        yield f"recent {snapshots['recent'][0]}", (*at, "recent", 1)
    for step in examination.get("stall_test", {}).get("copies", {}):
        yield f"recent {step}", ("examination", "stall_test", "copies", step)
    for step in snapshots.get("trail", {}):
        yield f"trail {step}", (*at, "trail", step)
    course = examination.get("kept", {}).get("restarts", {}).get("course")
    if course is not None:
        yield (
            f"restart {course['kind']} {course['seed']} {course['taken']}",
            (
                *("examination", "kept", "restarts", "course"),
                "point",
            ),
        )


def _at(state: Any, place: Place) -> Any:
    for key in place:
        state = state[key]
    return state


def _with(state: Any, place: Place, value: object) -> Any:
    """Return a copy of nested dictionaries and lists with another value at a place; the rest is shared."""
    if not place:
        return value
    copied = state.copy()
    copied[place[0]] = _with(state[place[0]], place[1:], value)
    return copied


def _bytes_in(value: Any) -> int:
    """Return the bytes of all tensors in nested dictionaries, lists and tuples."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_bytes_in, value.values()))
    return sum(map(_bytes_in, value)) if isinstance(value, (list, tuple)) else 0
