"""Private copies of whatever a user keeps in the attributes of a module or in a batch."""

from __future__ import annotations

import contextlib
import copy
import copyreg
import enum
import functools
import inspect
import numbers
import pathlib
import re
import threading
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lightning_landscape.trainer._compat import is_part_of_a_trainer

_IMMUTABLE: tuple[type, ...] = (
    numbers.Number,
    str,
    bytes,
    type(None),
    type(Ellipsis),
    enum.Enum,
    pathlib.PurePath,
    re.Pattern,
    inspect.Signature,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.ModuleType,
    types.CodeType,
    type,
    range,
    property,
    torch.dtype,
    torch.device,
    torch.Size,
    torch.layout,
    torch.memory_format,
)
# A training step reads no state from objects of these classes, or they cannot be duplicated.
_SHARED: tuple[type, ...] = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Condition,
    threading.Event,
    threading.Semaphore,
    threading.Thread,
    weakref.ReferenceType,
    torch.Stream,
    torch.Event,
    # The source of the data does not belong to the module, and copies of it may not fit into memory.
    Dataset,
    DataLoader,
    Sampler,
)


def is_immutable(value: Any) -> bool:
    """Return whether a value cannot change, so that it needs no copy."""
    kind: Any = type(value)  # mypy does not accept a type as an argument of a cached function
    return _is_immutable(kind)


@functools.lru_cache(maxsize=1024)
def _is_immutable(kind: type[Any]) -> bool:
    return issubclass(kind, _IMMUTABLE)


