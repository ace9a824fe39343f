"""Curvature of a loss surface: both ends of the Hessian's spectrum, and the density of the whole spectrum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lightning_landscape.evidence import Curvature, Descent, Spectrum
from lightning_landscape.functional.hessian.density import spectral_density
from lightning_landscape.functional.hessian.extremes import Extremes, hessian_extremes, sign_of_lambda_min
from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.functional.hessian.operator import DEFAULT_MEMORY
from lightning_landscape.functional.hessian.trace import hessian_trace
from lightning_landscape.probes.evaluation import loss_value, norm, relative_gain, relative_gradient
from lightning_landscape.probes.trials import MIN_STEPS, run_trial
from lightning_landscape.surface import LossSurface, Params

DISTANCES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""distances along a direction at which the loss is evaluated, as shares of the weights' norm"""
WORTHWHILE_FALL = 0.05
"""fall of the held-out loss along a direction, as a share of the loss, above which a trial starts from there"""
MIN_PRODUCTS = 4
"""smallest number of Hessian-vector products; with fewer, neither end of the spectrum is found"""
FIXED_GRADIENTS = 5
"""gradients of each batch in addition to the products, to build and to check autograd graphs"""
BUDGET_SHARE = 0.5
"""largest share of the gradient budget for the products: more batches would make them more precise, but other probes
follow"""
RESERVED = 190
"""gradients that are left for a restart of 100 steps and one of 60, with their evaluations, which decide more often"""
TRIAL_STEPS = 40
"""steps of that trial, with the run's own optimizer from the lowest point along the direction"""


