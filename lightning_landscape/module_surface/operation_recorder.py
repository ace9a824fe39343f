"""`OperationRecorder`: records the calls of torch's functions while the training step is evaluated."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from lightning_landscape.module_surface.entries import children
from lightning_landscape.module_surface.loss_inputs import are_probabilities, class_sums, zero_logits
from lightning_landscape.module_surface.token_masks import TokenMasks
from lightning_landscape.trace import (
    DIFFERENCES,
    EXPORTS,
    MAX_SAMPLED,
    NAMED_COMPARISONS,
    Argument,
    Operation,
    Value,
)

_PROPERTIES = frozenset({"data", "T", "mT", "H", "mH", "real", "imag", "grad"})
"""properties of a tensor that return a tensor"""
_PLAIN = (bool, int, float, str, type(None), torch.dtype)
_MAX_DEPTH = 4
"""how deep lists and dicts in arguments are searched for tensors"""


class OperationRecorder(TorchFunctionMode):
    """Records each call of a function of torch, with the values that it took and returned.

    No tensor is kept: the values of tensors that are still alive are found through weak references.

    Args:
        parameters: the parameters of the module by name.
        modules: its submodules by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], modules: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.values: list[Value] = []
        self.operations: list[Operation] = []
        self.unseen: dict[str, None] = {}
        """what could not be recorded, in words, in order"""
        self._parameters = {id(parameter): name for name, parameter in parameters.items()}
        self._names = {id(module): name for name, module in modules.items()}
        self._stack: list[str] = [""]
        self._thread = threading.get_ident()
        self._known: Any = WeakTensorKeyDictionary()  # its methods have no annotations
        self._token_masks = TokenMasks()
        self._exports: list[tuple[object, int, str]] = []
        """what operations returned as Python or NumPy numbers, the values that these were read from, and how"""

    def begin(self, batch: Any) -> None:
        """Forget what was recorded, and begin with this batch."""
        self.values, self.operations, self.unseen, self._exports = [], [], {}, []
        self._known, self._token_masks = WeakTensorKeyDictionary(), TokenMasks()
        for name, tensor in _named_tensors(batch, "batch"):
            self._known[tensor] = self._add(tensor, "entry", name)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function and record the call."""
        kwargs = kwargs or {}
        name = _name_of(func)
        if name is None or threading.get_ident() != self._thread:
            return func(*args, **kwargs)
        grad_enabled = torch.is_grad_enabled()
        given: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        arguments = [
            Argument(slot, self.index_of(tensor)) for slot, value in given for tensor in _tensors(value, _MAX_DEPTH)
        ]
        sample = self._target_sample(name, args, kwargs)
        result = func(*args, **kwargs)
        written = [args[0]] if args and name in ("setitem", "requires_grad_", "data_") else []
        made = [*_tensors(result, _MAX_DEPTH), *(tensor for tensor in written if isinstance(tensor, Tensor))]
        if not made and name not in EXPORTS:
            return result
        if not made:
            self._exports += [(result, argument.value, name) for argument in arguments[:1]]
        results = tuple(dict.fromkeys(self._made(tensor) for tensor in made))
        plain: dict[int | str, object] = {
            slot: value for slot, value in given if isinstance(value, (*_PLAIN, tuple, slice))
        }
        plain = {slot: value for slot, value in plain.items() if not list(_tensors(value, _MAX_DEPTH))}
        if made and not arguments:
            for index, how in (export for _, value in given for export in self._exported(value)):
                arguments.append(Argument("exported", index))
                plain["exported"] = how
        zero, sums = zero_logits(name, args, kwargs), class_sums(name, args, kwargs)
        commonest = self._token_masks.commonest(name, args, kwargs)
        taken, about = tuple(arguments), (sample, zero, sums, are_probabilities(name, args, kwargs), commonest)
        self.operations.append(Operation(name, self._stack[-1], taken, results, grad_enabled, plain, *about))
        return result

    def index_of(self, tensor: Tensor) -> int:
        """Return the index of the tensor's present value, which is a new one if the tensor was not seen before."""
        index = self._known.get(tensor)
        if index is not None:
            known = self.values[index]
            # A function that is not recorded, such as a custom autograd function, may return a tensor that was made
            # inside of it without a gradient.
            if known.requires_grad or not tensor.requires_grad:
                return int(index)
        index = self._known[tensor] = self._add(tensor, *self._source_of(tensor))
        return int(index)

    def _source_of(self, tensor: Tensor) -> tuple[str, str]:
        if name := self._parameters.get(id(tensor)):
            return "parameter", name
        if tensor.grad_fn is not None:
            if not is_custom(tensor.grad_fn):  # those are found in the graph of the loss
                self.unseen.setdefault(f"the operation `{function_of(tensor.grad_fn)}`{in_module(self._stack[-1])}")
            return "unseen", ""
        return ("leaf" if tensor.requires_grad else "constant"), ""

    def made_in_step(self, tensor: Tensor) -> bool:
        """Return whether a recorded operation made the tensor, or the batch contains it."""
        index = self._known.get(tensor)
        return index is not None and self.values[index].source in ("operation", "entry")

    def _made(self, tensor: Tensor) -> int:
        if id(tensor) in self._parameters:
            return self.index_of(tensor)  # an operation that returns its argument, such as `requires_grad_`
        index = self._known[tensor] = self._add(tensor, "operation")
        return index

    def _add(self, tensor: Tensor, source: str, name: str = "") -> int:
        self.values.append(Value(tuple(tensor.shape), tensor.dtype, tensor.requires_grad, source, name))
        return len(self.values) - 1

    def _exported(self, value: Any) -> list[tuple[int, str]]:
        """Return the values from which the numbers in `value`, of which a tensor is made, were read, and how."""
        if isinstance(value, (int, bool, str, type(None), torch.dtype, torch.device)):
            return []
        numbers = {item for item in (value if isinstance(value, (list, tuple)) else [value]) if type(item) is float}
        return [
            (index, how)
            for exported, index, how in self._exports
            if exported is value or (type(exported) is float and exported != 0 and exported in numbers)
        ]

    @staticmethod
    def _target_sample(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
        """Return values of the one argument of a comparison that requires no gradient, if it is evenly spaced."""
        if name not in (*NAMED_COMPARISONS, *DIFFERENCES):
            return None
        compared = [*args[:2], *(kwargs[key] for key in ("input", "target", "other") if key in kwargs)]
        fixed = [value for value in compared if isinstance(value, Tensor) and not value.requires_grad]
        if len(compared) != 2 or len(fixed) != 1 or not all(isinstance(value, Tensor) for value in compared):
            return None
        (target,) = fixed
        if target.layout is not torch.strided or target.is_complex() or target.numel() < 2:
            return None
        values = target.detach().reshape(-1)
        return values[:: max(1, -(-len(values) // MAX_SAMPLED))].cpu().double()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record in this context, in which calls of modules are noticed as well.

        A hook for all modules would do the same, but torch warns of it where a module is compiled. mypy takes the
        assignment to a method for a mistake, hence ``type: ignore``.
        """
        call, enter, leave = nn.Module.__call__, self._enter, self._leave

        def noticed(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            enter(module)
            try:
                return call(module, *args, **kwargs)
            finally:
                leave()

        try:
            try:
                nn.Module.__call__ = noticed  # type: ignore[method-assign]
                with self:
                    yield
            finally:
                nn.Module.__call__ = call  # type: ignore[method-assign]
        finally:  # again, in case Ctrl-C has come just before the first assignment
            nn.Module.__call__ = call  # type: ignore[method-assign]

    def _enter(self, module: nn.Module) -> None:
        if threading.get_ident() != self._thread:
            return
        name = self._names.get(id(module), self._stack[-1])
        self._stack.append(name)
        if isinstance(module, torch.jit.ScriptModule):
            self.unseen.setdefault(f"the TorchScript module {as_attribute(name)}")

    def _leave(self) -> None:
        if threading.get_ident() == self._thread and len(self._stack) > 1:
            self._stack.pop()


def _name_of(func: Any) -> str | None:
    """Return the name of a function without underscores at both ends; None for one that returns no values."""
    name = str(getattr(func, "__name__", ""))
    if name in ("__get__", "__set__"):
        attribute = str(getattr(getattr(func, "__self__", None), "__name__", ""))
        if name == "__get__":
            return attribute if attribute in _PROPERTIES else None
        return f"{attribute}_" if attribute in ("data", "requires_grad") else None
    name = name.partition(".")[0]  # an overload such as "relu.default"
    return name[2:-2] if name.startswith("__") and name.endswith("__") else name.lstrip("_")


def _tensors(value: Any, depth: int) -> Iterator[Tensor]:
    """Iterate over the tensors in a value, also in lists and dicts.

    Yields:
        each tensor
    """
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item, depth - 1)
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item, depth - 1)


def _named_tensors(batch: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Iterate over the tensors of a batch and their names.

    Yields:
        name, such as ``batch[1]`` or ``batch['label']``, and tensor
    """
    if isinstance(batch, Tensor):
        yield name, batch
    for key, item in children(batch).items():
        yield from _named_tensors(item, f"{name}[{key!r}]")


def function_of(node: Any) -> str:
    """Return the name of the function to which a node of the graph belongs: "Round" for a ``RoundBackward0``."""
    return str(node.name()).rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")


def is_custom(node: Any) -> bool:
    """Return whether a node of the graph belongs to a custom autograd function."""
    return isinstance(node, BackwardCFunction)


def in_module(name: str) -> str:
    """Return " in self.net" for a submodule; nothing for the training step itself."""
    return f" in {as_attribute(name)}" if name else ""


def as_attribute(name: str) -> str:
    """Return a submodule's qualified name as Python code, such as "self.net.layers[0]".

    >>> as_attribute("net.layers.0")
    'self.net.layers[0]'
    """
    return "self" + "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in name.split(".") if part)
