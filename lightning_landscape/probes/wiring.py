"""How parameters, predictions and loss are connected, read from the operations of one training step."""

from __future__ import annotations

from lightning_landscape.evidence.wiring import (
    NotLogProbabilities,
    RectifiedLogits,
    SoftmaxOfOne,
    SquashedTwice,
    StrongDropout,
    UnownedLeaf,
    Wiring,
)
from lightning_landscape.probes.batch_dimension import samples_as_sequence
from lightning_landscape.probes.comparisons import broadcasts, output_ranges
from lightning_landscape.probes.data_flow import LOSSES, first_argument, kind, origin
from lightning_landscape.probes.graph_cuts import graph_cuts, partial_cuts, reached_share
from lightning_landscape.probes.loss_sign import wrong_sign
from lightning_landscape.probes.token_masks import inverted_masks
from lightning_landscape.surface import LossSurface, costs
from lightning_landscape.trace import LOGIT_LOSSES, Operation, Trace

_RECTIFIERS = ("relu", "relu6", "threshold")
_STRONG = 0.9
"""share of values that a dropout sets to zero from which on it is hardly meant: p is not the share that is kept"""
_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_ONE = 0.2
"""relative distance from 1 up to which a sum counts as 1: half precision and smoothed labels stay far below it"""


@costs(lambda surface: 2 / 3)  # a forward pass, and in evaluation mode another one for the statistics of BatchNorm
def wiring(surface: LossSurface) -> Wiring | None:
    """Return what the operations of one training step show; None where the step cannot be traced."""
    return None if surface.run.trace is None else wiring_of(surface.run.trace())


def wiring_of(trace: Trace) -> Wiring:
    """Return what this trace shows."""
    return Wiring(
        squashed=squashed_twice(trace),
        softmax_of_one=softmax_of_one(trace),
        rectified=rectified_logits(trace),
        not_log_probabilities=not_log_probabilities(trace),
        samples_as_sequence=samples_as_sequence(trace),
        inverted_masks=inverted_masks(trace),
        wrong_sign=wrong_sign(trace),
        unowned=unowned_leaves(trace),
        cuts=graph_cuts(trace),
        partial_cuts=partial_cuts(trace),
        broadcasts=broadcasts(trace),
        dropouts=strong_dropouts(trace),
        ranges=output_ranges(trace),
        reached=reached_share(trace),
        operations=len(trace.operations),
        unseen=trace.unseen,
    )


def squashed_twice(trace: Trace) -> tuple[SquashedTwice, ...]:
    """Return the softmax and sigmoid functions before a loss that expects logits and applies such a function itself."""
    found = []
    for loss in _losses(trace, "cross_entropy", "log_softmax", "binary_cross_entropy_with_logits", "logsigmoid"):
        function = origin(trace, first_argument(loss))
        of_classes = loss.name in ("cross_entropy", "log_softmax")
        classes = _size(trace, loss, _class_dim(trace, loss)) if of_classes else 0
        if kind(function) != "softmax" and loss.probabilities:
            found.append(SquashedTwice("", loss.name, loss.module, classes))
            continue
        if kind(function) not in ("softmax", "sigmoid", *(("log_softmax",) if of_classes else ())):
            continue
        if loss.name == "log_softmax" == kind(function):
            continue
        if function is not None and classes != 1:
            found.append(SquashedTwice(kind(function), loss.name, function.module, classes))
    return tuple(found)


def softmax_of_one(trace: Trace) -> tuple[SoftmaxOfOne, ...]:
    """Return the softmax functions before a loss whose dimension has size 1, so that they always return 1."""
    losses = _losses(trace, *LOSSES)
    found = []
    for loss in losses:
        function = origin(trace, first_argument(loss))
        if kind(function) == "log" and function is not None:
            function = origin(trace, first_argument(function))
        if loss.name == "cross_entropy" and _size(trace, loss, _class_dim(trace, loss)) == 1:
            function = loss
        elif kind(function) not in ("softmax", "log_softmax"):
            continue
        if function is not None and _size(trace, function, _class_dim(trace, function)) == 1:
            shape, dim = _shape(trace, function), _class_dim(trace, function)
            found.append(SoftmaxOfOne(kind(function), loss.name, function.module, shape, dim, len(losses) == 1))
    return tuple(found)


