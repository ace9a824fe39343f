"""Private copies of whatever a stranger keeps in the attributes of a module or in a batch."""

from __future__ import annotations

import copy
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
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

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
    torch.dtype,
    torch.device,
    torch.Size,
    torch.layout,
    torch.memory_format,
)
# Without state of their own that a training step could read back, or impossible to own twice.
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
    # What a data set draws from is not the module's; copies of it could be larger than the memory.
    Dataset,
    DataLoader,
    Sampler,
)


def is_immutable(value: Any) -> bool:
    """Whether a value may be shared, since nothing about it can change."""
    kind: Any = type(value)
    return _is_immutable(kind)


@functools.lru_cache(maxsize=1024)
def _is_immutable(kind: Any) -> bool:
    return issubclass(kind, _IMMUTABLE)


class Copier:
    """Copies values so that what is shared among the originals is shared among the copies.

    Args:
        keep: objects that stand for themselves wherever they are met
        substitutes: pairs (object, what stands for it in the copies)
    """

    def __init__(self, keep: Iterable[object] = (), substitutes: Iterable[tuple[object, object]] = ()) -> None:
        pairs = [*((value, value) for value in keep), *substitutes]
        self._alive = [value for value, _ in pairs]  # the memo is keyed by id
        self._memo: dict[int, Any] = {id(value): stand_in for value, stand_in in pairs}
        self.uncopied: dict[str, str] = {}
        """where an object was met that cannot be copied: its type"""

    def memo(self) -> dict[int, Any]:
        """What one round of copies begins with, in the format of `copy.deepcopy`."""
        return dict(self._memo)

    def copy(self, value: Any, memo: dict[int, Any], where: str) -> Any:  # noqa: C901 - a table of kinds
        """A private copy of `value`; what cannot be copied is returned itself and named in `uncopied`."""
        kind: Any = type(value)
        made: Any
        if _is_immutable(kind):
            return value
        if id(value) in memo:
            return memo[id(value)]
        if issubclass(kind, Tensor):
            made = _clone(value)
        elif kind is list:
            made = memo[id(value)] = []
            made.extend(self.copy(item, memo, f"{where}[{i}]") for i, item in enumerate(value))
        elif kind in (dict, OrderedDict, defaultdict):
            made = memo[id(value)] = defaultdict(value.default_factory) if kind is defaultdict else kind()
            made.update((key, self.copy(item, memo, f"{where}[{key!r}]")) for key, item in value.items())
        elif kind is deque:
            made = memo[id(value)] = deque(maxlen=value.maxlen)
            made.extend(self.copy(item, memo, f"{where}[{i}]") for i, item in enumerate(value))
        elif kind is tuple or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
            items = [self.copy(item, memo, f"{where}[{i}]") for i, item in enumerate(value)]
            made = tuple(items) if kind is tuple else kind(*items)
        elif issubclass(kind, torch.Generator):
            made = value.clone_state()
        elif issubclass(kind, types.MethodType):
            made = types.MethodType(value.__func__, self.copy(value.__self__, memo, where))
        elif issubclass(kind, _SHARED) or kind.__module__.startswith("torch.distributed"):
            made = value
        elif _is_plain(kind):
            made = memo[id(value)] = kind.__new__(kind)
            vars(made).update((key, self.copy(item, memo, f"{where}.{key}")) for key, item in vars(value).items())
        else:
            made = self._deepcopy(value, memo, where)
        memo[id(value)] = made
        return made

    def _deepcopy(self, value: Any, memo: dict[int, Any], where: str) -> Any:
        try:
            if hasattr(value, "__del__"):  # the copy would close in the end what the original still needs
                raise TypeError
            return copy.deepcopy(value, memo)
        except Exception:  # a stranger's __deepcopy__ may raise anything
            self.uncopied[where] = type(value).__qualname__
            return value


def _clone(value: Tensor) -> Tensor:
    if not value.is_leaf:  # part of a graph (a pruned weight, old weight_norm, a hidden state), and so is its copy
        return value.clone()
    clone = value.detach().clone()
    if isinstance(value, torch.nn.Parameter):
        return torch.nn.Parameter(clone, requires_grad=value.requires_grad)
    return clone.requires_grad_(value.requires_grad)


_COPIES_ITSELF = ("__deepcopy__", "__getnewargs__", "__getnewargs_ex__", "__setstate__", "__del__")


@functools.lru_cache(maxsize=1024)
def _is_plain(kind: Any) -> bool:
    """Whether an instance is nothing but its ``__dict__``: what inside it cannot be copied then spoils only itself."""
    return (
        hasattr(kind, "__dict__")
        and "__dict__" in dir(kind)
        and kind.__new__ is object.__new__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and getattr(kind, "__getstate__", None) is getattr(object, "__getstate__", None)  # since Python 3.11
        and not any(hasattr(kind, name) for name in _COPIES_ITSELF)
        and not any("__slots__" in vars(base) for base in kind.__mro__)
    )
