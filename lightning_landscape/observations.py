"""What an evaluation of a training step shows besides its loss: activations, outputs, values that are not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lightning_landscape.evidence import NotFinite

RECTIFIERS = ("ReLU", "ReLU6", "Threshold")
"""classes of activation layers whose units can be dead, that is, zero on every sample"""
BOUNDS = {
    "Tanh": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Softsign": (-1.0, 1.0),
}
"""classes of activation layers whose units can saturate, with the lowest and highest output"""


FEWEST_BATCHES, ENOUGH_SAMPLES, MOST_BATCHES = 2, 64, 8
"""outputs are seen of as many batches as have this many samples together, but of at least two and at most eight"""


def batches_seen(batches: int, batch_samples: float | None) -> int:
    """Return of how many batches the outputs are seen.

    >>> [batches_seen(16, samples) for samples in (1, 16, 512, None)]
    [8, 4, 2, 2]

    Args:
        batches: number of batches that there are.
        batch_samples: number of samples of one batch; 0 or None where unknown.
    """
    needed = math.ceil(ENOUGH_SAMPLES / batch_samples) if batch_samples else FEWEST_BATCHES
    return min(batches, max(FEWEST_BATCHES, min(MOST_BATCHES, needed)))


@dataclass(frozen=True)
class Activation:
    """The outputs of one activation layer on the batches of a surface."""

    kind: str
    """class name of the layer: "ReLU", "Tanh" or another of `RECTIFIERS` and `BOUNDS`"""
    values: Tensor
    """shape (samples, units)"""


@dataclass(frozen=True)
class StepEvaluation:
    """One evaluation of a training step: its gradient, or what made the first value that is not finite."""

    gradient: tuple[Tensor, ...]
    """the gradient, in the order of the weights"""
    finite: bool
    """whether the loss and its gradient are finite"""
    first: NotFinite | None = None
    """what made the first value that is not finite; None where all are finite, and where this cannot be told"""


@dataclass(frozen=True)
class LayerOutput:
    """The output of one layer with weights on the first samples of the batches of a surface."""

    layer: str
    """name of the submodule, or where else the weights are used"""
    values: Tensor
    """shape (samples, units), in float32; of many units only some"""
    next_to_loss: bool
    """whether the loss uses the output without another layer with weights between them"""


@dataclass(frozen=True)
class LossCall:
    """One call of a loss function of torch, such as ``torch.nn.functional.cross_entropy``."""

    function: Callable[..., Tensor]
    prediction: Tensor
    target: Tensor
    settings: Mapping[str, Any]
    """the other arguments by name"""


@dataclass(frozen=True)
class SeenOutputs:
    """What one evaluation of a few batches shows of the outputs of a network."""

    loss: float
    loss_of_means: Callable[[], float]
    """evaluates the loss once more, with the outputs next to the loss replaced by their mean over the samples"""
    layers: tuple[LayerOutput, ...]
    """in the order in which they are called; only those that are called in every batch"""
    loss_calls: tuple[LossCall, ...]
    targets: tuple[Tensor, ...]
    """tensors of the batches that only the loss uses, each of shape (samples, units)"""
    softmax: Mapping[str, float]
    """share of the rows of each softmax inside the network in which one probability is 1, by where it is called"""
