"""Whether the step makes the predictions worse: its whole loss is a loss function of torch times a negative number."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from lightning_landscape.evidence.wiring import DISTANCE, WrongSign
from lightning_landscape.probes.data_flow import (
    LOSSES,
    VALUE_PRESERVING,
    first_argument,
    from_batch,
    from_parameters,
    kind,
    origin,
)
from lightning_landscape.trace import DIFFERENCES, Operation, Trace

_MINIMISED = LOSSES - {
    *("cosine_embedding_loss", "margin_ranking_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"),
}
"""loss functions that compare a prediction, their first argument, with a target, their second"""
_DISTANCES = ("square", "pow", "abs", "absolute")
"""operations that make a distance of a difference"""
_AVERAGES = ("mean", "nanmean")
_SUMS = ("sum", "nansum")
_NEGATIONS = ("neg", "negative")
_PRODUCTS = ("mul", "rmul", "imul", "multiply")
_QUOTIENTS = ("div", "truediv", "itruediv", "divide", "true_divide")
_ADDITIONS = ("add", "radd", "iadd")
_JOINS = ("stack", "cat", "concat", "hstack")
_NUMBERS = ("item", "tolist", "numpy", "float", "array")
"""operations that return Python or NumPy numbers, of which the step may have computed a factor, such as a reward"""
_OF_CHANCE = 0.5
"""share of the cross-entropy of a uniform prediction below which a model was trained before; such a model may be meant
to forget"""


@dataclass(frozen=True)
class _Term:
    """A value that is a term of the loss."""

    value: int
    factor: float = 1.0
    """by which the loss multiplies it"""
    averaged: bool = True
    """whether the loss is `factor` times its mean: no sum over samples, no mask, no other term"""

    def times(self, factor: float) -> _Term:
        return replace(self, factor=self.factor * factor)


def wrong_sign(trace: Trace) -> tuple[WrongSign, ...]:
    """Return the loss functions that the step maximises, if its loss consists of nothing else.

    A negative factor may be right where it is not the same in each step, such as an advantage, where other terms of the
    loss work against it, where the target comes from the model or from the step itself, as for a generator, and where
    the step optimizes manually. None of these is returned.
    """
    maximize, terms = trace.maximize, None if trace.manual else _terms(trace)
    if not terms or maximize is None or any((term.factor < 0) == maximize for term in terms):
        return ()
    operations = [trace.producers[term.value] for term in terms]
    if not all(_has_fixed_target(trace, operation) for operation in operations):
        return ()
    meant = not all(_is_trained(trace, operation) for operation in operations)
    meant = meant or (len(terms) == 1 and _beats_chance(trace, operations[0], terms[0]))
    return tuple(WrongSign(_named(operation), operation.module, maximize, meant) for operation in operations)


def _terms(trace: Trace) -> list[_Term] | None:
    """Return the results of loss functions whose weighted sum is the loss; None if it is anything else.

    Terms that do not depend on the batch, such as a penalty on the weights, are left out.
    """
    if trace.loss is None:
        return None
    of_batch = from_batch(trace)
    found: list[_Term] = []
    pending = [_Term(trace.loss)]
    while pending:
        term = pending.pop()
        if not trace.values[term.value].requires_grad or term.value not in of_batch:
            continue
        operation = trace.producers.get(term.value)
        if operation is None or not math.isfinite(term.factor) or term.factor == 0:
            return None
        if kind(operation) in _MINIMISED or _is_distance(trace, operation):
            found.append(term)
            continue
        parts = _parts(trace, operation, term)
        if parts is None:
            return None
        pending += parts
    return found


def _parts(trace: Trace, operation: Operation, term: _Term) -> list[_Term] | None:
    """Return the terms of which an operation computed this one with fixed factors; None if it did not."""
    name = kind(operation)
    parts = [replace(term, value=argument.value) for argument in operation.arguments]
    if name in _JOINS:
        return parts
    if name in VALUE_PRESERVING or name in _AVERAGES:
        return parts[:1]
    if name in _SUMS:
        return [replace(part, averaged=False) for part in parts[:1]]
    if name in _NEGATIONS:
        return [part.times(-1.0) for part in parts]
    if name in _PRODUCTS or name in _QUOTIENTS:
        return _scaled(trace, operation, parts)
    if operation.setting(2, "alpha") is not None:
        return None
    parts = [replace(part, averaged=False) for part in parts]  # a constant may be the other term
    if name in _ADDITIONS:
        return parts
    if name in DIFFERENCES:
        subtracted = (0, "input") if name == "rsub" else (1, "other")
        slots = [argument.slot for argument in operation.arguments]
        return [part.times(-1.0) if slot in subtracted else part for slot, part in zip(slots, parts, strict=True)]
    return None


def _scaled(trace: Trace, operation: Operation, parts: list[_Term]) -> list[_Term] | None:
    """Return the term that a product or a quotient scales by a number or by a mask; None for any other factor."""
    if len(parts) == 2 and kind(operation) in _PRODUCTS:
        rest = [part for part in parts if trace.values[part.value].dtype != torch.bool]
        return [replace(part, averaged=False) for part in rest] if len(rest) == 1 else None
    number = operation.setting(1, "other")
    if len(parts) != 1 or not isinstance(number, (int, float)) or _exports_before(trace, operation):
        return None
    if kind(operation) in _PRODUCTS:
        return [parts[0].times(number)]
    return [parts[0].times(1 / number)] if number else None


def _exports_before(trace: Trace, operation: Operation) -> bool:
    """Return whether numbers were read from tensors before this operation, which may have got one of them."""
    for earlier in trace.operations:
        if earlier is operation:
            return False
        if earlier.name in _NUMBERS:
            return True
    return False


def _is_distance(trace: Trace, operation: Operation) -> bool:
    """Return whether the operation makes a distance of the difference of a prediction and a target."""
    if kind(operation) == "pow" and operation.setting(1, "exponent") not in (2, 4):
        return False
    return kind(operation) in _DISTANCES and kind(origin(trace, first_argument(operation))) in DIFFERENCES


def _compared(trace: Trace, operation: Operation) -> list[int]:
    """Return the indices of the two values that a loss function compares."""
    if kind(operation) in _DISTANCES:
        difference = origin(trace, first_argument(operation))
        return [] if difference is None else [argument.value for argument in difference.arguments]
    compared = (first_argument(operation), operation.argument(1, "target"), operation.argument(1, "targets"))
    return [value for value in dict.fromkeys(compared) if value is not None]


def _has_fixed_target(trace: Trace, operation: Operation) -> bool:
    """Return whether one of the two values was computed from the batch without parameters, and the other is trained."""
    compared, candidates = _compared(trace, operation), from_batch(trace) - from_parameters(trace)
    fixed = [value for value in compared if value in candidates]
    return len(compared) == 2 and len(fixed) == 1


def _is_trained(trace: Trace, operation: Operation) -> bool:
    """Return whether an optimizer holds weights of the last layer: the inputs of a frozen model may be trained."""
    held = {parameter.name for parameter in trace.parameters if parameter.held and parameter.trainable}
    pending, seen = _compared(trace, operation), set[int]()
    while pending:
        value = pending.pop()
        producer = trace.producers.get(value)
        if producer is None or value in seen:
            continue
        seen.add(value)
        taken = [trace.values[argument.value] for argument in producer.arguments]
        names = [value.name for value in taken if value.source == "parameter"]
        if any(name in held for name in names):
            return True
        pending += [] if names else [argument.value for argument in producer.arguments]
    return False


def _beats_chance(trace: Trace, operation: Operation, term: _Term) -> bool:
    """Return whether a cross-entropy, of which the loss is a multiple, is far below that of a uniform prediction."""
    value = first_argument(operation)
    shape = () if value is None else trace.values[value].shape
    if kind(operation) in ("cross_entropy", "nll_loss") and shape:
        classes = max(2, shape[1 if len(shape) > 1 else 0])
    elif kind(operation) in ("binary_cross_entropy", "binary_cross_entropy_with_logits"):
        classes = 2
    else:
        return False
    averaged = term.averaged and operation.plain.get("reduction") != "sum"
    return averaged and trace.loss_value / term.factor < _OF_CHANCE * math.log(classes)


def _named(operation: Operation) -> str:
    return kind(operation) if kind(operation) in _MINIMISED else DISTANCE