@functools.lru_cache(maxsize=1024)
def _is_shared(kind: type[Any]) -> bool:
    """Return whether copies refer to the original objects of this class, with all that these contain."""
    return issubclass(kind, _SHARED) or kind.__module__.startswith("torch.distributed") or is_part_of_a_trainer(kind)


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes in the ``__dict__`` and in the slots of an instance, by name.

    `__getattr__` is not called, since a class may answer to every name.
    """
    attributes = slot_attributes(value)
    with contextlib.suppress(AttributeError):  # an instance without a `__dict__`
        attributes |= object.__getattribute__(value, "__dict__")
    return attributes


def slot_attributes(value: Any) -> dict[str, Any]:
    """Return the attributes in the slots of an instance, by name; slots without a value are left out."""
    kind: Any = type(value)
    attributes: dict[str, Any] = {}
    for name in _slots(kind):
        with contextlib.suppress(AttributeError):
            attributes[name] = object.__getattribute__(value, name)
    return attributes


@functools.lru_cache(maxsize=1024)
def _slots(kind: type[Any]) -> list[str]:
    members = [
        (name, member) for base in kind.__mro__ if "__slots__" in vars(base) for name, member in vars(base).items()
    ]
    return [name for name, member in members if isinstance(member, types.MemberDescriptorType)]


def children_of(value: Any) -> Iterable[Any]:
    """Return the items of a container or the attributes of an object; nothing for tensors, arrays and modules."""
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return value
    kind: Any = type(value)
    if _is_immutable(kind) or _is_shared(kind) or issubclass(kind, (Tensor, np.ndarray, torch.nn.Module)):
        return ()
    return attributes_of(value).values()


class Copier:
    """Copies values; an object that several of them refer to is copied once, and the copies share that copy.

    It does more than `copy.deepcopy`: it copies tensors that are part of a graph, and where one object cannot be
    copied, it copies everything else.

    Args:
        keep: objects that are never copied, so that copies refer to the originals.
        substitutes: pairs of an object and another one that copies refer to in its place.
    """

    def __init__(self, keep: Iterable[object] = (), substitutes: Iterable[tuple[object, object]] = ()) -> None:
        pairs = [*((value, value) for value in keep), *substitutes]
        self._keep_alive = [value for value, _ in pairs]  # the memo is keyed by id, which must not be used again
        self._memo: dict[int, Any] = {id(value): substitute for value, substitute in pairs}
        self.uncopied: dict[str, str] = {}
        """the types of the objects that could not be copied, by where they were found: ``"batch[0].handle"``"""

    def memo(self) -> dict[int, Any]:
        """Return a new memo, in the format of `copy.deepcopy`; values that are copied with one memo share objects."""
        return dict(self._memo)

    def copy(self, value: Any, memo: dict[int, Any], where: str) -> Any:  # noqa: C901 - a table of kinds
        """Return a private copy of `value`, or `value` itself where it cannot be copied.

        Args:
            value: any object.
            memo: copies by the ids of their originals; see `memo`.
            where: how to name `value` in `uncopied`.
        """
        kind: Any = type(value)
        made: Any
        if _is_immutable(kind):
            return value
        if id(value) in memo:
            return memo[id(value)]
        if issubclass(kind, Tensor):
            made = self._tensor(value, memo, where)
        elif kind in (list, deque):
            made = memo[id(value)] = [] if kind is list else deque(maxlen=value.maxlen)
            made.extend(self.copy(item, memo, f"{where}[{i}]") for i, item in enumerate(value))
        elif kind in (dict, OrderedDict, defaultdict):
            made = memo[id(value)] = defaultdict(value.default_factory) if kind is defaultdict else kind()
            if value:
                made.update(self._items(value.items(), memo, where))
        elif kind is types.MappingProxyType:
            made = kind(dict(self._items(value.items(), memo, where)))
        elif kind is tuple or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            # The constructor of a named tuple may have been overridden to take other arguments than the items.
            made = tuple.__new__(kind, [self.copy(item, memo, f"{where}[{i}]") for i, item in enumerate(value)])
            if kind is not tuple:
                self._attributes(value, made, memo, where)
        elif issubclass(kind, torch.Generator):
            made = value.clone_state()
        elif issubclass(kind, types.MethodType):
            made = types.MethodType(value.__func__, self.copy(value.__self__, memo, where))
        elif _is_shared(kind):
            made = value
        else:
            made = self._object(value, memo, where)
        memo[id(value)] = made
        return made

    def _items(self, pairs: Iterable[Any], memo: dict[int, Any], where: str) -> Iterable[tuple[Any, Any]]:
        """Return copies of keys and values; a key is copied too, since a tensor may be a key and an attribute."""
        return (
            (
                key if type(key) is str else self.copy(key, memo, f"{where}, a key"),
                self.copy(item, memo, f"{where}[{key!r}]" if is_immutable(key) else f"{where}[{type(key).__name__}]"),
            )
            for key, item in pairs
        )

    def _attributes(self, value: Any, made: Any, memo: dict[int, Any], where: str) -> None:
        """Give `made` copies of the attributes of `value` without calling the `__setattr__` of their class."""
        for key, item in attributes_of(value).items():
            object.__setattr__(made, key, self.copy(item, memo, f"{where}.{key}"))

    def _tensor(self, value: Tensor, memo: dict[int, Any], where: str) -> Any:
        try:
            made = memo[id(value)] = _clone(value)
        except Exception:  # a user's own subclass of Tensor may raise anything
            self.uncopied[where] = type(value).__qualname__
            return value
        kind = type(value)
        # A tensor that wraps other tensors has cloned those, which are in its attributes.
        if value.__dict__ if kind is Tensor else not _wraps(kind):
            self._attributes(value, made, memo, where)
        return made

    def _object(self, value: Any, memo: dict[int, Any], where: str) -> Any:
        """Return a copy as `copy.deepcopy` makes it, except that parts that cannot be copied are shared."""
        kind: Any = type(value)
        if hasattr(kind, "__del__"):  # when the copy is deleted, it may close what the original still uses
            self.uncopied[where] = kind.__qualname__
            return value
        try:
            if hasattr(kind, "__deepcopy__"):
                made = memo[id(value)] = copy.deepcopy(value, memo)
                if kind.__deepcopy__ is np.ndarray.__deepcopy__ and not issubclass(kind, np.memmap):
                    self._attributes(value, made, memo, where)
                return made
            return self._rebuilt(value, memo, where)
        except Exception:  # a user's own methods may raise anything
            self.uncopied[where] = kind.__qualname__
            return value

    def _rebuilt(self, value: Any, memo: dict[int, Any], where: str) -> Any:
        """Return an object made as unpickling would make it, from copies of what pickling would store."""
        kind: Any = type(value)
        reduce: Any = copyreg.dispatch_table.get(kind)
        reduced = value.__reduce_ex__(4) if reduce is None else reduce(value)
        if isinstance(reduced, str):  # the name of a global object, which exists once
            return value
        memo.setdefault(id(memo), []).append(reduced)  # keeps it alive, since the memo is keyed by id
        make, arguments, state, items, pairs, set_state = (*reduced, *[None] * 4)[:6]
        made = memo[id(value)] = make(*[self.copy(argument, memo, where) for argument in arguments])
        if set_state is not None:
            set_state(made, self.copy(state, memo, where))
        elif state is not None and hasattr(kind, "__setstate__"):
            made.__setstate__(self.copy(state, memo, where))
        elif state is not None:
            attributes, slots = state if isinstance(state, tuple) else (state, None)
            if attributes:
                vars(made).update({k: self.copy(v, memo, f"{where}.{k}") for k, v in attributes.items()})
            for key, item in (slots or {}).items():
                object.__setattr__(made, key, self.copy(item, memo, f"{where}.{key}"))
        for i, item in enumerate(items or ()):
            made.append(self.copy(item, memo, f"{where}[{i}]"))
        for key, item in self._items(pairs or (), memo, where):
            made[key] = item
        return made


def _clone(value: Tensor) -> Tensor:
    kind: Any = type(value)
    # A tensor that is no leaf (a pruned weight, a hidden state) is cloned within its graph.
    if kind is Tensor:
        return value.detach().clone().requires_grad_(value.requires_grad) if value.is_leaf else value.clone()
    if torch.nn.parameter.is_lazy(value):
        return copy.deepcopy(value)
    # What a subclass overrides may return another class, have side effects, or need attributes that are copied later.
    base = kind if _wraps(kind) else Tensor
    with contextlib.nullcontext() if _wraps(kind) else torch._C.DisableTorchFunctionSubclass():
        clone = base.clone(base.detach(value) if value.is_leaf else value)
        if kind is torch.nn.Parameter:
            return torch.nn.Parameter(clone, requires_grad=value.requires_grad)
        clone = clone if type(clone) is kind else clone.as_subclass(kind)
        return base.requires_grad_(clone, value.requires_grad) if value.is_leaf else clone


def _wraps(kind: type[Any]) -> bool:
    """Return whether tensors of this class contain other tensors, which their own `clone` copies too."""
    return kind.__torch_dispatch__ is not Tensor.__torch_dispatch__
