"""Predictions and targets that do not fit together: in their shapes, or in the values that they can take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from lightning_landscape.evidence.wiring import Broadcast, OutputRange
from lightning_landscape.probes.data_flow import VALUE_PRESERVING, behind_layers, from_batch, kind, origin
from lightning_landscape.trace import DIFFERENCES, NAMED_COMPARISONS, Operation, Trace, Value

_EXPLICIT = frozenset({"unsqueeze", "unsqueeze_", "view", "view_as", "reshape", "permute", "transpose", "T", "mT", "t"})
"""operations with which people write pairwise differences on purpose"""
_ALONG_THE_WAY = frozenset({"pow", "square", "abs", "mean", "sum", "nanmean", "sqrt", "norm", "vector_norm", "stack"})
"""operations that lead from a difference to a loss that is smallest where the difference is zero"""
_SCALINGS = frozenset({"add", "radd", "mul", "rmul", "div", "truediv"})
"""operations that do so where they combine losses, or multiply with a single number"""
_TOLERANCE = 0.01
"""distance from a bound, in standard deviations of the target, below which a value counts as within the bounds"""

_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "sigmoid": (0.0, 1.0),
    "hardsigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
    "sin": (-1.0, 1.0),
    "cos": (-1.0, 1.0),
    "softmax": (0.0, 1.0),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "softplus": (0.0, None),
    "exp": (0.0, None),
    "log_softmax": (None, 0.0),
    "logsigmoid": (None, 0.0),
}
"""functions with bounds, and their lowest and highest result"""


@dataclass(frozen=True)
class _Comparison:
    """An operation that compares a prediction, which requires a gradient, with a target, which requires none."""

    operation: Operation
    prediction: int
    target: int

    def values(self, trace: Trace) -> tuple[Value, Value]:
        return trace.values[self.prediction], trace.values[self.target]


def broadcasts(trace: Trace) -> tuple[Broadcast, ...]:
    """Return the comparisons of equally many values in other shapes, which broadcasting enlarges to all pairs.

    A difference counts only if it leads to the loss without further layers, and if the target comes from the batch.
    Where an operation such as ``unsqueeze`` has given one side its shape, all pairs are meant.
    """
    found = []
    of_batch = from_batch(trace)
    for comparison in _comparisons(trace):
        prediction, target = comparison.values(trace)
        operation = comparison.operation
        if math.prod(prediction.shape) != math.prod(target.shape) or prediction.shape == target.shape:
            continue
        result = _broadcast(prediction.shape, target.shape)
        meant = operation.name in DIFFERENCES or operation.setting(4, "reduction") == "none"
        if meant and (comparison.target not in of_batch or _explicit(trace, comparison)):
            continue
        if math.prod(result) > math.prod(prediction.shape):
            found.append(Broadcast(_named(operation), operation.module, prediction.shape, target.shape, result))
    return tuple(found)


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape to which two shapes are broadcast.

    >>> _broadcast((8, 1), (8,))
    (8, 8)
    """
    pairs = itertools.zip_longest(reversed(one), reversed(other), fillvalue=1)
    return tuple(max(pair) for pair in pairs)[::-1]


def _explicit(trace: Trace, comparison: _Comparison) -> bool:
    """Return whether the step itself has given one side a dimension of size 1."""
    for value in (comparison.prediction, comparison.target):
        producer = trace.producers.get(value)
        if producer is None:
            continue
        key = producer.setting(1, "index") if producer.name == "getitem" else None
        indexed = key is None if producer.name == "getitem" and 1 in producer.plain else False
        if producer.name in _EXPLICIT or indexed or (isinstance(key, tuple) and None in key):
            return True
        if producer.setting(2, "keepdim") is True:
            return True
    return False


