"""Both ends of the Hessian's spectrum, with residuals, and the rules for when they are known well enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional.hessian.lanczos import Krylov, Stop, lanczos
from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.functional.hessian.operator import (
    DEFAULT_MEMORY,
    Hessian,
    Losses,
    Method,
    Problem,
    random_direction,
)
from lightning_landscape.functional.hessian.products import with_fallback
from lightning_landscape.functional.hessian.self_checks import require_second_derivative
from lightning_landscape.surface import Params

FEWEST_STEPS = 4
WORKING_VECTORS = 14
"""beyond the basis: weights, gradients of the batches, product, remainder, their like in the parameters' shapes"""
NEGLIGIBLE = 1e-4
"""eigenvalues below this share of the largest count as zero when a rule asks for relative accuracy"""


@dataclass(frozen=True)
class Extremes:
    """The two ends of the spectrum as Lanczos found them, and how."""

    lambda_min: float
    """never below the true one, but for the error of the products"""
    lambda_max: float
    """never above the true one, but for the error of the products"""
    residual_min: float
    """an eigenvalue lies within this distance of `lambda_min`"""
    residual_max: float
    v_min: Params
    """unit vector along the smallest curvature"""
    v_max: Params
    ritz_values: tuple[float, ...]
    """ascending; the outer ones approximate eigenvalues"""
    residuals: tuple[float, ...]
    """for each of `ritz_values`"""
    loss: float
    gradient: Params
    products: int
    asymmetry: float
    """see `Krylov.asymmetry`"""
    method: Method
    reason: str | None
    """why products were not taken by double backward through a retained graph; None where they were"""
    memory: int
    """bytes kept for graphs and vectors"""

    @property
    def error(self) -> float:
        """Absolute error of the products themselves, on top of the residuals."""
        return self.asymmetry * max(abs(self.lambda_min), abs(self.lambda_max))

    @property
    def degenerate(self) -> bool:
        """Whether no curvature was found at all: H = 0, so that second order cannot tell what this point is."""
        return self.lambda_min == 0.0 == self.lambda_max

    @property
    def negative(self) -> bool | None:
        """Whether the smallest curvature is below zero; None while the residual leaves the sign open."""
        if self.lambda_min + self.error < 0 and (self.lambda_min + self.residual_min < 0 or self.residual_min == 0):
            return True
        return None if self.lambda_min - self.residual_min - self.error < -NEGLIGIBLE * self.lambda_max else False


def estimated_errors(krylov: Krylov) -> Tensor:
    """Estimated error of each Ritz value, (k,): min(r, r²/gap) [Parlett98]_, with the gaps of the Ritz values.

    An estimate, not a bound: the gap to the nearest eigenvalue that was not found yet is unknown, and taken to be a
    fifth of the value at most.

    .. [Parlett98] The Symmetric Eigenvalue Problem, SIAM, theorem 11.7.1.
    """
    values, residuals = krylov.values, krylov.residuals
    if len(values) == 1:
        return residuals
    distance = (values[1:] - values[:-1]).abs()
    infinite = distance.new_tensor([float("inf")])
    gaps = torch.minimum(torch.cat([infinite, distance]), torch.cat([distance, infinite]))
    gaps = torch.minimum(gaps, 0.2 * values.abs())
    return torch.minimum(residuals, residuals.square() / gaps.clamp_min(1e-300))


def both_ends(tolerance: float = 1e-2) -> Stop:
    """Enough when λ_min and λ_max are known to this relative tolerance."""
    return _known(lambda k: (0, k - 1), tolerance)


def largest(count: int = 1, tolerance: float = 1e-2) -> Stop:
    """Enough when the `count` largest eigenvalues are known to this relative tolerance."""
    return _known(lambda k: range(max(0, k - count), k), tolerance, count)


def smallest(count: int = 1, tolerance: float = 1e-2) -> Stop:
    """Enough when the `count` smallest eigenvalues are known to this relative tolerance."""
    return _known(lambda k: range(min(count, k)), tolerance, count)


def sign_of_lambda_min(tolerance: float = 1e-2) -> Stop:
    """Enough when λ_max is known to this tolerance and λ_min is certainly negative, or both ends are known."""
    both = both_ends(tolerance)

    def enough(krylov: Krylov) -> bool:
        values, residuals = krylov.values.tolist(), krylov.residuals.tolist()
        certain = values[0] + residuals[0] < -krylov.asymmetry * krylov.scale

        return both(krylov) or (certain and residuals[-1] <= tolerance * abs(values[-1]))

    return enough


