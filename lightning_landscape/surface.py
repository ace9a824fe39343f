"""`LossSurface`: the loss of a training run as a function of its parameters, and all that a probe sees of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor

from lightning_landscape.observations import Activation, Replay, SeenOutputs
from lightning_landscape.trace import Trace

Params: TypeAlias = Mapping[str, Tensor]
"""A point in parameter space: tensors by the names of ``module.named_parameters()``; tied weights appear once."""
OptimizerStep: TypeAlias = Callable[[Params, Sequence[Tensor]], None]
"""Takes a point and the gradient there, and moves the tensors of the point in place by one optimizer step. It keeps the
optimizer's state from call to call, so every call must pass the same point."""


@dataclass(frozen=True)
class Roles:
    """Which entries of a batch are targets, and whether the inputs vary."""

    targets: tuple[tuple[Any, ...], ...]
    """paths to the entries that the training step uses in the loss but does not pass to the model; a path is the
    indices, keys and attribute names that lead to the entry, such as ``(1, "label")``; empty where there is no such
    entry"""
    inputs_vary: bool = True
    """whether the inputs of different samples differ; True where this cannot be determined"""


@dataclass(frozen=True)
class Pairing:
    """The losses needed to test whether the loss depends on which input comes with which target."""

    paired_losses: tuple[Callable[[Params], Tensor], ...]
    """the loss on each held-out batch"""
    roles: Callable[[], Roles]
    """finds the targets among the entries of a batch"""
    mispaired_losses: Callable[[Sequence[tuple[Any, ...]]], tuple[Callable[[Params], Tensor], ...]]
    """takes the paths of the targets, and returns the loss on each held-out batch with these targets exchanged between
    samples; a loss is NaN where the training step fails on such a batch"""
    tries: int = 0
    """largest number of forward passes of one batch that `roles` needs; 0 where no entry can be a target"""

    @property
    def forward_passes(self) -> int:
        """Largest number of forward passes of one batch that the test needs; three cost about as much as a gradient."""
        return self.tries + (2 if self.tries else 1) * len(self.paired_losses)


@dataclass(frozen=True)
class RunContext:
    """Facts about the training run behind a surface; the defaults describe a function without a run."""

    optimizer_copy: Callable[[float], OptimizerStep] | None = None
    """takes a factor for the learning rate, and returns the step of a copy of the run's optimizer with its present
    state; None where the optimizer cannot be copied"""
    fresh_optimizer: Callable[[float], OptimizerStep] | None = None
    """takes a factor for the learning rate, and returns the step of a copy of the run's optimizer with an empty state.
    Factor 1 is the rate that the run has used most, not one that was decayed since; None where the optimizer cannot be
    copied"""
    reinitialize: Callable[[int], Params] | None = None
    """takes a seed, and returns new initial weights, drawn as the layers' ``reset_parameters`` draws them; None where
    weights cannot be drawn"""
    anchor_steps: Mapping[str, int] = field(default_factory=dict)
    """optimizer steps of those anchors whose step is known, by the names in `LossSurface.anchors`; "initial" has 0"""
    frozen_since: Callable[[str], Params] | None = None
    """takes the name of an anchor, and returns those weights of it that have changed since and require no gradient now;
    the losses accept them in addition to the parameters of `LossSurface.here`; None where there are no such weights"""
    activations: Callable[[Params], Mapping[str, Activation]] | None = None
    """takes a point, evaluates the loss there, and returns the outputs of every activation layer by the layer's name;
    None where there is no module"""
    trace: Callable[[], Trace] | None = None
    """evaluates one batch at the present weights, and returns the operations of the training step; None where there is
    no module, or where it cannot be traced"""
    entries: Callable[[], Sequence[Mapping[tuple[Any, ...], Tensor]]] | None = None
    """returns the tensors of each captured batch by their paths, as in `Roles`, in the order of the batches; they must
    not be changed in place; None where there are no batches"""
    first_layer_input: Callable[[Params], tuple[str, Activation] | None] | None = None
    """takes a point, evaluates the loss of one batch there, and returns the name and kind of the first layer with
    weights, with the numbers that it receives; None where there is no module, or no such layer"""
    replays: tuple[Callable[[Params], Replay], ...] = ()
    """for each captured batch, held-out ones included, a function that evaluates the training step at a point and finds
    what made the first value that is not finite; empty where there is no module. Each call costs one gradient, and a
    second one if the loss or its gradient is not finite"""
    outputs: Callable[[Params], SeenOutputs] | None = None
    """takes a point, evaluates the loss of the first two batches there, and returns what is seen of the outputs; None
    where there is no module"""
    lowest_loss: Callable[[Params], float | None] | None = None
    """takes a point, and returns the lowest loss of the first batch if the outputs of the layers next to the loss could
    take any values; -inf if it has no lowest value; None where that was not found, or where there is no module"""
    floor: float | None = None
    """the lowest possible loss, from which shares of a loss are measured; None where it was not looked for"""
    weight_decay: float = 0.0
    """weight decay of the run's optimizer; the largest where it has several"""
    decoupled_decay: bool = False
    """whether the decay shrinks the weights directly (AdamW) instead of being added to the gradient"""
    samples: int = 0
    """number of samples that `LossSurface.loss` averages over; 0 where unknown"""
    batch_samples: float = 0.0
    """number of samples in one batch, the harmonic mean where batches differ; 0 where unknown"""
    held_out_batches: int = 1
    """number of batches that `LossSurface.held_out` averages over"""
    kept: MutableMapping[str, Any] | None = None
    """what probes keep for the next diagnosis of the same plateau, each under a name of its own: builtins and tensors
    on the CPU, which go into checkpoints; None where nothing can be kept"""
    gradient_budget: int | None = None
    """number of gradients of one batch that the probe may compute; None for no limit"""
    restart_order: tuple[str, ...] = ("own", "tenth", "hundredth", "adam")
    """kinds of restarts, named like the fields of `Restart`, those first that can decide most after what is known;
    "usual_rate" only if the learning-rate schedule has come to an end"""


