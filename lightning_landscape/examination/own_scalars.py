"""Scalars of the user's own probes and readings, under ``landscape/`` and the names that the user gave them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.evidence import Measurements, shown
from lightning_landscape.evidence.kinds import OURS, stored_name

SCALARS = frozenset({
    *("grad_norm", "grad_norm_clipped", "update_ratio", "plateau_length", "loss_trend", "verdict", "overhead"),
    *("noise_scale", "barrier", "lambda_min", "lambda_max", "sharpness_ratio", "trace", "share_negative"),
})
"""the library's own scalars"""
MEDIA = frozenset({"timeline", "grad_norms", "plane", "descent", "spectrum", "surface", "verdict_card", "remedies"})
"""names of the library's own pictures and texts: a logger may keep one kind of thing under one name only"""
LINES = "line_from_"
"""how the names of pictures of lines begin"""


def taken(name: str) -> bool:
    """Return whether ``landscape/<name>`` is a name of the library's own."""
    return name in SCALARS or name in MEDIA or name.startswith(LINES)


def own_scalars(readings: Sequence[object]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the scalars of the user's own readings by name, and why others are refused.

    The scalars of a reading are its `scalars`: a method without arguments, a property or a field that gives a mapping
    from names to numbers. A probe that returns a number has that number as its scalar, under the name of the probe.
    What is refused is keyed by its description, as in "the scalar 'verdict' of Scale".
    """
    values: dict[str, float] = {}
    refused: dict[str, str] = {}
    for reading in readings:
        kind = type(reading)
        if isinstance(reading, Measurements):
            _sort_in(reading.values, "a probe", values, refused)
            continue
        if stored_name(kind) in OURS or not (hasattr(kind, "scalars") or "scalars" in getattr(reading, "__dict__", {})):
            continue
        try:
            given = _given(reading)
        except Exception as error:  # of the user's own code
            refused[f"showing the scalars of {kind.__name__}"] = f"{type(error).__name__}: {error}"
            continue
        _sort_in(given, kind.__name__, values, refused)
    return values, refused


def _sort_in(given: Mapping[Any, Any], owner: str, values: dict[str, float], refused: dict[str, str]) -> None:
    """Enter each scalar among the values, or the reason why it is refused."""
    for name, value in given.items():
        if reason := _reason(name, value):
            refused[f"the scalar {name!r} of {owner}"] = reason
        else:
            values[name] = float(value)


def _given(reading: Any) -> Mapping[Any, Any]:
    given = reading.scalars() if callable(reading.scalars) else reading.scalars
    if not isinstance(given, Mapping):
        raise TypeError(f"scalars is a mapping from names to numbers, got {shown(given)}")
    return given


def _reason(name: Any, value: Any) -> str:
    """Return why this is not shown; empty where it is."""
    if not isinstance(name, str) or not name.strip():
        return "a name is a text that is not empty"
    if taken(name):
        return f"landscape/{name} is a name that the library uses itself; choose another"
    try:
        float(value)
    except Exception:
        return f"a scalar is a number, got {shown(value)}"
    return "" if not isinstance(value, (str, bytes)) else f"a scalar is a number, got {shown(value)}"