@dataclass(frozen=True)
class HessianExtremes:
    """Measure both ends of the Hessian's spectrum, and the loss along the eigenvector of the smallest eigenvalue.

    It takes at most `iterations` Hessian-vector products. Where the gradient budget is small, it uses fewer batches
    and, on a single batch, fewer products.
    """

    reading: ClassVar[type] = Curvature
    """class of its reading"""
    several_copies: ClassVar[bool] = True
    iterations: int = 20
    tolerance: float = 1e-2
    """relative; it stops when both eigenvalues are known to this tolerance, or when the largest is and the smallest is
    certainly negative"""
    memory: float = DEFAULT_MEMORY
    """largest number of bytes for graphs and vectors"""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")

    def __call__(self, surface: LossSurface) -> Curvature:
        """Return the eigenvalues and, where the smallest is negative, the loss along its eigenvector."""
        surface = self._on_affordable_batches(surface)
        extremes = self.extremes(surface)
        gradient_norm, weight_norm = norm(extremes.gradient), norm(surface.here)
        descent = None
        if extremes.lambda_min < 0:
            descent = losses_along(surface, extremes.v_min, distances_from(surface.here))
        followed = None
        if descent is not None and (descent.held_out_drop or 0.0) > WORTHWHILE_FALL * surface.height(extremes.loss):
            followed = _gain_from(surface, extremes.v_min, descent.distance)
        return Curvature(
            lambda_min=extremes.lambda_min,
            lambda_max=extremes.lambda_max,
            residual_min=extremes.residual_min,
            residual_max=extremes.residual_max,
            error=extremes.error,
            loss=extremes.loss,
            gradient_norm=gradient_norm,
            relative_gradient=relative_gradient(gradient_norm, weight_norm, surface.height(extremes.loss)),
            products=extremes.products,
            method=str(extremes.method),
            reason=extremes.reason,
            parameters=Layout.of(surface.here).size,
            samples=surface.run.samples,
            descent=descent,
            followed=followed,
            floor=surface.run.floor or 0.0,
        )

    def extremes(self, surface: LossSurface) -> Extremes:
        """Return the smallest and the largest eigenvalue with their eigenvectors."""
        return hessian_extremes(
            surface.loss,
            surface.here,
            iterations=self._products(surface),
            stop=sign_of_lambda_min(self.tolerance),
            memory=self.memory,
            seed=self.seed,
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the largest cost on this surface, in gradients of one batch."""
        surface = self._on_affordable_batches(surface)
        products = (FIXED_GRADIENTS + 2 * self._products(surface)) * surface.batches
        points = 2 * len(DISTANCES) + 1
        along = surface.loss_cost(points) + surface.held_out_cost(points)
        trial = 0.0
        if surface.held_out is not None and surface.run.optimizer_copy is not None:
            trial = surface.steps_within_budget(TRIAL_STEPS) + surface.held_out_cost(2)
        return products + along + trial

    def _products(self, surface: LossSurface) -> int:
        affordable = surface.steps_within_budget(
            self.iterations, 2 * surface.batches, FIXED_GRADIENTS * surface.batches
        )
        return max(min(MIN_PRODUCTS, self.iterations), affordable)

    def _on_affordable_batches(self, surface: LossSurface) -> LossSurface:
        """Return the surface on as many batches as the gradient budget allows, but at least one.

        At most `BUDGET_SHARE` of it may be used, and `RESERVED` gradients must be left.
        """
        budget = surface.run.gradient_budget
        if budget is None:
            return surface
        cost_per_batch = FIXED_GRADIENTS + 2 * self.iterations
        return surface.on_first(max(1, int(min(BUDGET_SHARE * budget, budget - RESERVED) / cost_per_batch)))


@dataclass(frozen=True)
class HessianSpectrum:
    """Measure the density of the Hessian's eigenvalues and its trace.

    It takes ``runs * iterations + products`` Hessian-vector products.
    """

    runs: int = 2
    """number of Lanczos runs that the density is averaged over"""
    iterations: int = 30
    """number of products in each run"""
    products: int = 32
    """number of products for the trace"""
    memory: float = DEFAULT_MEMORY
    """largest number of bytes for graphs and vectors"""
    seed: int = 0

    def __call__(self, surface: LossSurface) -> Spectrum:
        """Return the density and the trace, with its standard error."""
        density = spectral_density(
            surface.loss,
            surface.here,
            runs=self.runs,
            iterations=self.iterations,
            memory=self.memory,
            seed=self.seed,
        )
        trace = hessian_trace(surface.loss, surface.here, products=self.products, memory=self.memory, seed=self.seed)
        return Spectrum(
            nodes=density.nodes,
            weights=density.weights,
            trace=trace.value,
            trace_error=trace.error,
            share_negative=density.share_negative,
            products=density.products + trace.products,
            method=str(density.method),
            reason=density.reason,
            parameters=Layout.of(surface.here).size,
            samples=surface.run.samples,
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the cost on this surface, in gradients of one batch."""
        products = self.runs * self.iterations + self.products
        return (2 * FIXED_GRADIENTS + 2 * products) * surface.batches


def distances_from(here: Params) -> tuple[float, ...]:
    """Return the distances along a direction at which to evaluate the loss: ascending, on both sides of 0, with 0."""
    scale = max(norm(here), 1.0)
    ahead = [share * scale for share in DISTANCES]
    return (*(-distance for distance in reversed(ahead)), 0.0, *ahead)


@torch.no_grad()
def losses_along(surface: LossSurface, direction: Params, distances: Sequence[float]) -> Descent:
    """Return the loss and the held-out loss at each of these distances from the present weights along a direction."""
    layout = Layout.of(surface.here)
    here = layout.flatten(list(surface.here.values()))
    step = layout.flatten([direction[name] for name in layout.names])

    def along(loss: Callable[[Params], Tensor]) -> tuple[float, ...]:
        values = [loss(layout.named(here + step * distance)).detach() for distance in distances]
        return tuple(torch.stack(values).tolist())

    held_out = None if surface.held_out is None else along(surface.held_out)
    return Descent(tuple(distances), along(surface.loss), held_out)


def _gain_from(surface: LossSurface, direction: Params, distance: float) -> float | None:
    """Return the relative gain, on the held-out batches, of the run's own optimizer from a point along a direction.

    None where there are no held-out batches, the optimizer cannot be copied, or the gradient budget is too small.
    """
    steps = surface.steps_within_budget(TRIAL_STEPS)
    if surface.held_out is None or surface.run.optimizer_copy is None or steps < MIN_STEPS:
        return None
    start = {name: weight + distance * direction[name].to(weight) for name, weight in surface.here.items()}
    before = loss_value(surface.held_out, surface.here)
    with run_trial(surface, surface.run.optimizer_copy(1.0), steps, start=start) as last:
        return relative_gain(before, loss_value(surface.held_out, last), surface.height(before))