@dataclass(frozen=True)
class LossSurface:
    """The loss on fixed batches as a pure function of the parameters; a probe takes one and returns a reading.

    `module_surface` makes one from a LightningModule. For a loss in closed form, pass a function and a point. Gradients
    and Hessian-vector products of `loss` are computed as for any function of tensors:

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
    """takes a point with the names of `here`, and returns the mean loss over the batches as a 0-dim tensor. It can be
    differentiated twice with respect to the tensors that require gradients; equal points give bit-identical losses"""
    here: Params
    """the present weights of the run; they require no gradient and must not be changed in place"""
    anchors: Mapping[str, Params] = field(default_factory=dict)
    """earlier points of the run by name: "initial", "previous", "best", or the path of a checkpoint file"""
    held_out: Callable[[Params], Tensor] | None = None
    """mean loss over the held-out batches, on which `loss` does not depend. What a probe has found with `loss`, such as
    a better point, it evaluates here, so that a fit to the batches is not mistaken for progress; None where the run has
    kept only one batch"""
    batch_losses: tuple[Callable[[Params], Tensor], ...] = ()
    """the loss on each single batch that `loss` averages over, for optimizer steps on one batch at a time as in
    training; empty where `loss` cannot be split"""
    held_out_losses: tuple[Callable[[Params], Tensor], ...] = ()
    """the loss on each single batch that `held_out` averages over; empty where it cannot be split"""
    run: RunContext = field(default_factory=RunContext)
    """the run's optimizer, initialization and activations, and the gradients that the probe may compute"""
    pairing: Pairing | None = None
    """the held-out losses with targets exchanged between samples; None where a batch cannot be split into entries"""

    @property
    def batches(self) -> int:
        """Number of batches that `loss` averages over; 1 where `batch_losses` is empty."""
        return max(1, len(self.batch_losses))

    def loss_cost(self, evaluations: float) -> float:
        """Return the cost of this many evaluations of `loss` without a gradient, in gradients of one batch."""
        return evaluations * self.batches / 3

    def held_out_cost(self, evaluations: float) -> float:
        """Return the cost of this many evaluations of `held_out` without a gradient, in gradients of one batch."""
        return 0.0 if self.held_out is None else evaluations * self.run.held_out_batches / 3

    def on_first(self, batches: int) -> LossSurface:
        """Return the surface whose `loss` is the mean over the first `batches` batches only."""
        losses = self.batch_losses[:batches]
        if len(losses) == len(self.batch_losses):
            return self
        run = replace(self.run, samples=round(self.run.batch_samples * len(losses)))
        return replace(self, loss=lambda point: mean([loss(point) for loss in losses]), batch_losses=losses, run=run)

    def height(self, loss: float) -> float:
        """Return the distance of a loss from the floor; never negative."""
        return abs(loss - (self.run.floor or 0.0))

    def with_floor(self, floor: float | None) -> LossSurface:
        """Return the same surface with another `RunContext.floor`; None where it was not looked for."""
        return replace(self, run=replace(self.run, floor=floor))

    def with_budget(self, gradients: int | None) -> LossSurface:
        """Return the same surface with another `RunContext.gradient_budget`; None for no limit."""
        return replace(self, run=replace(self.run, gradient_budget=gradients))

    def steps_within_budget(self, steps: int, cost: float = 1.0, fixed: float = 0.0) -> int:
        """Return the number of steps that the gradient budget allows, at most `steps`.

        Args:
            steps: number of steps without a limit.
            cost: cost of one step, in gradients of one batch.
            fixed: cost of all other work, in gradients of one batch.
        """
        if self.run.gradient_budget is None:
            return steps
        return max(0, min(steps, int((self.run.gradient_budget - fixed) / cost)))


def mean(losses: Sequence[Tensor]) -> Tensor:
    """Return the mean of 0-dim tensors, of which there must be at least one."""
    return torch.stack(list(losses)).mean()


Probe: TypeAlias = Callable[[LossSurface], object | None]
"""A function that takes a `LossSurface` and returns a reading, or None where the surface lacks what it needs.

It may have a method or an attribute `cost`, a function that takes the surface and returns the work that the probe is
about to do, in gradients of one batch: a forward pass counts as a third, a Hessian-vector product as two. A probe whose
cost exceeds the remaining budget (`RunContext.gradient_budget`) is postponed or skipped, and a probe is stopped once
its work exceeds its cost by more than 20%. A probe without `cost` may use the whole remaining budget.
"""
ProbeFunction = TypeVar("ProbeFunction", bound=Callable[..., object])


def costs(cost: Callable[[LossSurface], float]) -> Callable[[ProbeFunction], ProbeFunction]:
    """Return a decorator that sets the attribute `cost` of a probe; see `Probe`.

    >>> @costs(lambda surface: surface.loss_cost(1))
    ... def loss_here(surface):
    ...     return surface.loss(surface.here)
    """

    def decorated(probe: ProbeFunction) -> ProbeFunction:
        probe.cost = cost  # type: ignore[attr-defined]
        return probe

    return decorated


def cost_of(probe: Probe, surface: LossSurface) -> float | None:
    """Return the cost of a probe on this surface, in gradients of one batch; None for a probe without `cost`."""
    cost = getattr(probe, "cost", None)
    return None if cost is None else float(cost(surface))
