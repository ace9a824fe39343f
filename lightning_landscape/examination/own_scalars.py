"""The scalars of the user's own probes and readings, which are logged under ``landscape/`` and the user's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lightning_landscape.evidence import Measurements, shown
from lightning_landscape.evidence.kinds import OURS, stored_name

SCALARS = frozenset({
    *("grad_norm", "grad_norm_clipped", "update_ratio", "plateau_length", "loss_trend", "verdict", "overhead"),
    *("noise_scale", "barrier", "lambda_min", "lambda_max", "sharpness_ratio", "trace", "share_negative"),
})
"""the library's own scalars"""
MEDIA = frozenset({
    "timeline",
    "metrics",
    "grad_norms",
    "plane",
    "descent",
    "spectrum",
    "surface",
    "verdict_card",
    "remedies",
})
"""names of the library's own pictures and texts; some loggers cannot log a number under the name of a picture"""
LINES = "line_from_"
"""the beginning of the names of pictures of lines"""


def is_reserved(name: str) -> bool:
    """Return whether the library itself uses ``landscape/<name>``."""
    return name in SCALARS or name in MEDIA or name.startswith(LINES)


def own_scalars(readings: Sequence[object]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the scalars of the user's readings by name, and the reasons why others are refused.

    The scalars of a reading are its `scalars`: a mapping from names to numbers, as a field, a property or a method
    without arguments. The number that a probe returns is its scalar, under the name of the probe. The keys of the
    reasons describe what is refused, as in "the scalar 'verdict' of Scale".
    """
    values: dict[str, float] = {}
    refused: dict[str, str] = {}
    for reading in readings:
        kind = type(reading)
        if isinstance(reading, Measurements):
            _enter(reading.values, "a probe", values, refused)
            continue
        if stored_name(kind) in OURS or not (hasattr(kind, "scalars") or "scalars" in getattr(reading, "__dict__", {})):
            continue
        try:
            scalars = _scalars_of(reading)
        except Exception as error:  # raised by the user's own code
            refused[f"showing the scalars of {kind.__name__}"] = f"{type(error).__name__}: {error}"
            continue
        _enter(scalars, kind.__name__, values, refused)
    return values, refused


def _enter(scalars: Mapping[Any, Any], owner: str, values: dict[str, float], refused: dict[str, str]) -> None:
    """Add each scalar to `values`, or the reason why it is refused to `refused`."""
    for name, value in scalars.items():
        if reason := _why_refused(name, value):
            refused[f"the scalar {name!r} of {owner}"] = reason
        else:
            values[name] = float(value)


def _scalars_of(reading: Any) -> Mapping[Any, Any]:
    scalars = reading.scalars() if callable(reading.scalars) else reading.scalars
    if not isinstance(scalars, Mapping):
        raise TypeError(f"scalars must be a mapping from names to numbers, got {shown(scalars)}")
    return scalars


def _why_refused(name: Any, value: Any) -> str:
    """Return the reason why this scalar is refused; empty if it is not."""
    if not isinstance(name, str) or not name.strip():
        return "its name must be a string that is not empty"
    if is_reserved(name):
        return f"the library itself uses the name landscape/{name}; choose another"
    if not isinstance(value, (str, bytes)):
        with suppress(Exception):
            float(value)
            return ""
    return f"it must be a number, got {shown(value)}"
