"""A `repr` on one line for readings that hold many numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

FEW = 4
"""most items of a tuple or a mapping that are written out"""


def short_repr(reading: Any) -> str:
    """Return the class and the fields of a dataclass; of long tuples and mappings, only how many and how large.

    It is used as the method ``__repr__`` of a dataclass.
    """
    shown = ", ".join(f"{field.name}={_shown(getattr(reading, field.name))}" for field in fields(reading))
    return f"{type(reading).__name__}({shown})"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return repr(dict(value)) if len(value) <= FEW else f"<{len(value)} items>"
    if not isinstance(value, (tuple, list)):
        return repr(value)
    items = [*_flat(value)]
    if len(items) <= FEW:
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    finite = [item for item in items if isinstance(item, (int, float)) and math.isfinite(item)]
    if not finite:
        return f"<{len(value)} items>"
    rest = f", {len(items) - len(finite)} not finite" if len(items) > len(finite) else ""
    return f"<{len(items)} numbers from {min(finite):.4g} to {max(finite):.4g}{rest}>"


def _flat(value: object) -> Iterator[object]:
    """Yield the items of nested tuples and lists."""
    for item in value if isinstance(value, (tuple, list)) else (value,):
        yield from _flat(item) if isinstance(item, (tuple, list)) else (item,)
