"""Copy and restore the attributes of modules that are not in their ``__dict__``: class attributes and slots."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, ValuesView
from typing import Any

from lightning_landscape.module_surface.copier import is_immutable, slot_attributes
from lightning_landscape.trainer._compat import is_of_a_framework

CopyValue = Callable[[Any, str], Any]
"""returns a copy of a value, given a description of where it was found"""
_MISSING = object()


class OtherAttributes:
    """The attributes of the classes of some modules, and those in slots of the modules, at the time of construction.

    The constructor only reads. Classes of torch, Lightning and torchmetrics are left out. Functions, properties and
    other descriptors of a class are never copied, but an attribute that is set or deleted is restored whatever it is.

    Args:
        modules: the modules.
    """

    def __init__(self, modules: Iterable[object]) -> None:
        modules = list(modules)
        kinds = dict.fromkeys(kind for module in modules for kind in type(module).__mro__)
        self._owners = [_of_class(kind) for kind in kinds if not is_of_a_framework(kind)]
        self._owners += [_of_slots(module) for module in modules if slot_attributes(module)]

    def install_copies(self, copy: CopyValue) -> None:
        """Set every attribute to its original value, or to a copy of it where the value can change."""
        for owner in self._owners:
            if owner.mutable or owner.may_have_changed():
                copies = {key: copy(owner.original[key], f"{owner.name}.{key}") for key in owner.mutable}
                owner.set_to(owner.original | copies)

    def in_use(self) -> list[dict[str, Any]]:
        """Return the present attributes of each class, and those in the slots of each module."""
        return [owner.read() for owner in self._owners]

    def use(self, attributes: Iterable[dict[str, Any]]) -> None:
        """Set the attributes to what `in_use` has returned."""
        for owner, values in zip(self._owners, attributes, strict=True):
            owner.set_to(values)

    def restore(self) -> None:
        """Restore the original attributes; a call that was interrupted can be repeated."""
        for owner in self._owners:
            if owner.may_have_changed():
                owner.set_to(owner.original)


class _Owner:
    """One class, or one module with slots, whose attributes are read, set and restored.

    Args:
        name: of the class.
        read: returns the present attributes by name.
        write: sets an attribute.
        delete: deletes an attribute.
        values: a view of the present values, by which changes are detected; None where there is no such view.
    """

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
        self.mutable = [
            key
            for key, value in self.original.items()
            if not is_immutable(value) and not hasattr(type(value), "__get__")  # a descriptor is code, not state
        ]
        """names of the attributes that need copies"""
        self._values = values
        self._ids = None if values is None else tuple(map(id, values))

    def may_have_changed(self) -> bool:
        """Return whether an attribute has been set or deleted; True where that is not known."""
        return self._values is None or tuple(map(id, self._values)) != self._ids

    def set_to(self, attributes: dict[str, Any]) -> None:
        """Set these attributes and delete all others."""
        present = self.read()
        for key in present.keys() - attributes.keys():
            self._delete(key)
        for key, value in attributes.items():
            if present.get(key, _MISSING) is not value:
                self._write(key, value)


def _of_class(kind: type) -> _Owner:
    # The methods of `type` itself, since a metaclass may refuse to set attributes.
    write, delete = functools.partial(type.__setattr__, kind), functools.partial(type.__delattr__, kind)
    return _Owner(kind.__qualname__, lambda: _class_attributes(kind), write, delete, vars(kind).values())


def _class_attributes(kind: type) -> dict[str, Any]:
    """Return the attributes that a class itself defines, without those that Python sets."""
    return {
        key: value
        for key, value in vars(kind).items()
        if not (key.startswith("__") and key.endswith("__")) and not key.startswith("_abc_")
    }


def _of_slots(module: object) -> _Owner:
    write, delete = functools.partial(object.__setattr__, module), functools.partial(object.__delattr__, module)
    return _Owner(type(module).__qualname__, lambda: slot_attributes(module), write, delete, None)
