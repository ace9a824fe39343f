"""The names under which readings are stored, and the classes that they stand for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from lightning_landscape.evidence import comparison, curvature, measurements, readings, trials
from lightning_landscape.evidence.serialization import from_builtins, refilled

OURS: Mapping[str, type] = {
    name: kind
    for module in (readings, curvature, comparison, trials, measurements)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind)
}
"""the library's own readings, by name"""


def stored_name(kind: type) -> str:
    """Return the name under which readings of this kind are stored.

    The library's own have the name of their class, others that of their module before it, as in ``my.readings:Scale``.
    """
    return kind.__name__ if OURS.get(kind.__name__) is kind else f"{kind.__module__}:{kind.__qualname__}"


def short_name(name: str) -> str:
    """Return the name of the class alone, for people; the whole name where the library has a class of that name."""
    last = name.rpartition(":")[2].rpartition(".")[2]
    return name if last in OURS else last


def kind_of(name: str) -> type | None:
    """Return the dataclass of this name if its module has been imported already; nothing is imported for it."""
    place, _, path = name.partition(":")
    found: Any = OURS.get(name) if not path else sys.modules.get(place)
    for part in path.split(".") if path else ():
        # Not `getattr`: a module's own `__getattr__` may import what it is asked for.
        found = getattr(found, "__dict__", {}).get(part)
    return found if isinstance(found, type) and is_dataclass(found) else None


def reading_of(name: str, values: Mapping[str, Any]) -> object | None:
    """Return the reading that was stored under this name; None where its class is not known, or has other fields."""
    kind = kind_of(name)
    if kind is None:
        return None
    if OURS.get(name) is not kind:
        return refilled(kind, values)
    return from_builtins(kind, values) if set(values) <= {field.name for field in fields(kind)} else None