def rectified_logits(trace: Trace) -> tuple[RectifiedLogits, ...]:
    """Return the rectifiers directly before a cross-entropy, which expects logits of either sign."""
    found = []
    for loss in _losses(trace, *LOGIT_LOSSES):
        function = origin(trace, first_argument(loss))
        if function is not None and kind(function) in _RECTIFIERS:
            found.append(RectifiedLogits(kind(function), loss.name, function.module, loss.zero_logits or 0.0))
    return tuple(found)


def not_log_probabilities(trace: Trace) -> tuple[NotLogProbabilities, ...]:
    """Return the first arguments of `nll_loss` that are no log-probabilities, by the sums of their exponentials."""
    found = []
    for loss in _losses(trace, "nll_loss"):
        if loss.class_sums is None or abs(loss.class_sums[0] - 1) <= _ONE:
            continue
        function = origin(trace, first_argument(loss))
        probabilities = abs(loss.class_sums[1] - 1) <= _ONE and kind(function) == "softmax"
        over_samples = function is not None and kind(function) == "log_softmax" and _class_dim(trace, function) == 0
        found.append(NotLogProbabilities(loss.module, loss.class_sums[0], probabilities, over_samples))
    return tuple(found)


def strong_dropouts(trace: Trace) -> tuple[StrongDropout, ...]:
    """Return the calls of dropout on the way to the loss that set at least nine of ten values to zero."""
    found = []
    for dropout in _losses(trace, *_DROPOUTS):
        p, training = dropout.setting(1, "p"), dropout.setting(2, "training")
        if isinstance(p, float | int) and p >= _STRONG and training:
            found.append(StrongDropout(dropout.module, float(p)))
    return tuple(found)


def unowned_leaves(trace: Trace) -> tuple[UnownedLeaf, ...]:
    """Return the tensors that the loss gives a gradient to, and that neither the module nor an optimizer holds.

    Inputs that require a gradient, as for a gradient penalty, are left out. So are other tensors that are no
    ``nn.Parameter`` and that no module holds.
    """
    return tuple(
        UnownedLeaf(
            leaf.shape,
            leaf.place,
            leaf.container,
            leaf.container_kind,
            leaf.made_in_step,
            may_be_meant=leaf.of_evaluated_module or (not leaf.place and (trace.manual or not leaf.made_in_step)),
        )
        for leaf in trace.foreign_leaves
        if not leaf.held
        and (leaf.is_parameter or leaf.place)
        and not (leaf.is_input and not (leaf.is_parameter and leaf.place))
    )


def _losses(trace: Trace, *names: str) -> list[Operation]:
    """Return the operations with these names through which the gradient of the loss flows."""
    return [operation for operation in trace.operations if operation.name in names and trace.with_gradient(operation)]


def _shape(trace: Trace, operation: Operation) -> tuple[int, ...]:
    value = first_argument(operation)
    return () if value is None else trace.values[value].shape


def _class_dim(trace: Trace, operation: Operation) -> int:
    """Return the dimension over which a softmax or a cross-entropy normalises."""
    dims = len(_shape(trace, operation))
    dim = operation.setting(1, "dim") if operation.name != "cross_entropy" else None
    if isinstance(dim, int) and dims:
        return dim % dims
    if operation.name == "cross_entropy":
        return 1 if dims > 1 else 0
    return 0 if dims in (0, 1, 3) else 1  # what `torch.nn.functional.softmax` does without `dim`


def _size(trace: Trace, operation: Operation, dim: int) -> int:
    shape = _shape(trace, operation)
    return shape[dim] if dim < len(shape) else 0
