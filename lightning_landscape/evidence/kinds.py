"""The names under which readings are stored, and the classes of these readings."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from lightning_landscape.evidence import (
    before,
    comparison,
    curvature,
    data,
    finiteness,
    measurements,
    metric,
    outputs,
    parts,
    players,
    readings,
    restarts,
    schedule,
    trend,
    trials,
    wiring,
)
from lightning_landscape.evidence.serialization import from_builtins, refilled

MODULES = (
    *(before, comparison, curvature, data, finiteness, measurements, metric, outputs),
    *(parts, players, readings, restarts, schedule, trend, trials, wiring),
)
"""the modules of the reading classes"""
OURS: Mapping[str, type] = {
    name: kind
    for module in MODULES
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind)
}
"""the reading classes of this library, by name"""


def stored_name(kind: type) -> str:
    """Return the name under which readings of this class are stored.

    It is the class name for a class of this library, and ``module:class``, as in ``my.readings:Scale``, for any other.
    """
    return kind.__name__ if OURS.get(kind.__name__) is kind else f"{kind.__module__}:{kind.__qualname__}"


def short_name(name: str) -> str:
    """Return the class name in a stored name; the whole stored name if a class of this library has the same name."""
    class_name = name.rpartition(":")[2].rpartition(".")[2]
    return name if class_name in OURS else class_name


def kind_of(name: str) -> type | None:
    """Return the dataclass with this stored name, or None if its module is not imported; this imports no module."""
    module, _, path = name.partition(":")
    found: Any = OURS.get(name) if not path else sys.modules.get(module)
    for attribute in path.split(".") if path else ():
        # `getattr` would call the `__getattr__` of a module, which may import something.
        found = getattr(found, "__dict__", {}).get(attribute)
    return found if isinstance(found, type) and is_dataclass(found) else None


def reading_of(name: str, values: Mapping[str, Any]) -> object | None:
    """Return the reading that was stored under this name; None if its class is not imported or has other fields."""
    kind = kind_of(name)
    if kind is None:
        return None
    if OURS.get(name) is not kind:
        return refilled(kind, values)
    return from_builtins(kind, values) if set(values) <= {field.name for field in fields(kind)} else None
