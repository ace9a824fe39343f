"""Conversion of readings to builtins and back, for checkpoints, event logs and web pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from lightning_landscape._text import shortened

R = TypeVar("R")

MAX_CHARACTERS = 200
"""largest number of characters of a value in a message"""


def to_builtins(reading: object) -> dict[str, Any]:
    """Return the fields of a reading as builtins by name.

    Tuples become lists. Mappings and nested dataclasses become dicts. Arrays and tensors become numbers or nested lists
    of numbers.

    Raises:
        TypeError: if the reading is not a dataclass, or a field cannot be converted to numbers and strings.
    """
    if isinstance(reading, type) or not is_dataclass(reading):
        raise TypeError(f"a reading is a dataclass of plain numbers, got {shown(reading)}")
    name = type(reading).__name__
    return {field.name: _builtin(getattr(reading, field.name), f"{name}.{field.name}") for field in fields(reading)}


def from_builtins(kind: type[R], values: Mapping[str, Any]) -> R:
    """Return the reading of class `kind` for which `to_builtins` returned these values."""
    hints = get_type_hints(kind)
    return kind(**{name: _read(hints[name], value, from_builtins) for name, value in values.items()})


def refilled(kind: type[R], values: Mapping[str, Any]) -> R | None:
    """Return the reading like `from_builtins`, but without calling any code of its class.

    None if the class has other fields than the values, or cannot store them as attributes.
    """
    try:
        return _refilled(kind, values)
    except (TypeError, AttributeError):
        return None


def checked(reading: R) -> R:
    """Return the reading with its arrays and tensors replaced by numbers and tuples; unchanged if it has none.

    A detector then gets the same values in a straight run as in a run that was resumed from a checkpoint. A `TypeError`
    is raised as by `to_builtins`.
    """
    to_builtins(reading)
    return cast("R", _with_numbers(reading))


def shown(value: object) -> str:
    """Return the `repr` of a value on one line, cut off after `MAX_CHARACTERS` characters."""
    return shortened(" ".join(repr(value).split()), MAX_CHARACTERS)


def _builtin(value: Any, field_name: str) -> Any:
    """Return a value as builtins.

    Raises:
        TypeError: if that is impossible; the message contains `field_name`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _builtin(value.value, field_name)
    for kind in (int, float, str):
        if isinstance(value, kind):  # NumPy's float64 is a subclass of float that checkpoints must not contain
            return kind(value) if kind is not str else str.__str__(value)
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _builtin(getattr(value, field.name), field_name) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _builtin(item, field_name) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_builtin(item, field_name) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_builtin(item, field_name) for item in value), key=repr)
    if callable(getattr(value, "tolist", None)) and not isinstance(value, type):  # an array, a tensor, a NumPy scalar
        return _builtin(value.tolist(), field_name)
    raise TypeError(f"{field_name} is {shown(value)}, which cannot be stored in a checkpoint; use numbers or strings")


def _with_numbers(value: Any) -> Any:
    """Return a value that `_builtin` accepts, with its arrays and tensors replaced by numbers and tuples."""
    if _is_builtin(value):
        return value
    if is_dataclass(value):
        return _filled(type(value), {field.name: _with_numbers(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, Mapping):
        return {key: _with_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(map(_with_numbers, value))
    return _tuples(_builtin(value, ""))


def _is_builtin(value: object) -> bool:
    """Return whether a value consists of builtins, tuples, mappings and dataclasses only."""
    if isinstance(value, Mapping):
        return all(map(_is_builtin, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_builtin, value))
    if is_dataclass(value):
        return all(_is_builtin(getattr(value, field.name)) for field in fields(value))
    return value is None or type(value) in (bool, int, float, str)


def _refilled(kind: type[R], values: Mapping[str, Any]) -> R:
    # `R` is any class to a type checker, since dataclasses have no common type; the caller knows that it is one.
    if {field.name for field in fields(kind)} != set(values):  # type: ignore[arg-type]
        raise TypeError(f"the fields of {kind.__name__} are not {', '.join(values)}")
    try:
        hints = get_type_hints(kind)
    except Exception:  # an annotation may use a name that is imported for type checkers only
        hints = {}
    return _filled(kind, {name: _read(hints.get(name), value, _refilled) for name, value in values.items()})


def _filled(kind: type[R], values: Mapping[str, Any]) -> R:
    """Return an instance with these attributes, without calling `__init__` or `__post_init__`."""
    instance = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(instance, name, value)
    return instance


def _read(hint: Any, value: Any, make: Callable[[Any, Mapping[str, Any]], Any]) -> Any:
    """Return a stored value converted to its type hint; without a hint, mappings become dicts and lists become tuples.

    `make` creates a dataclass from its stored fields.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        kinds = [kind for kind in arguments if kind is not NoneType]
        return _read(next(filter(is_dataclass, kinds), kinds[0]), value, make)
    if isinstance(value, Mapping):
        if is_dataclass(hint):
            return make(hint, value)
        return {key: _read(arguments[-1] if arguments else None, item, make) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        one_hint_each = len(arguments) == len(value) and arguments[-1:] != (Ellipsis,)
        hints = arguments if one_hint_each else (arguments or (None,))[:1] * len(value)
        return tuple(_read(item_hint, item, make) for item_hint, item in zip(hints, value, strict=True))
    return value


def _tuples(value: Any) -> Any:
    """Return nested lists as nested tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
