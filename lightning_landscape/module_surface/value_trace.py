"""Record which operations of an evaluation give values that are not finite, and where these values come from.

A value of -inf is often meant, as in the mask of an attention layer, and the softmax after it removes it. So what
counts is not the first value that is not finite, but where such values in the loss come from: `ValueTrace.origin`
follows them from the loss back through the operations, to one that makes them of finite inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from lightning_landscape.module_surface.call_sites import NOWHERE, CallSite, call_site, operation_name

ELEMENTWISE = frozenset({
    *("log", "log2", "log10", "log1p", "logit", "xlogy", "sqrt", "rsqrt", "pow", "div", "reciprocal", "exp", "expm1"),
    *("exp2", "acos", "asin", "atanh", "acosh", "erfinv", "mul", "add", "sub", "square", "sinh", "cosh", "float_power"),
    *("lgamma", "digamma", "tan", "remainder", "fmod"),
})
"""operations whose result at one place depends on the inputs at this place only"""
SQUASHING = ("softmax", "sigmoid")
_REARRANGING = frozenset({
    *("gather", "index", "index_select", "select", "slice", "view", "unsafe_view", "squeeze", "unsqueeze", "clone"),
    *("transpose", "permute", "expand", "t", "to_copy", "alias", "take_along_dim", "masked_select", "reshape_alias"),
})
"""nodes that only choose or rearrange values"""
_IN_PLACE = frozenset({"__setitem__", "__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__", "__ipow__"})
_OVERWRITES = frozenset({"__setitem__", "copy_", "fill_", "zero_", "normal_", "uniform_", "set_", "empty_"})
"""operations in place whose result does not depend on what the tensor has contained"""


@dataclass
class Call:
    """One operation that gave a value that is not finite, or a tensor with such values that no operation has made."""

    operation: str
    """name of the operation, or of the entry of the batch; empty for any other tensor"""
    kind: str = "operation"
    """"operation", "batch" for an entry of the batch, or "unknown" for any other tensor"""
    number: int = -1
    """position among all operations that gave such values; -1 for a tensor"""
    site: CallSite = NOWHERE
    outputs: list[Tensor] = field(default_factory=list)
    """the outputs that are not finite; they are kept, so that no other tensor gets their storage"""
    sources: list[Call] = field(default_factory=list)
    """what made its inputs that are not finite"""
    masks: bool = False
    """whether its values that are not finite are those of a mask: written in the code or taken from there, no NaN"""
    written: bool = False
    """whether the code has passed a number that is not finite"""
    inputs: tuple[float, ...] = ()
    largest: float = 0.0
    entries: int | None = None
    after: str = ""

    @property
    def is_origin(self) -> bool:
        """Whether it makes such values of inputs that are finite, or NaN of a mask; True for a tensor without mask."""
        return not self.masks and all(source.masks for source in self.sources)


class ValueTrace(TorchFunctionMode):
    """Record the calls of torch's functions inside this context.

    Args:
        names: the names of the submodules, by their ids.
        entries: the tensors of the batch, by their names.
    """

    def __init__(self, names: Mapping[int, str], entries: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._names = names
        self._entries = {_address(tensor): name for name, tensor in entries.items()}
        self._latest: dict[int, Call] = {}
        """the last call that has written values that are not finite to a storage, by the storage's address"""
        self._count = 0
        self.sites: dict[Any, CallSite] = {}
        """where each node of the graph was made"""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call the function, and record where its values that are not finite come from."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        changed = _changed(name, args, kwargs)
        data = list(tensors_in((args, kwargs)))
        if name in _OVERWRITES or "out" in kwargs:
            data = [tensor for tensor in data if all(tensor is not other for other in changed)]
        # After a function that changes its inputs they cannot be read any more.
        bad = [tensor for tensor in data if not is_finite(tensor)] if changed else None
        arguments = [_copied(value, changed) for value in args] if changed and _takes_places(name) else args
        result = func(*args, **kwargs)
        outputs = [*tensors_in(result), *changed]
        site = call_site(self._names) if any(output.grad_fn is not None for output in outputs) else None
        if site is not None:
            self._note_nodes(outputs, site)
        failed = [output for output in outputs if not is_finite(output)]
        if failed and not name.startswith(("empty", "new_empty")):
            bad = [tensor for tensor in data if not is_finite(tensor)] if bad is None else bad
            call = Call(operation_name(name), number=self._count, site=site or call_site(self._names))
            self._count += 1
            call.outputs = [output.detach() for output in failed]
            call.sources = [self._source(tensor) for tensor in bad]
            call.written = not bad and not all(map(math.isfinite, _floats_in((args, kwargs))))
            inherited = bool(bad) and all(source.masks for source in call.sources)
            call.masks = (call.written or inherited) and not any(map(has_nan, failed))
            if call.is_origin:
                _describe(call, arguments[::-1] if name.startswith("__r") else arguments, data)
            for output in failed:
                self._latest[_address(output)] = call
        return result

    def origin(self, loss: Tensor) -> Call | None:
        """Return the operation or the entry of the batch from which the values in the loss that are not finite come.

        Of several, an entry of the batch comes first, then the earliest operation. None where there is none: the loss
        may come from a tensor that is neither in the batch nor made by a recorded operation.
        """
        pending, reached = [call for call in [self._latest.get(_address(loss))] if call is not None], set[int]()
        calls: list[Call] = []
        while pending:
            call = pending.pop()
            if id(call) not in reached:
                reached.add(id(call))
                calls.append(call)
                pending += call.sources
        # The statistics of BatchNorm are among the inputs that are not finite after a divergence, but are not used.
        known = [call for call in calls if call.kind != "unknown"]
        origins = [call for call in known if call.is_origin] or [call for call in known if not call.sources]
        return min(origins, key=lambda call: call.number, default=None)

    def _source(self, tensor: Tensor) -> Call:
        """Return what made this tensor, in which not all values are finite."""
        address = _address(tensor)
        if address not in self._latest:
            entry = self._entries.get(address)
            found = Call("", "unknown", masks=not has_nan(tensor)) if entry is None else Call(entry, "batch")
            found.outputs = [tensor.detach()]
            self._latest[address] = found
        return self._latest[address]

    def _note_nodes(self, outputs: Iterable[Tensor], site: CallSite) -> None:
        """Enter the nodes of the graph that the present call has made."""
        pending = [output.grad_fn for output in outputs]
        while pending:
            node = pending.pop()
            if node is not None and node not in self.sites:
                self.sites[node] = site
                pending += [following for following, _ in node.next_functions]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))


