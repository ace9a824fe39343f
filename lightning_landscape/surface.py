"""`LossSurface`: the loss of a training run as a function of its parameters, and nothing else that a probe may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
    with everything that is hard about evaluating somebody's training step. A probe sees only this, and takes gradients
    and Hessian-vector products of `loss` as of any function of tensors:

    >>> import torch
    >>> saddle = LossSurface(lambda at: at["x"] ** 2 - at["y"] ** 2, {name: torch.tensor(1.0) for name in "xy"})
    >>> point = {name: weight.clone().requires_grad_() for name, weight in saddle.here.items()}
    >>> gradient = torch.autograd.grad(saddle.loss(point), list(point.values()), create_graph=True)
    >>> [float(slope.detach()) for slope in gradient]
    [2.0, -2.0]
    >>> [float(product) for product in torch.autograd.grad(sum(gradient), list(point.values()))]
    [2.0, -2.0]
    """

    loss: Callable[[Params], Tensor]
    """the mean over the batches as a 0-dim tensor, differentiable twice where a parameter requires gradients; the same
    weights give the same value to the bit"""
    here: Params
    """the present point, detached"""
    anchors: Mapping[str, Params] = field(default_factory=dict)
    """other points of the run: "initial", "previous", "best", or the path of a checkpoint"""
    held_out: Callable[[Params], Tensor] | None = None
    """the loss on the other half of the batches, to judge on what was not used to measure; None where there is none"""
    activations: Callable[[Params], Mapping[str, Activation]] | None = None
    """outputs of every activation layer, by the layer's name"""
    parts: tuple[Callable[[Params], Tensor], ...] = ()
    """`loss` one batch at a time, for trials that step as training does"""
    pairs: tuple[tuple[Callable[[Params], Tensor], Callable[[Params], Tensor]], ...] = ()
    """`held_out` by batches, as it is and with targets beside other inputs; empty where these cannot be told apart"""
    inputs_vary: bool = True
    """whether the samples' inputs differ at all"""
    redrawn: Callable[[int], Params] | None = None
    """weights drawn anew by the layers' own initialisation, by seed; None where a layer has none"""
    continued: Callable[[float], Callable[[Params, Sequence[Tensor]], None]] | None = None
    """a copy of the run's optimizer, its learning rate times a factor, which moves a point in place by a gradient"""
    weight_decay: float = 0.0
    """of the run's optimizer"""
    decoupled_decay: bool = False
    """whether the decay acts on the weights (AdamW), not through the gradient"""
    samples: int = 0
    """how many samples `loss` averages over; 0 where that is not known"""
    batch_samples: float = 0.0
    """samples behind one of `parts`, the harmonic mean where they differ; 0 where that is not known"""
    gradients: int | None = None
    """how many gradients of one batch a probe should make do with; None where nobody counts"""

    def affordable(self, wanted: int, price: int = 1) -> int:
        """As many of the wanted steps as `gradients` pays for, at this many gradients of one batch each."""
        return wanted if self.gradients is None else max(0, min(wanted, self.gradients // max(1, price)))


Probe: TypeAlias = Callable[[LossSurface], object | None]
"""A reading, or None where the probe has nothing to say about this surface."""
