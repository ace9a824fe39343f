"""Readings as builtins and back: what checkpoints, event logs and web pages can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar, get_args, get_type_hints

R = TypeVar("R")


def plain(reading: Any) -> dict[str, Any]:
    """The fields of a reading as builtins: tuples as lists, mappings and readings within as dicts."""
    return {name: _builtin(value) for name, value in asdict(reading).items()}


def restored(kind: type[R], values: Mapping[str, Any]) -> R:
    """A reading of this kind from what `plain` made of it."""
    hints = get_type_hints(kind)
    return kind(**{name: _read(hints[name], value) for name, value in values.items()})


def _builtin(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_builtin(item) for item in value]
    return value


def _read(hint: Any, value: Any) -> Any:
    within = next((kind for kind in (hint, *get_args(hint)) if is_dataclass(kind)), None)
    if within is not None and isinstance(value, Mapping):
        return restored(within, value)  # type: ignore[arg-type]
    return _tuples(value)


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