@torch.no_grad()
def is_finite(tensor: Tensor) -> bool:
    """Return whether all values are finite; True where that cannot be told, as for the layers of `torch.vmap`."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    try:
        return bool(tensor.detach().isfinite().all())
    except (RuntimeError, NotImplementedError, TypeError):  # a type without `isfinite`, of which nothing is concluded
        return True


@torch.no_grad()
def has_nan(tensor: Tensor) -> bool:
    """Return whether any value is NaN."""
    return bool(tensor.detach().isnan().any())


def largest_of(tensors: Iterable[Tensor]) -> float:
    """Return the largest absolute value of all finite numbers in these tensors; 0 where there is none."""
    largest = 0.0
    for tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            largest = max(largest, float(tensor.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()))
    return largest


def values_at_failure(inputs: Sequence[Any], output: Tensor) -> tuple[float, ...]:
    """Return the inputs, tensors or numbers, at the first place where the output is not finite.

    Empty where an input has another shape than the output and cannot be expanded to it, or where one is not finite.
    """
    place = int((~output.detach().isfinite()).reshape(-1).nonzero()[0])
    values = []
    for value in inputs:
        if isinstance(value, Tensor) and not value.is_complex():
            try:
                values.append(float(value.detach().expand(output.shape).reshape(-1)[place]))
            except RuntimeError:
                return ()
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            values.append(float(value))
    return tuple(values) if all(map(math.isfinite, values)) else ()


def squashing_before(tensors: Iterable[Tensor]) -> str:
    """Return "softmax" or "sigmoid" if one of these tensors consists of outcomes of it; empty otherwise."""
    for tensor in tensors:
        node: Any = tensor.grad_fn
        while node is not None:
            name = operation_name(node.name())
            if name in SQUASHING:
                return name
            node = node.next_functions[0][0] if name in _REARRANGING and node.next_functions else None
    return ""


def _describe(call: Call, arguments: Sequence[Any], data: Sequence[Tensor]) -> None:
    """Enter what the operation was given."""
    if call.operation in ELEMENTWISE:
        call.inputs = values_at_failure(arguments, call.outputs[0])
    call.largest, call.entries = largest_of(data), max((tensor.numel() for tensor in data), default=None)
    call.after = squashing_before(data)


def _takes_places(name: str) -> bool:
    return operation_name(name) in ELEMENTWISE


def _copied(value: Any, changed: Sequence[Tensor]) -> Any:
    """Return a copy of a tensor that is about to be changed, and any other value itself."""
    return value.detach().clone() if any(value is tensor for tensor in changed) else value


def _changed(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return the tensors that the function changes in place."""
    if "out" in kwargs:
        return list(tensors_in(kwargs["out"]))
    in_place = name in _IN_PLACE or (name.endswith("_") and not name.endswith("__"))
    return [args[0]] if in_place and args and isinstance(args[0], Tensor) else []


def _floats_in(value: Any) -> Iterator[float]:
    """Yield the floats in nested tuples, lists and dictionaries."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _floats_in(item)
    elif isinstance(value, dict):
        yield from _floats_in(list(value.values()))


def _address(tensor: Tensor) -> int:
    """Return an address that all views of a tensor share."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # a tensor without storage of its own, such as a sparse one
        return id(tensor)
