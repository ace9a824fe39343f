"""Readings as builtins and back: what checkpoints, event logs and web pages can hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from lightning_landscape._text import shortened

R = TypeVar("R")

SHOWN = 200
"""characters of a value that are shown in a message"""


def to_builtins(reading: Any) -> dict[str, Any]:
    """Return the fields of a reading as builtins: tuples as lists, mappings and readings within as dicts.

    Arrays and tensors become numbers, or nested lists of numbers.

    Raises:
        TypeError: if the reading is no dataclass, or a field holds something that is not made of numbers and texts.
    """
    if isinstance(reading, type) or not is_dataclass(reading):
        raise TypeError(f"a reading is a dataclass of plain numbers, got {shown(reading)}")
    name = type(reading).__name__
    return {field.name: _builtin(getattr(reading, field.name), f"{name}.{field.name}") for field in fields(reading)}


def from_builtins(kind: type[R], values: Mapping[str, Any]) -> R:
    """Return a reading of this kind from what `to_builtins` made of it."""
    hints = get_type_hints(kind)
    return kind(**{name: _read(hints[name], value, from_builtins) for name, value in values.items()})


def refilled(kind: type[R], values: Mapping[str, Any]) -> R | None:
    """Return a reading of this kind from what `to_builtins` made of it, without calling any code of its class.

    None where the fields of the class are not those of the values, or it does not keep them as attributes.
    """
    try:
        return _refilled(kind, values)
    except (TypeError, AttributeError):
        return None


def checked(reading: R) -> R:
    """Return the reading if it is made of builtins, else the same with numbers and tuples in place of arrays.

    So a detector sees what it would see in a run that is resumed from a checkpoint. Raises what `to_builtins` raises.
    """
    to_builtins(reading)
    return cast("R", _with_numbers(reading))


def shown(value: object) -> str:
    """Return the value as text on one line of at most `SHOWN` characters."""
    return shortened(" ".join(repr(value).split()), SHOWN)


def _builtin(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _builtin(value.value, where)
    for kind in (int, float, str):
        if isinstance(value, kind):  # NumPy's float64 is a float as well, and no checkpoint may hold it
            return kind(value) if kind is not str else str.__str__(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _builtin(getattr(value, field.name), where) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _builtin(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_builtin(item, where) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_builtin(item, where) for item in value), key=repr)
    if callable(getattr(value, "tolist", None)) and not isinstance(value, type):  # an array, a tensor, one number of it
        return _builtin(value.tolist(), where)
    raise TypeError(f"{where} holds {shown(value)}, which no checkpoint can hold: make numbers or text of it")


def _with_numbers(value: Any) -> Any:
    """Return a value that `_builtin` accepts with numbers in place of its arrays."""
    if _is_builtin(value):
        return value
    if is_dataclass(value):
        return _filled(type(value), {field.name: _with_numbers(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(_with_numbers, value))
    return _tuples(_builtin(value, ""))


def _is_builtin(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_builtin, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_builtin, value))
    if is_dataclass(value):
        return all(_is_builtin(getattr(value, field.name)) for field in fields(value))
    return value is None or type(value) in (bool, int, float, str)


def _refilled(kind: type[R], values: Mapping[str, Any]) -> R:
    if {field.name for field in fields(kind)} != set(values):  # type: ignore[arg-type]
        raise TypeError(f"{kind.__name__} has other fields than {', '.join(values)}")
    try:
        hints = get_type_hints(kind)
    except Exception:  # a name that is imported for type checkers only
        hints = {}
    return _filled(kind, {name: _read(hints.get(name), value, _refilled) for name, value in values.items()})


def _filled(kind: type[R], values: Mapping[str, Any]) -> R:
    """Return an instance with these attributes; neither `__init__` nor `__post_init__` is called."""
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def _read(hint: Any, value: Any, make: Callable[[Any, Mapping[str, Any]], Any]) -> Any:
    """Return a stored value as this type hint says: what it does not say is left to plain dicts and tuples."""
    origin, within = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kinds = [kind for kind in within if kind is not NoneType]
        return _read(next(filter(is_dataclass, kinds), kinds[0]), value, make)
    if isinstance(value, Mapping):
        if is_dataclass(hint):
            return make(hint, value)
        return {key: _read(within[-1] if within else None, item, make) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        fixed = len(within) == len(value) and within[-1:] != (Ellipsis,)
        each = within if fixed else (within or (None,))[:1] * len(value)
        return tuple(_read(kind, item, make) for kind, item in zip(each, value, strict=True))
    return value


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
