"""Curvature of a loss surface: both ends of the spectrum, a way down, and the whole spectrum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.evidence import Curvature, Descent, Spectrum
from lightning_landscape.functional.hessian.density import spectral_density
from lightning_landscape.functional.hessian.extremes import Extremes, hessian_extremes, sign_of_lambda_min
from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.functional.hessian.operator import DEFAULT_MEMORY
from lightning_landscape.functional.hessian.trace import hessian_trace
from lightning_landscape.probes.trials import FEWEST, loss_value, relative_gain, walk
from lightning_landscape.surface import LossSurface, Params

REACH = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""distances along a direction as shares of the weights' norm"""
WAY_DOWN = 0.05
"""fall of the held-out loss, over the loss, from which on a direction is worth following"""
FEWEST_PRODUCTS = 4
"""below which neither end of a spectrum shows"""
SETTING_UP = 5
"""gradients on every batch besides the products: two graphs, of which one is checked, and a check of the products"""
SHARE = 0.5
"""of the gradients that are left, for the products: more batches make them more precise, and other probes follow"""
STEPS = 40
"""of the run's own optimizer, from the lowest point of a direction"""


@dataclass(frozen=True)
class HessianExtremes:
    """Both ends of the Hessian's spectrum and the loss along the lower one, for at most `iterations` products.

    Where the surface's `gradients` are few, the products are taken on fewer batches, and then there are fewer of them.
    """

    iterations: int = 20
    tolerance: float = 1e-2
    """relative; it stops when both ends are known to this, or the upper end is and the lower is certainly negative"""
    memory: float = DEFAULT_MEMORY
    """bytes"""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"iterations must be at least 1, got {self.iterations}")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance must lie between 0 and 1, got {self.tolerance}")

    def __call__(self, surface: LossSurface) -> Curvature:
        """Measure; the direction is judged on the surface's held-out batches."""
        surface = self._on_few_batches(surface)
        found = self.extremes(surface)
        norms = {name: _norm(params) for name, params in (("g", found.gradient), ("w", surface.here))}
        descent = None
        if found.lambda_min < 0:
            descent = losses_along(surface, found.v_min, reach(surface.here))
        followed = None
        if descent is not None and (descent.held_out_drop or 0.0) > WAY_DOWN * abs(found.loss):
            followed = _followed(surface, found.v_min, descent.distance)
        return Curvature(
            lambda_min=found.lambda_min,
            lambda_max=found.lambda_max,
            residual_min=found.residual_min,
            residual_max=found.residual_max,
            error=found.error,
            loss=found.loss,
            gradient_norm=norms["g"],
            relative_gradient=norms["g"] * max(norms["w"], 1.0) / abs(found.loss) if found.loss else float("inf"),
            products=found.products,
            method=str(found.method),
            reason=found.reason,
            parameters=Layout.of(surface.here).size,
            samples=surface.run.samples,
            descent=descent,
            followed=followed,
        )

    def extremes(self, surface: LossSurface) -> Extremes:
        """The same with the directions themselves."""
        return hessian_extremes(
            surface.loss,
            surface.here,
            iterations=self._products(surface),
            stop=sign_of_lambda_min(self.tolerance),
            memory=self.memory,
            seed=self.seed,
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface, at most."""
        surface = self._on_few_batches(surface)
        products = (SETTING_UP + 2 * self._products(surface)) * surface.batches
        points = 2 * len(REACH) + 1
        along = surface.measuring(points) + surface.judging(points)
        followed = 0.0
        if surface.held_out is not None and surface.run.optimizer_copy is not None:
            followed = surface.steps_within_budget(STEPS) + surface.judging(2)
        return products + along + followed

    def _products(self, surface: LossSurface) -> int:
        affordable = surface.steps_within_budget(self.iterations, 2 * surface.batches, SETTING_UP * surface.batches)
        return max(min(FEWEST_PRODUCTS, self.iterations), affordable)

    def _on_few_batches(self, surface: LossSurface) -> LossSurface:
        """The surface on as many batches as `SHARE` of its gradients pays for."""
        if surface.run.gradient_budget is None:
            return surface
        price = SETTING_UP + 2 * self.iterations
        return surface.on_first(max(1, int(SHARE * surface.run.gradient_budget / price)))


@dataclass(frozen=True)
class HessianSpectrum:
    """The density of the spectrum and the trace, for ``runs * iterations + products`` products."""

    runs: int = 2
    iterations: int = 30
    products: int = 32
    """for the trace"""
    memory: float = DEFAULT_MEMORY
    """bytes"""
    seed: int = 0

    def __call__(self, surface: LossSurface) -> Spectrum:
        """Measure."""
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
        """Return the gradients of one batch that it takes on this surface."""
        products = self.runs * self.iterations + self.products
        return (2 * SETTING_UP + 2 * products) * surface.batches


def reach(here: Params) -> tuple[float, ...]:
    """Distances on which to look at a direction, ascending, both ways and 0, scaled by the weights' norm."""
    size = max(_norm(here), 1.0)
    ahead = [share * size for share in REACH]
    return (*(-distance for distance in reversed(ahead)), 0.0, *ahead)


@torch.no_grad()
def losses_along(surface: LossSurface, direction: Params, distances: Sequence[float]) -> Descent:
    """The loss at each of `distances` along a direction, on the surface's batches and on its held-out ones."""
    layout = Layout.of(surface.here)
    here = layout.flatten(list(surface.here.values()))
    step = layout.flatten([direction[name] for name in layout.names])
    points = [layout.named(here + step * distance) for distance in distances]

    def along(loss: Callable[[Params], Tensor]) -> tuple[float, ...]:
        return tuple(torch.stack([loss(point).detach() for point in points]).tolist())

    held_out = None if surface.held_out is None else along(surface.held_out)
    return Descent(tuple(distances), along(surface.loss), held_out)


def _followed(surface: LossSurface, direction: Params, distance: float) -> float | None:
    """Gain of a step along the direction and the run's own optimizer from there, on batches not used to find it."""
    steps = surface.steps_within_budget(STEPS)
    if surface.held_out is None or surface.run.optimizer_copy is None or steps < FEWEST:
        return None
    start = {name: weight + distance * direction[name].to(weight) for name, weight in surface.here.items()}
    end, _ = walk(surface, start, surface.run.optimizer_copy(1.0), steps)
    return relative_gain(surface.held_out, end, loss_value(surface.held_out, surface.here))


def _norm(params: Params) -> float:
    return float(torch.stack([tensor.detach().float().norm() for tensor in params.values()]).norm())
