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
    """places of the entries that are used in the loss only, not by the model: each is the indices, keys and attribute
    names that lead to the entry; empty where the loss depends on the inputs alone"""
    inputs_vary: bool = True
    """whether the inputs of different samples differ; True where that cannot be told"""


@dataclass(frozen=True)
class Pairing:
    """The held-out losses with the targets of other samples, to see whether the loss depends on the pairing."""

    paired_losses: tuple[Callable[[Params], Tensor], ...]
    """the loss on each held-out batch"""
    roles: Callable[[], Roles]
    """finds the targets among the entries of a batch"""
    mispaired_losses: Callable[[Sequence[tuple[Any, ...]]], tuple[Callable[[Params], Tensor], ...]]
    """the loss on each held-out batch with these targets exchanged between samples; NaN where the training step refuses
    such a batch"""
    tries: int = 0
    """most forward passes of one batch that `roles` needs; 0 where no entry can be a target"""

    @property
    def forward_passes(self) -> int:
        """Most forward passes of one batch that the comparison needs; three cost about as much as a gradient."""
        return self.tries + (2 if self.tries else 1) * len(self.paired_losses)


@dataclass(frozen=True)
class RunContext:
    """What a surface knows of the training run besides its loss; the defaults are those of a closed-form loss."""

    optimizer_copy: Callable[[float], Callable[[Params, Sequence[Tensor]], None]] | None = None
    """returns a copy of the run's optimizer with its learning rate times a factor; the copy moves a point in place,
    given the gradient there; None where the optimizer cannot be copied"""
    reinitialize: Callable[[int], Params] | None = None
    """returns weights drawn anew by the layers' own initialisation, by seed; None where a layer has none"""
    frozen_since: Callable[[str], Params] | None = None
    """returns the weights of the named anchor that are not trained now and had other values then; the losses accept
    them besides those of `here`; None where all weights are trained"""
    activations: Callable[[Params], Mapping[str, Activation]] | None = None
    """returns the outputs of every activation layer, by the layer's name"""
    weight_decay: float = 0.0
    """of the run's optimizer"""
    decoupled_decay: bool = False
    """whether the decay acts on the weights directly (AdamW) instead of through the gradient"""
    samples: int = 0
    """samples that `LossSurface.loss` averages over; 0 where unknown"""
    batch_samples: float = 0.0
    """samples in one batch, the harmonic mean where batches differ; 0 where unknown"""
    held_out_batches: int = 1
    """batches that `LossSurface.held_out` averages over"""
    gradient_budget: int | None = None
    """gradients of one batch that a probe may compute; None for no limit"""


@dataclass(frozen=True)
class LossSurface:
    """The loss on fixed batches, as a pure function of the parameters: all that a probe sees of a run.

    `module_surface` makes one of a LightningModule; for a closed-form loss it takes two lines. Gradients and
    Hessian-vector products of `loss` are computed as for any function of tensors:

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
    """the mean over the batches as a 0-dim tensor, twice differentiable where a parameter requires gradients; equal
    weights give bit-identical values"""
    here: Params
    """the present weights, detached"""
    anchors: Mapping[str, Params] = field(default_factory=dict)
    """other points of the run: "initial", "previous", "best", or the path of a checkpoint"""
    held_out: Callable[[Params], Tensor] | None = None
    """the loss on the other half of the batches, to evaluate on what was not used to measure; None without one"""
    batch_losses: tuple[Callable[[Params], Tensor], ...] = ()
    """`loss` one batch at a time, for trials that step as training does"""
    run: RunContext = field(default_factory=RunContext)
    """the run's optimizer, initialisation and activations, and how much a probe may compute"""
    pairing: Pairing | None = None
    """the held-out losses with other targets; None where the entries of a batch cannot be told apart"""

    @property
    def batches(self) -> int:
        """Number of batches that `loss` averages over."""
        return max(1, len(self.batch_losses))

    def measuring(self, evaluations: float) -> float:
        """Return the price of this many evaluations of `loss` without a gradient, in gradients of one batch."""
        return evaluations * self.batches / 3

    def judging(self, evaluations: float) -> float:
        """Return the price of this many evaluations of `held_out` without a gradient, in gradients of one batch."""
        return 0.0 if self.held_out is None else evaluations * self.run.held_out_batches / 3

    def on_first(self, batches: int) -> LossSurface:
        """Return the surface whose `loss` is the mean over the first `batches` batches only."""
        losses = self.batch_losses[:batches]
        if len(losses) == len(self.batch_losses):
            return self
        run = replace(self.run, samples=round(self.run.batch_samples * len(losses)))
        return replace(self, loss=lambda point: mean([loss(point) for loss in losses]), batch_losses=losses, run=run)

    def with_budget(self, gradients: int | None) -> LossSurface:
        """Return the same surface for a probe that may compute this many gradients; None for no limit."""
        return replace(self, run=replace(self.run, gradient_budget=gradients))

    def steps_within_budget(self, steps: int, price: float = 1.0, fixed: float = 0.0) -> int:
        """Return how many of `steps` steps the gradient budget covers.

        Args:
            steps: the number of steps that are wanted.
            price: gradients of one batch for each step.
            fixed: gradients of one batch that are needed besides.
        """
        if self.run.gradient_budget is None:
            return steps
        return max(0, min(steps, int((self.run.gradient_budget - fixed) / price)))


def mean(losses: Sequence[Tensor]) -> Tensor:
    """Return the mean of 0-dim tensors."""
    return torch.stack(list(losses)).mean()


Probe: TypeAlias = Callable[[LossSurface], object | None]
"""A reading, or None where the probe has nothing to say about this surface.

It may have a method or an attribute `cost`, a function of the surface that returns how many gradients of one batch it
is going to take: a forward pass counts as a third, a Hessian-vector product as two. A probe whose cost is more than the
budget that is left (`RunContext.gradient_budget`) is left out, and one that takes over 20% more than it has said is
ended. A probe without `cost` may take what is left.
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
