"""Curvature of a loss surface: both ends of the spectrum, a way down, and the whole spectrum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.evidence import Curvature, Descent, Spectrum
from lightning_landscape.functional.density import spectral_density
from lightning_landscape.functional.extremes import Extremes, hessian_extremes, sign_of_lambda_min
from lightning_landscape.functional.layout import Layout
from lightning_landscape.functional.operator import DEFAULT_MEMORY
from lightning_landscape.functional.trace import hessian_trace
from lightning_landscape.surface import LossSurface, Params

REACH = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
"""distances along a direction as shares of the weights' norm"""


@dataclass(frozen=True)
class HessianExtremes:
    """Both ends of the Hessian's spectrum and the loss along the lower one, for at most `iterations` products."""

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
        found = self.extremes(surface)
        norms = {name: _norm(params) for name, params in (("g", found.gradient), ("w", surface.here))}
        descent = None
        if found.lambda_min < 0:
            descent = losses_along(surface, found.v_min, reach(surface.here))
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
            samples=surface.samples,
            descent=descent,
        )

    def extremes(self, surface: LossSurface) -> Extremes:
        """The same with the directions themselves."""
        return hessian_extremes(
            surface.loss,
            surface.here,
            iterations=self.iterations,
            stop=sign_of_lambda_min(self.tolerance),
            memory=self.memory,
            seed=self.seed,
        )


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
            samples=surface.samples,
        )


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


def _norm(params: Params) -> float:
    return float(torch.stack([tensor.detach().float().norm() for tensor in params.values()]).norm())
