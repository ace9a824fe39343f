"""What modules hold outside of their ``__dict__``: in their classes, and in slots."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, ValuesView
from typing import Any

from lightning_landscape.module_surface.copier import in_slots, is_immutable
from lightning_landscape.trainer._compat import is_of_a_framework

CopyOne = Callable[[Any, str], Any]
"""copies a value, given where it was found"""
_MISSING = object()


class OtherAttributes:
    """The attributes of the classes of some modules, and those in slots of the modules, as the probe found them.

    Making one changes nothing. Classes of torch, Lightning and torchmetrics are left out. Functions, properties and
    other descriptors of a class are never copied; a name that is bound anew, added or deleted is restored in any case.
    """

    def __init__(self, modules: Iterable[object]) -> None:
        modules = list(modules)
        kinds = dict.fromkeys(kind for module in modules for kind in type(module).__mro__)
        self._held = [_of_class(kind) for kind in kinds if not is_of_a_framework(kind)]
        self._held += [_of_slots(module) for module in modules if in_slots(module)]

    def renew(self, copy: CopyOne) -> None:
        """Restore what was there in the beginning, with private copies of what can change."""
        for held in self._held:
            if held.changeable or held.differs():
                copies = {key: copy(held.original[key], f"{held.name}.{key}") for key in held.changeable}
                held.become(held.original | copies)

    def in_use(self) -> list[dict[str, Any]]:
        """Return the present attributes of each class, and those in the slots of each module."""
        return [held.read() for held in self._held]

    def use(self, attributes: Iterable[dict[str, Any]]) -> None:
        """Set what `in_use` has returned."""
        for held, values in zip(self._held, attributes, strict=True):
            held.become(values)

    def put_back(self) -> None:
        """Return every original. Interrupted anywhere, it can be called again and completes."""
        for held in self._held:
            if held.differs():
                held.become(held.original)


class _Held:
    """The attributes of one class or one module, and how they are set."""

    def __init__(
        self,
        name: str,
        read: Callable[[], dict[str, Any]],
        write: Callable[[str, Any], None],
        delete: Callable[[str], None],
        values: ValuesView[Any] | None,
    ) -> None:
        self.name, self.read, self._write, self._delete = name, read, write, delete
        self.original = read()
        # Descriptors compute what is asked of an instance; they belong to the code.
        self.changeable = [
            key
            for key, value in self.original.items()
            if not is_immutable(value) and not hasattr(type(value), "__get__")
        ]
        self._values = values
        self._identities = None if values is None else tuple(map(id, values))

    def differs(self) -> bool:
        """Whether anything else may be held than in the beginning."""
        return self._values is None or tuple(map(id, self._values)) != self._identities

    def become(self, attributes: dict[str, Any]) -> None:
        """Hold these attributes, and no others."""
        present = self.read()
        for key in present.keys() - attributes.keys():
            self._delete(key)
        for key, value in attributes.items():
            if present.get(key, _MISSING) is not value:
                self._write(key, value)


def _of_class(kind: type) -> _Held:
    # By `type` itself: a metaclass may refuse.
    write, delete = functools.partial(type.__setattr__, kind), functools.partial(type.__delattr__, kind)
    return _Held(kind.__qualname__, lambda: _own_attributes(kind), write, delete, vars(kind).values())


def _own_attributes(kind: type) -> dict[str, Any]:
    """All that a class holds but what Python itself keeps there."""
    return {
        key: value
        for key, value in vars(kind).items()
        if not (key.startswith("__") and key.endswith("__")) and not key.startswith("_abc_")
    }


def _of_slots(module: object) -> _Held:
    write, delete = functools.partial(object.__setattr__, module), functools.partial(object.__delattr__, module)
    return _Held(type(module).__qualname__, lambda: in_slots(module), write, delete, None)
