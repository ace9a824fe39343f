"""`Wiring`: how the parameters, predictions and loss of a training step are connected, read from its operations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

DISTANCE = "distance"
"""stands for the name of a loss function where the step computes the distance of prediction and target itself"""


@dataclass(frozen=True)
class SquashedTwice:
    """A prediction that passes through softmax or sigmoid before a loss that applies the same function itself."""

    function: str
    """the function before the loss: "softmax", "log_softmax" or "sigmoid"; empty for a softmax that is written by hand,
    of which only the numbers tell"""
    loss: str
    """the loss function: "cross_entropy", "log_softmax" or "binary_cross_entropy_with_logits" """
    module: str
    """name of the submodule that calls the function; empty for the training step itself"""
    classes: int = 0
    """number of classes of a cross-entropy; 0 for a loss of two classes"""

    @property
    def floor(self) -> float:
        """The lowest loss of a sample that is possible with it, in units of the loss; of a positive one for sigmoid."""
        return math.log1p(max(1, self.classes - 1) / math.e)


@dataclass(frozen=True)
class SoftmaxOfOne:
    """A softmax over a single value, whose result is always 1, before a loss."""

    function: str
    """the function that normalises a single value: "softmax", "log_softmax" or "cross_entropy" """
    loss: str
    """the loss function that gets the result"""
    module: str
    """name of the submodule that calls the function; empty for the training step itself"""
    shape: tuple[int, ...]
    """shape of the tensor of which one dimension has size 1"""
    dim: int
    """that dimension"""
    only_loss: bool
    """whether the step computes no other loss function"""


@dataclass(frozen=True)
class RectifiedLogits:
    """A rectifier directly before a loss that expects logits of either sign."""

    function: str
    """the rectifier, such as "relu" """
    loss: str
    """the loss function"""
    module: str
    """name of the submodule that calls the rectifier; empty for the training step itself"""
    dead: float = 0.0
    """share of the logits that are zero on every sample of the batch, in [0, 1]"""


@dataclass(frozen=True)
class NotLogProbabilities:
    """The first argument of an `nll_loss`, whose exponentials do not add up to 1."""

    module: str
    """name of the submodule that calls the loss; empty for the training step itself"""
    mass: float
    """sum of the exponentials over the classes, the median over the samples"""
    probabilities: bool
    """whether the numbers are probabilities, whose logarithm was forgotten; else they are logits"""
    over_samples: bool = False
    """whether a `log_softmax` has made them that normalises over the samples of the batch and not over the classes"""


@dataclass(frozen=True)
class SamplesAsSequence:
    """A recurrent layer or an attention that reads the samples of a batch as the steps of one sequence."""

    function: str
    """the operation: "gru", "lstm", "rnn_tanh", "rnn_relu" or "multi_head_attention_forward" """
    module: str
    """name of the submodule that calls it; empty for the training step itself"""
    shape: tuple[int, ...]
    """shape of what it gets, of which the first dimension counts the samples"""


@dataclass(frozen=True)
class InvertedMask:
    """An attention that hides the tokens of a sequence and leaves its padding."""

    module: str
    """name of the submodule that calls it; empty for the training step itself"""
    left: float
    """share of the commonest token among the positions that it leaves, in [0, 1]"""


@dataclass(frozen=True)
class WrongSign:
    """A loss function that the optimizer steps raise, and that no other term of the loss works against."""

    loss: str
    """the loss function, or `DISTANCE`"""
    module: str
    """name of the submodule that calls it; empty for the training step itself"""
    maximized: bool
    """whether the optimizers have ``maximize=True``; else the loss is negated"""
    may_be_meant: bool
    """whether it may be meant: the last layer is frozen, or the model was trained before and may be meant to forget"""


@dataclass(frozen=True)
class UnownedLeaf:
    """A tensor that the loss gives a gradient to, and that neither the module nor an optimizer holds."""

    shape: tuple[int, ...]
    place: str
    """where a module holds it, as Python code: "self.net.layers[0].weight"; empty where it was not found"""
    container: str
    """the attribute of a registered module that it was found in: "self.net.layers"; empty where it was not found"""
    container_kind: str
    """what that attribute is: "list", "dict", "tensor", or "object" for anything else; empty where it was not found"""
    made_in_step: bool
    """whether the training step makes it anew each time"""
    may_be_meant: bool
    """whether it may be meant to stay as it is: its module is in evaluation mode, or the step optimizes manually"""


@dataclass(frozen=True)
class GraphCut:
    """An operation that ends the path of the gradient to parameters that the loss was computed from."""

    operation: str
    """the operation: "argmax", "detach", "round", or "no_grad" for any operation under ``torch.no_grad()``"""
    module: str
    """name of the submodule that calls it; empty for the training step itself"""
    parameters: tuple[str, ...]
    """names of the parameters that the gradient does not reach because of it"""
    share: float
    """share of the trainable elements that the optimizers hold which these parameters have, in [0, 1]"""
    before: str
    """name of the submodule that made what it cuts; empty for the training step itself"""
    after: str
    """name of the submodule that uses what is behind the cut; empty for the training step itself"""
    feeds_layers: bool
    """whether layers that learn take what is behind the cut as their input; a target for the loss does not count"""


@dataclass(frozen=True)
class Broadcast:
    """A prediction and a target with equally many values, but other shapes, of which every pair is compared."""

    function: str
    """the loss function, or "sub" for a difference"""
    module: str
    """name of the submodule that calls it; empty for the training step itself"""
    prediction: tuple[int, ...]
    """shape of the prediction"""
    target: tuple[int, ...]
    """shape of the target"""
    result: tuple[int, ...]
    """shape to which both are broadcast"""


@dataclass(frozen=True)
class OutputRange:
    """A prediction from a function with bounds, and a target of which a part lies outside of these bounds."""

    function: str
    """the function, such as "sigmoid" or "relu" """
    module: str
    """name of the submodule that calls it; empty for the training step itself"""
    loss: str
    """the loss function, or "sub" for a difference"""
    low: float | None
    """lower bound of the prediction; None if there is none"""
    high: float | None
    """upper bound of the prediction; None if there is none"""
    lowest_target: float
    highest_target: float
    outside: float
    """share of the target's values that lie outside of the bounds, in [0, 1]"""
    unreachable: float
    """mean squared distance of the target's values from the bounds over their variance: the share of the variance that
    no prediction within the bounds can explain"""
    best_loss: float | None
    """the lowest possible loss, in units of the loss; None if the loss function has no simple one"""


