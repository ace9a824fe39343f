"""Questions about the values of a `Trace`: which operation made one, and what became of it."""

from __future__ import annotations

from lightning_landscape.trace import Operation, Trace

VALUE_PRESERVING = frozenset({
    *("view", "view_as", "reshape", "reshape_as", "squeeze", "squeeze_", "unsqueeze", "unsqueeze_", "flatten"),
    *("unflatten", "ravel", "permute", "transpose", "t", "T", "mT", "H", "mH", "movedim", "moveaxis", "swapaxes"),
    *("swapdims", "contiguous", "clone", "to", "type", "type_as", "float", "double", "half", "bfloat16", "cpu", "cuda"),
    *("expand", "expand_as", "broadcast_to", "getitem", "select", "narrow", "index_select", "gather", "take"),
    *("take_along_dim", "masked_select", "split", "chunk", "tensor_split", "unbind", "flip", "roll", "requires_grad_"),
    *("alias", "as_subclass"),
})  # fmt: skip
"""operations whose results consist of values of their first argument, at most in another order, shape or precision"""
LOSSES = frozenset({
    *("cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "kl_div", "mse_loss"),
    *("l1_loss", "smooth_l1_loss", "huber_loss", "gaussian_nll_loss", "poisson_nll_loss", "multilabel_margin_loss"),
    *("multi_margin_loss", "multilabel_soft_margin_loss", "soft_margin_loss", "hinge_embedding_loss", "ctc_loss"),
    *("cosine_embedding_loss", "margin_ranking_loss", "triplet_margin_loss", "triplet_margin_with_distance_loss"),
})  # fmt: skip
"""loss functions of ``torch.nn.functional``"""


def first_argument(operation: Operation) -> int | None:
    """Return the index of the value that the operation takes first; None if it takes none."""
    return operation.argument(0, "input")


def origin(trace: Trace, value: int | None) -> Operation | None:
    """Return the operation that computed these values, before any that only changed their order, shape or precision.

    None if they were not computed, but come from the batch or are a parameter.
    """
    while value is not None:
        producer = trace.producers.get(value)
        if producer is None or producer.name not in VALUE_PRESERVING:
            return producer
        value = first_argument(producer)
    return None


def kind(operation: Operation | None) -> str:
    """Return the name of an operation without the underscore of its in-place version; empty for None."""
    return "" if operation is None else operation.name.removesuffix("_")


def from_batch(trace: Trace) -> frozenset[int]:
    """Return the indices of the values that were computed from the batch, and those of its entries."""
    return _computed_from(trace, "entry")


def from_parameters(trace: Trace) -> frozenset[int]:
    """Return the indices of the values that were computed from parameters or other leaves, and those of these."""
    return _computed_from(trace, "parameter", "leaf")


def _computed_from(trace: Trace, *sources: str) -> frozenset[int]:
    found = {index for index, value in enumerate(trace.values) if value.source in sources}
    for operation in trace.operations:
        if any(argument.value in found for argument in operation.arguments):
            found.update(operation.results)
    return frozenset(found)


def takes_parameter(trace: Trace, operation: Operation) -> bool:
    """Return whether a parameter that requires a gradient is an argument of the operation."""
    return any(
        trace.values[argument.value].source == "parameter" and trace.values[argument.value].requires_grad
        for argument in operation.arguments
    )


def behind_layers(trace: Trace) -> list[Operation]:
    """Return the operations from which the loss was computed without passing through a layer with parameters again."""
    found: dict[int, Operation] = {}
    pending = [] if trace.loss is None else [trace.loss]
    while pending:
        operation = trace.producers.get(pending.pop())
        if operation is not None and id(operation) not in found and not takes_parameter(trace, operation):
            found[id(operation)] = operation
            pending += [argument.value for argument in operation.arguments]
    return [operation for operation in trace.operations if id(operation) in found]
