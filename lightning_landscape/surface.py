"""`LossSurface`: the loss of a training run as a function of its parameters, and nothing else that a probe may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

Params: TypeAlias = Mapping[str, Tensor]
"""Parameters by the names of ``module.named_parameters()``; tied weights appear once."""


RECTIFIERS = ("ReLU", "ReLU6", "Threshold")
"""activation layers whose units can be dead: zero on every sample"""
BOUNDS = {
    "Tanh": (-1.0, 1.0),
    "Sigmoid": (0.0, 1.0),
    "Hardtanh": (-1.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Softsign": (-1.0, 1.0),
}
"""activation layers whose units can saturate, with the range of their outputs"""


@dataclass(frozen=True)
class Activation:
    """What one activation layer put out on the batches of a surface."""

    kind: str
    """class name of the layer: "ReLU", "Tanh" …"""
    values: Tensor
    """shape (samples, units)"""


@dataclass(frozen=True)
class Roles:
    """What a training step does with the entries of its batches."""

    targets: tuple[tuple[Any, ...], ...]
    """where the entries are that meet the model in the loss alone, each as the indices, keys and names that lead there;
    empty where the loss is one of the inputs alone"""
    inputs_vary: bool = True
    """whether the samples' inputs differ at all; True where that cannot be told"""


@dataclass(frozen=True)
class Pairing:
    """What it takes to see whether the loss depends on which input comes with which target."""

    batches: tuple[Callable[[Params], Tensor], ...]
    """`LossSurface.held_out`, one batch at a time"""
    roles: Callable[[], Roles]
    """find the targets"""
    mispaired: Callable[[Sequence[tuple[Any, ...]]], tuple[Callable[[Params], Tensor], ...]]
    """the same batches with these targets exchanged between samples; NaN where the training step refuses them"""
    tries: int = 0
    """forward passes of one batch that `roles` takes at most; 0 where nothing can be a target"""

    @property
    def forward_passes(self) -> int:
        """Forward passes of one batch that the comparison takes at most; three cost about as much as a gradient."""
        return self.tries + (2 if self.tries else 1) * len(self.batches)


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
    frozen_since: Callable[[str], Params] | None = None
    """weights of the anchor of this name that are not trained now and had other values there; the losses take them
    beside those of `here`; None where all weights are trained"""
    held_out: Callable[[Params], Tensor] | None = None
    """the loss on the other half of the batches, to judge on what was not used to measure; None where there is none"""
    held_out_batches: int = 1
    """how many batches `held_out` averages over"""
    activations: Callable[[Params], Mapping[str, Activation]] | None = None
    """outputs of every activation layer, by the layer's name"""
    parts: tuple[Callable[[Params], Tensor], ...] = ()
    """`loss` one batch at a time, for trials that step as training does"""
    pairing: Pairing | None = None
    """`held_out` by batches, as it is and with targets beside other inputs; None where entries cannot be told apart"""
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
    """how many gradients of one batch a probe may take; None for no limit"""

    @property
    def batches(self) -> int:
        """How many batches `loss` averages over."""
        return max(1, len(self.parts))

    def measuring(self, evaluations: float) -> float:
        """Return the price of evaluating `loss` this often without a gradient, in gradients of one batch."""
        return evaluations * self.batches / 3

    def judging(self, evaluations: float) -> float:
        """Return the price of evaluating `held_out` this often without a gradient, in gradients of one batch."""
        return 0.0 if self.held_out is None else evaluations * self.held_out_batches / 3

    def on_first(self, batches: int) -> LossSurface:
        """Return the surface whose `loss` is the mean over the first of the batches only."""
        parts = self.parts[:batches]
        if len(parts) == len(self.parts):
            return self
        samples = round(self.batch_samples * len(parts))
        return replace(self, loss=lambda point: mean([part(point) for part in parts]), parts=parts, samples=samples)

    def affordable(self, wanted: int, price: float = 1.0, fixed: float = 0.0) -> int:
        """Return how many of the wanted steps `gradients` pays for.

        Args:
            wanted: steps, at most.
            price: gradients of one batch for each.
            fixed: gradients of one batch that are needed besides.
        """
        if self.gradients is None:
            return wanted
        return max(0, min(wanted, int((self.gradients - fixed) / price)))


def mean(losses: Sequence[Tensor]) -> Tensor:
    """Return the mean of 0-dim tensors."""
    return torch.stack(list(losses)).mean()


Probe: TypeAlias = Callable[[LossSurface], object | None]
"""A reading, or None where the probe has nothing to say about this surface.

It may have a method or an attribute `cost`, a function of the surface that returns how many gradients of one batch it
is going to take: a forward pass counts as a third, a Hessian-vector product as two. A probe whose cost is more than
`LossSurface.gradients` is left out, and one that takes over 20% more than it has said is ended. A probe without `cost`
may take what is left.
"""
P = TypeVar("P", bound=Callable[..., object])


def costs(cost: Callable[[LossSurface], float]) -> Callable[[P], P]:
    """Return a decorator that lets a function, as a probe, say what it takes.

    >>> @costs(lambda surface: surface.measuring(1))
    ... def loss_here(surface):
    ...     return surface.loss(surface.here)
    """

    def decorated(probe: P) -> P:
        probe.cost = cost  # type: ignore[attr-defined]
        return probe

    return decorated


def cost_of(probe: Probe, surface: LossSurface) -> float | None:
    """Return how many gradients of one batch a probe says that it will take; None where it does not say."""
    cost = getattr(probe, "cost", None)
    return None if cost is None else float(cost(surface))