@dataclass(frozen=True)
class StrongDropout:
    """A dropout on the way to the loss that lets hardly anything pass."""

    module: str
    """name of the submodule that calls it; empty for the training step itself"""
    p: float
    """share of the values that it sets to zero"""


@dataclass(frozen=True)
class Wiring:
    """What was found in the operations of one evaluation of the training step on one batch."""

    squashed: tuple[SquashedTwice, ...] = ()
    softmax_of_one: tuple[SoftmaxOfOne, ...] = ()
    rectified: tuple[RectifiedLogits, ...] = ()
    not_log_probabilities: tuple[NotLogProbabilities, ...] = ()
    samples_as_sequence: tuple[SamplesAsSequence, ...] = ()
    inverted_masks: tuple[InvertedMask, ...] = ()
    wrong_sign: tuple[WrongSign, ...] = ()
    unowned: tuple[UnownedLeaf, ...] = ()
    cuts: tuple[GraphCut, ...] = ()
    partial_cuts: tuple[GraphCut, ...] = ()
    """operations that end a path of the gradient to parameters which it reaches on another path"""
    broadcasts: tuple[Broadcast, ...] = ()
    dropouts: tuple[StrongDropout, ...] = ()
    ranges: tuple[OutputRange, ...] = ()
    reached: float = 1.0
    """share of the trainable elements that the optimizers hold which the gradient of the loss reaches, in [0, 1]; 1
    where this cannot be determined"""
    operations: int = 0
    """number of operations that were recorded"""
    unseen: tuple[str, ...] = ()
    """what could not be recorded, in words: "the TorchScript module self.net" """

    @property
    def unseen_sentence(self) -> str | None:
        """A sentence that names what could not be recorded; None if everything was."""
        if not self.unseen:
            return None
        *others, last = self.unseen
        named = f"{', '.join(others)} and {last}" if others else last
        return f"How the parameters and the loss are connected was not checked inside of {named}."


def common_module(modules: Iterable[str]) -> str:
    """Return the innermost module that contains all these, by their qualified names; empty for the whole module.

    >>> common_module(["net.encoder.0", "net.encoder.2"])
    'net.encoder'
    """
    shared: list[str] = []
    for parts in zip(*(name.split(".") for name in modules), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)