def hessian_extremes(
    loss: Losses,
    params: Params,
    *,
    weights: Sequence[float] | None = None,
    iterations: int = 30,
    stop: Stop | None = None,
    memory: float = DEFAULT_MEMORY,
    seed: int = 0,
    gradient: Callable[[Params], Params] | None = None,
) -> Extremes:
    """λ_min and λ_max of the Hessian with their directions, by at most `iterations` Lanczos products [Ghorbani19]_.

    It starts from the gradient and a seeded random direction in equal parts: the gradient points where the loss can be
    lowered, the random part sees every eigenvector. `stop` (default ``both_ends(1e-2)``) says when it is enough. A
    loss that cannot be differentiated twice, or whose second derivative turns out not to be symmetric, is measured by
    finite differences, and `method` says so.

    >>> saddle = lambda p: 2 * p["x"] ** 2 - 2 * p["y"] ** 2
    >>> found = hessian_extremes(saddle, {"x": torch.tensor(0.0), "y": torch.tensor(0.0)})
    >>> round(found.lambda_min, 5), round(found.lambda_max, 5), found.negative
    (-4.0, 4.0, True)

    Args:
        loss: the loss on fixed data, or one for each batch with `weights` (their sizes).
        params: the point.
        weights: share of each batch; equal without.
        iterations: most products to take; fewer where their vectors take more than half of `memory`.
        stop: asked after each product.
        memory: bytes for graphs and vectors.
        seed: of the random part of the start.
        gradient: for losses whose gradient is not to be taken by autograd: products by finite differences of it.

    A `ValueError` is raised for `iterations` below 1; a `CurvatureError` if a number is not finite, the memory is too
    small, or no way gives a symmetric operator.

    .. [Ghorbani19] An investigation into neural net optimization via Hessian eigenvalue density, arXiv:1901.10159.
    """
    steps = affordable_steps(params, iterations, memory)
    rule = both_ends() if stop is None else stop
    problem = Problem.of(
        loss, params, weights=weights, memory=memory, vectors=steps + WORKING_VECTORS, gradient=gradient
    )
    return with_fallback(problem, lambda operator: _extremes(operator, problem, steps, rule, seed))


def affordable_steps(params: Params, iterations: int, memory: float) -> int:
    """How many Lanczos steps to take: no more than there are parameters, their vectors in half of `memory` bytes.

    Raises:
        ValueError: if `iterations` is below 1.
        CurvatureError: if not even four fit.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    layout = Layout.of(params)
    steps = min(iterations, layout.size)
    affordable = int(memory / 2 / layout.vector_bytes) - WORKING_VECTORS
    if affordable < min(steps, FEWEST_STEPS):
        needed = 2 * (min(steps, FEWEST_STEPS) + WORKING_VECTORS) * layout.vector_bytes / 2**20
        raise CurvatureError(
            f"[LL406] the memory budget of {memory / 2**20:.3g} MiB is too small for Lanczos on {layout.size} "
            f"parameters: {needed:.3g} MiB would do"
        )
    return min(steps, affordable)


def _extremes(operator: Hessian, problem: Problem, steps: int, stop: Stop, seed: int) -> Extremes:
    krylov = lanczos(operator, starting_vector(operator, seed), steps, stop=stop, noise=operator.noise, seed=seed + 1)
    operator.require_symmetry(krylov.asymmetry)
    values, residuals = krylov.values.tolist(), krylov.residuals.tolist()
    both = krylov.vector(0) + krylov.vector(-1)
    require_second_derivative(operator, problem, both, krylov.image(0) + krylov.image(-1))
    return Extremes(
        lambda_min=values[0],
        lambda_max=values[-1],
        residual_min=residuals[0],
        residual_max=residuals[-1],
        v_min=operator.layout.named(krylov.vector(0)),
        v_max=operator.layout.named(krylov.vector(-1)),
        ritz_values=tuple(values),
        residuals=tuple(residuals),
        loss=operator.loss,
        gradient=operator.layout.named(operator.gradient),
        products=operator.products,
        asymmetry=krylov.asymmetry,
        method=operator.method,
        reason=operator.reason,
        memory=operator.graph_bytes + (len(krylov) + WORKING_VECTORS) * operator.layout.vector_bytes,
    )


def starting_vector(operator: Hessian, seed: int) -> Tensor:
    """The gradient's direction and a random one in equal parts; only the random one where the gradient is zero."""
    start = random_direction(operator.layout, seed)
    slope = operator.gradient.norm()
    return start + operator.gradient / slope if float(slope) > 0 else start


def _known(indices: Callable[[int], Sequence[int]], tolerance: float, fewest: int = 1) -> Stop:
    def enough(krylov: Krylov) -> bool:
        if len(krylov) < fewest:
            return False
        if krylov.off_diagonal[-1] == 0.0:
            return True
        values, errors = krylov.values.tolist(), estimated_errors(krylov).tolist()
        # Not its estimate but its residual: two close eigenvalues at the top look like one until both are resolved.
        errors[-1] = float(krylov.residuals[-1])
        floor = NEGLIGIBLE * max(map(abs, values))
        return all(errors[i] <= tolerance * max(abs(values[i]), floor) for i in indices(len(values)))

    return enough
