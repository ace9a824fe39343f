"""`Trace`: what one evaluation of the training step computed, operation by operation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

NAMED_COMPARISONS = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss")
"""loss functions that compare a prediction, their first argument, with a target of the same shape, their second"""
LOGIT_LOSSES = ("cross_entropy", "binary_cross_entropy_with_logits")
"""loss functions whose first argument are logits, which may have either sign"""
DIFFERENCES = ("sub", "rsub", "sub_", "isub", "subtract")
"""operations that subtract one value from another"""
ATTENTION = "multi_head_attention_forward"
"""always takes (time, batch, features): `nn.MultiheadAttention` transposes with ``batch_first=True``"""
EXPORTS = ("item", "tolist", "numpy", "float", "int", "bool", "array", "index")
"""operations that return Python or NumPy numbers, through which no gradient flows"""


@dataclass(frozen=True)
class Value:
    """One tensor as it was at one moment of the evaluation; an operation that writes to a tensor makes a new value."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    requires_grad: bool
    source: str
    """where the value comes from: "operation"; "parameter" of the module; "entry" of the batch; "leaf" for any other
    tensor that requires a gradient and was not computed; "constant" for any other that requires none; "unseen" for the
    result of an operation that could not be recorded"""
    name: str = ""
    """name of the parameter, such as "net.0.weight", or of the entry, such as "batch[1]"; empty for other sources"""


@dataclass(frozen=True)
class Argument:
    """A value that an operation took."""

    slot: int | str
    """position or keyword of the argument; the values in a list have the position of the list. Where a tensor is made
    of Python or NumPy numbers, the slot "exported" has the values that these numbers were read from"""
    value: int
    """the index in `Trace.values`"""


@dataclass(frozen=True)
class Operation:
    """One call of a function of torch or of a method of a tensor."""

    name: str
    """name without underscores at both ends: "softmax", "cross_entropy", "getitem", "relu_" """
    module: str
    """qualified name of the innermost submodule in whose forward it was called; empty for the training step itself"""
    arguments: tuple[Argument, ...]
    results: tuple[int, ...]
    """indices in `Trace.values` of the tensors that it returned or wrote to"""
    grad_enabled: bool
    """whether gradients were enabled, which they are not under ``torch.no_grad()``"""
    plain: Mapping[int | str, object] = field(default_factory=dict)
    """the arguments that are no tensors, by position or keyword; "exported" is the name of the operation that returned
    the Python or NumPy numbers of which a tensor is made"""
    target_values: Tensor | None = None
    """for a comparison, up to `MAX_SAMPLED` values of the argument that requires no gradient"""
    zero_logits: float | None = None
    """for a cross-entropy, the share of its logits that are zero on every sample; None for any other operation"""
    class_sums: tuple[float, float] | None = None
    """for an `nll_loss`, medians over the samples of two sums over the classes: of the exponentials of its first
    argument, 1 for log-probabilities, and of that argument itself, 1 for probabilities; None for any other operation"""
    probabilities: bool = False
    """for a cross-entropy, whether its logits are not below 0 and add up to 1 for each sample"""
    commonest: tuple[float, float] | None = None
    """for an attention with a mask of its keys, the shares of the commonest token among the positions that it leaves,
    and among those that it hides; None for any other operation, and where the tokens are not known"""

    def setting(self, position: int, keyword: str) -> object | None:
        """Return an argument that is no tensor, by its position or keyword; None where it was not given."""
        return self.plain.get(keyword, self.plain.get(position))

    def argument(self, position: int, keyword: str) -> int | None:
        """Return the index of the value that was given at this position or keyword; None where there is none."""
        return next((a.value for a in self.arguments if a.slot in (position, keyword)), None)


MAX_SAMPLED = 2**16
"""largest number of values that are kept of a target"""


@dataclass(frozen=True)
class ParameterUse:
    """A parameter of the module, and what the step does with it."""

    name: str
    size: int
    """number of elements"""
    trainable: bool
    """whether it requires a gradient"""
    held: bool
    """whether an optimizer holds it"""
    reached: bool
    """whether the gradient of the loss flows to it: a path leads to it that no operation cuts"""


@dataclass(frozen=True)
class ForeignLeaf:
    """A tensor that the loss gives a gradient to, and that is no parameter of the module."""

    shape: tuple[int, ...]
    is_parameter: bool
    """whether it is an ``nn.Parameter``"""
    place: str = ""
    """where a module holds it, as Python code: "self.net.layers[0].weight"; empty where it was not found"""
    container: str = ""
    """the attribute of a registered module that it was found in: "self.net.layers" """
    container_kind: str = ""
    """what that attribute is: "list", "dict", "tensor", or "object" for anything else"""
    held: bool = False
    """whether an optimizer holds it"""
    made_in_step: bool = False
    """whether it was made during the evaluation and deleted afterwards"""
    of_evaluated_module: bool = False
    """whether it belongs to a module that was switched to evaluation mode"""
    is_input: bool = False
    """whether it has the shape of an entry of the batch, or was computed in the step before it required a gradient"""


@dataclass(frozen=True)
class Trace:
    """The operations of one evaluation of the training step on one batch, in their order.

    Nothing that could not be recorded is in here: `unseen` names it, and nothing must be concluded about it.
    """

    values: tuple[Value, ...]
    operations: tuple[Operation, ...]
    loss: int | None
    """index of the loss in `values`; None if no recorded operation returned it"""
    loss_value: float
    parameters: tuple[ParameterUse, ...] = ()
    foreign_leaves: tuple[ForeignLeaf, ...] = ()
    samples: int | None = None
    """number of samples in the batch; None if it is not known"""
    manual: bool = False
    """whether the step optimizes manually"""
    maximize: bool | None = False
    """whether the optimizers move the weights along the gradient (``maximize=True``); None if only a part of them"""
    unseen: tuple[str, ...] = ()
    """what could not be recorded, in words: "the TorchScript module self.net" """

    @cached_property
    def producers(self) -> Mapping[int, Operation]:
        """The operation that made each value, by the value's index."""
        return {result: operation for operation in self.operations for result in operation.results}

    @cached_property
    def ancestors_of_loss(self) -> frozenset[int]:
        """The indices of all values that the loss was computed from, whether gradients flow there or not."""
        found: set[int] = set()
        pending = [] if self.loss is None else [self.loss]
        while pending:
            value = pending.pop()
            if value not in found:
                found.add(value)
                producer = self.producers.get(value)
                pending += [argument.value for argument in producer.arguments] if producer else []
        return frozenset(found)

    def leads_to_loss(self, operation: Operation) -> bool:
        """Return whether the loss was computed from a result of this operation."""
        return any(result in self.ancestors_of_loss for result in operation.results)

    def with_gradient(self, operation: Operation) -> bool:
        """Return whether the loss was computed from a result of this operation that requires a gradient."""
        return any(r in self.ancestors_of_loss and self.values[r].requires_grad for r in operation.results)
