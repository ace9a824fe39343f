"""The names of probes, detectors and remedies in warnings and reports, and each probe once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning_landscape._text import shortened
from lightning_landscape.surface import Probe

LONGEST = 120
"""most characters of a name"""


def name_of(function: object) -> str:
    """Return a name for a function or an object that can be called, on one line, the same on every rank.

    >>> name_of(len), name_of(partial(sorted, reverse=True)), name_of(object())
    ('len', 'sorted(reverse=True)', 'object')
    """
    return shortened(" ".join(_name(function).split()), LONGEST)


def distinct(probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return the probes in their order, each once; they need not be hashable."""
    unique: list[Probe] = []
    for probe in probes:
        if probe not in unique:
            unique.append(probe)
    return tuple(unique)


def _name(function: object) -> str:
    if isinstance(function, partial):
        arguments = [*map(repr, function.args), *(f"{key}={value!r}" for key, value in function.keywords.items())]
        return name_of(function.func) + (f"({', '.join(arguments)})" if arguments else "")
    name = getattr(function, "__name__", None)
    if name == "<lambda>" and (code := getattr(function, "__code__", None)) is not None:
        return f"the lambda at line {code.co_firstlineno} of {Path(code.co_filename).name}"
    if isinstance(name, str) and name:
        return name
    # The default `repr` contains an address in memory, which differs between ranks.
    kind: Any = type(function)
    return str(kind.__name__ if kind.__repr__ is object.__repr__ else repr(function))
