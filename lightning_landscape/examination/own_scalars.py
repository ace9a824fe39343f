"""Numbers that a user's own readings show under ``landscape/``, by the names that they give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.evidence import shown
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
    """Return the numbers that readings with a `scalars` show, by name, and why others are refused.

    `scalars` is a method without arguments, a property or a field: a mapping from names to numbers. What is refused is
    keyed by what it is, as in "the scalar 'verdict' of Scale".
    """
    values: dict[str, float] = {}
    refused: dict[str, str] = {}
    for reading in readings:
        kind = type(reading)
        if stored_name(kind) in OURS or not (hasattr(kind, "scalars") or "scalars" in getattr(reading, "__dict__", {})):
            continue
        try:
            given = _given(reading)
        except Exception as error:  # of the user's own code
            refused[f"showing the scalars of {kind.__name__}"] = f"{type(error).__name__}: {error}"
            continue
        for name, value in given.items():
            reason = _reason(name, value)
            if reason:
                refused[f"the scalar {name!r} of {kind.__name__}"] = reason
            else:
                values[name] = float(value)
    return values, refused


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
