"""`LossSurface`: the loss of a training run as a function of its parameters, and all that a probe sees of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from lightning_landscape.run_context import OptimizerStep as OptimizerStep
from lightning_landscape.run_context import Pairing as Pairing
from lightning_landscape.run_context import Params as Params
from lightning_landscape.run_context import Roles as Roles
from lightning_landscape.run_context import RunContext as RunContext

LARGE_WEIGHTS = 256 * 2**20
"""bytes of weights above which probes leave out what needs further copies of them: 64 million parameters of 32 bits,
whose usual diagnosis would take 2 GiB more"""


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
    """the present weights of the run; they require no gradient and must not be changed in place. In a run they may be
    the tensors that are trained; `working_copy` lends tensors that may be changed"""
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

    @contextmanager
    def working_copy(self, start: Params | None = None) -> Iterator[dict[str, Tensor]]:
        """Lend a point that may be moved in place: the only copy of the weights that probes need at a time.

        While it is lent, an evaluation at `here` takes memory for another copy.

        Args:
            start: its values at the beginning, for any of the parameters; None for `here`.

        Yields:
            the point, which must not be used after the ``with`` block
        """
        lent = self.run.lent_weights or self._copied
        with lent() as point:
            if start is not None:
                with torch.no_grad():
                    for name, weight in start.items():
                        point[name].copy_(weight)
            yield point

    @contextmanager
    def at_anchor(self, name: str) -> Iterator[Params]:
        """Lend the weights of an anchor in a working copy.

        Args:
            name: of the anchor.

        Yields:
            the point; it includes weights that were changed since and are frozen now
        """
        with self.working_copy(self.anchors[name]) as point:
            yield point if self.run.frozen_since is None else {**point, **self.run.frozen_since(name)}

    @contextmanager
    def _copied(self) -> Iterator[dict[str, Tensor]]:
        yield {name: weight.detach().clone() for name, weight in self.here.items()}

    @property
    def weights_bytes(self) -> int:
        """Bytes that the weights take; every further copy of them takes as much memory on the device."""
        return sum(weight.numel() * weight.element_size() for weight in self.here.values())

    @property
    def large(self) -> bool:
        """Whether the weights take so much memory that probes leave out what needs more than one copy of them."""
        return self.weights_bytes > LARGE_WEIGHTS

    @property
    def has_room_for_adam(self) -> bool:
        """Whether the state of a new Adam takes no more memory than that of the run's own optimizer, or little."""
        return not self.large or self.run.optimizer_bytes >= 1.9 * self.weights_bytes

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

    def with_copied_weights(self) -> LossSurface:
        """Return the same surface with a copy of `here`, for probes that may not know that they must not change it."""
        return replace(self, here={name: weight.detach().clone() for name, weight in self.here.items()})

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


def several_copies(probe: ProbeFunction) -> ProbeFunction:
    """Mark a probe that needs memory for several copies of the weights, so that it is left out where they are large.

    A probe that is a class says so with an attribute ``several_copies = True``.
    """
    probe.several_copies = True  # type: ignore[attr-defined]
    return probe


def cost_of(probe: Probe, surface: LossSurface) -> float | None:
    """Return the cost of a probe on this surface, in gradients of one batch; None for a probe without `cost`."""
    cost = getattr(probe, "cost", None)
    return None if cost is None else float(cost(surface))