def output_ranges(trace: Trace) -> tuple[OutputRange, ...]:
    """Return the comparisons of a prediction that has bounds with a target of which a part lies outside of them."""
    found = []
    errors = _errors(trace, behind_layers(trace))
    for comparison in _comparisons(trace):
        # What a mask multiplies with 0 is no target, and a marker such as -1 in its place need not be in reach.
        if comparison.operation.setting(4, "reduction") == "none" and id(comparison.operation) not in errors:
            continue
        function = origin(trace, comparison.prediction)
        targets = comparison.operation.target_values
        if function is None or targets is None or trace.values[comparison.target].source in ("constant", "leaf"):
            continue
        low, high = _bounds(function)
        if (low is None and high is None) or len(targets) < 2 or not bool(targets.isfinite().all()):
            continue
        excess, outside = _excess(targets, low, high)
        variance = float(targets.var(correction=0))
        if outside == 0 or variance == 0:
            continue
        found.append(
            OutputRange(
                function=kind(function),
                module=function.module,
                loss=_named(comparison.operation),
                low=low,
                high=high,
                lowest_target=float(targets.min()),
                highest_target=float(targets.max()),
                outside=outside,
                unreachable=float(excess.square().mean()) / variance,
                best_loss=_best_loss(comparison.operation, excess),
            )
        )
    return tuple(found)


def _excess(targets: Tensor, low: float | None, high: float | None) -> tuple[Tensor, float]:
    """Return how far each value lies outside of the bounds, and the share of values that clearly do."""
    excess = (targets - targets.clamp(low, high)).abs()
    tolerance = _TOLERANCE * float(targets.std(correction=0))
    return excess, float((excess > tolerance).double().mean())


def _best_loss(operation: Operation, excess: Tensor) -> float | None:
    if operation.setting(4, "reduction") not in (None, "mean"):
        return None
    if operation.name == "mse_loss":
        return float(excess.square().mean())
    return float(excess.mean()) if operation.name == "l1_loss" else None


def _bounds(function: Operation) -> tuple[float | None, float | None]:
    """Return the lowest and the highest value that the function can return; None where there is no bound."""
    name = kind(function)
    if name in ("clamp", "clip", "hardtanh"):
        default = (-1.0, 1.0) if name == "hardtanh" else (None, None)
        low, high = (
            function.setting(position, keyword)
            for position, keyword in (
                (1, "min_val" if name == "hardtanh" else "min"),
                (2, "max_val" if name == "hardtanh" else "max"),
            )
        )
        return _number(low, default[0]), _number(high, default[1])
    if name == "clamp_min":
        return _number(function.setting(1, "min"), None), None
    if name == "clamp_max":
        return None, _number(function.setting(1, "max"), None)
    if name == "elu":
        alpha = _number(function.setting(1, "alpha"), 1.0)
        return (None if alpha is None else -alpha), None
    return _BOUNDS.get(name, (None, None))


def _number(value: object, default: float | None) -> float | None:
    return float(value) if isinstance(value, (int, float)) else default


def _comparisons(trace: Trace) -> Iterator[_Comparison]:
    """Iterate over the comparisons through which the gradient of the loss flows.

    Yields:
        named loss functions, and differences that lead to the loss as an error does
    """
    last = behind_layers(trace)
    errors = _errors(trace, last)
    for operation in trace.operations:
        named = operation.name in NAMED_COMPARISONS
        if not named and (operation.name not in DIFFERENCES or id(operation) not in errors):
            continue
        if not trace.with_gradient(operation):
            continue
        first = operation.argument(0, "input")
        second = operation.argument(1, "target" if named else "other")
        if first is None or second is None:
            continue
        if trace.values[first].requires_grad == trace.values[second].requires_grad:
            continue
        prediction, target = (first, second) if trace.values[first].requires_grad else (second, first)
        if trace.values[prediction].source == "operation":
            yield _Comparison(operation, prediction, target)


def _errors(trace: Trace, last: list[Operation]) -> set[int]:
    """Return the ids of the operations whose results become the loss by squares, absolute values, means and sums only.

    Args:
        trace: the trace.
        last: the operations between the last layers and the loss.
    """
    becomes_loss = set() if trace.loss is None else {trace.loss}
    found = set()
    for operation in reversed(last):
        if any(result in becomes_loss for result in operation.results):
            found.add(id(operation))
            if _keeps_minimum(trace, operation):
                becomes_loss |= {argument.value for argument in operation.arguments}
    return found


def _keeps_minimum(trace: Trace, operation: Operation) -> bool:
    if operation.name in _ALONG_THE_WAY or operation.name in VALUE_PRESERVING:
        return True
    values = {argument.value for argument in operation.arguments}
    sizes = [math.prod(trace.values[value].shape) for value in values]
    return operation.name in _SCALINGS and (len(values) == 1 or all(size == 1 for size in sizes))


def _named(operation: Operation) -> str:
    return operation.name if operation.name in NAMED_COMPARISONS else "sub"
