"""`LossSurface`: the loss of a training run as a function of its parameters, and nothing else that a probe may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from torch import Tensor

Params: TypeAlias = Mapping[str, Tensor]
"""Parameters by the names of ``module.named_parameters()``; tied weights appear once."""


@dataclass(frozen=True)
class Activation:
    """What one activation layer put out on the batches of a surface."""

    kind: str
    """class name of the layer: "ReLU", "Tanh" …"""
    values: Tensor
    """shape (samples, units)"""


@dataclass(frozen=True)
class LossSurface:
    """The loss on fixed batches, as a pure function of the parameters.

    Whoever makes a surface (`callbacks.module_surface` for a LightningModule; two lines for a closed form) has dealt
    with everything that is hard about evaluating somebody's training step. A probe sees only this.
    """

    loss: Callable[[Params], Tensor]
    """differentiable; the mean over the batches as a 0-dim tensor; the same weights give the same value to the bit"""
    here: Params
    """the present point, detached"""
    anchors: Mapping[str, Params] = field(default_factory=dict)
    """other points of the run: "initial", "previous", "best", or the path of a checkpoint"""
    held_out: Callable[[Params], Tensor] | None = None
    """the loss on the other half of the batches, to judge on what was not used to measure; None where there is none"""
    gradient: Callable[[Params], Params] | None = None
    """gradient of `loss` where ``torch.autograd.grad`` through it is not the way to take it (sharded parameters)"""
    activations: Callable[[Params], Mapping[str, Activation]] | None = None
    """outputs of every activation layer, by the layer's name"""
    samples: int = 0
    """how many samples `loss` averages over; 0 where that is not known"""


Probe: TypeAlias = Callable[[LossSurface], object | None]
"""A reading, or None where the probe has nothing to say about this surface."""
