"""The extreme eigenvalues of the Hessian with error bounds, and stop rules for the Lanczos method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.functional.hessian.lanczos import Krylov, Stop, lanczos
from lightning_landscape.functional.hessian.operator import (
    DEFAULT_MEMORY,
    WORKING_VECTORS,
    Hessian,
    Losses,
    Method,
    Problem,
    affordable_vectors,
    random_direction,
)
from lightning_landscape.functional.hessian.products import with_fallback
from lightning_landscape.functional.hessian.self_checks import require_second_derivative
from lightning_landscape.surface import Params

NEGLIGIBLE = 1e-4
"""share of the largest absolute eigenvalue below which an eigenvalue counts as zero"""


@dataclass(frozen=True)
class Extremes:
    """The extreme eigenvalues of a Hessian as estimated by the Lanczos method."""

    lambda_min: float
    """estimate of the smallest eigenvalue, which is at most `lambda_min` plus `error`"""
    lambda_max: float
    """estimate of the largest eigenvalue, which is at least `lambda_max` minus `error`"""
    residual_min: float
    """an eigenvalue lies within this distance of `lambda_min`"""
    residual_max: float
    """an eigenvalue lies within this distance of `lambda_max`"""
    v_min: Params
    """unit vector along the smallest curvature"""
    v_max: Params
    """unit vector along the largest curvature"""
    ritz_values: tuple[float, ...]
    """all estimated eigenvalues, ascending; the outer ones are the most accurate"""
    residuals: tuple[float, ...]
    """an eigenvalue lies within this distance of each of `ritz_values`"""
    loss: float
    gradient: Params
    products: int
    """Hessian-vector products computed"""
    asymmetry: float
    """asymmetry of the operator relative to its size, see `Krylov.asymmetry`"""
    method: Method
    reason: str | None
    """why the preferred method, double backward through a retained graph, was not used; None if it was"""
    memory: int
    """bytes used for graphs and vectors"""

    @property
    def error(self) -> float:
        """Absolute error of the estimates due to errors of the products, in addition to the residuals."""
        return self.asymmetry * max(abs(self.lambda_min), abs(self.lambda_max))

    @property
    def negative(self) -> bool | None:
        """Whether the smallest eigenvalue is negative; None if residual and error leave its sign open."""
        if self.lambda_min + self.error < 0 and self.lambda_min + self.residual_min < 0:
            return True
        negligible = NEGLIGIBLE * max(abs(self.lambda_min), abs(self.lambda_max))
        return None if self.lambda_min - self.residual_min - self.error < -negligible else False


def estimated_errors(krylov: Krylov) -> Tensor:
    """Estimate the error of each Ritz value, (k,), as min(r, r²/gap) [Parlett98]_ with its residual r.

    The gap is the distance to the nearest other Ritz value, but at most a fifth of the value itself, because an
    eigenvalue that was not found yet may lie closer. The result is therefore an estimate and not a bound.

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
    """Return a rule that stops when λ_min and λ_max are known to this relative tolerance."""
    return _known(lambda k: (0, k - 1), tolerance)


def largest(count: int = 1, tolerance: float = 1e-2) -> Stop:
    """Return a rule that stops when the `count` largest eigenvalues are known to this relative tolerance."""
    return _known(lambda k: range(max(0, k - count), k), tolerance, count)


def smallest(count: int = 1, tolerance: float = 1e-2) -> Stop:
    """Return a rule that stops when the `count` smallest eigenvalues are known to this relative tolerance."""
    return _known(lambda k: range(min(count, k)), tolerance, count)


def sign_of_lambda_min(tolerance: float = 1e-2) -> Stop:
    """Return a rule that stops when both ends are known, or λ_max is known and λ_min is certainly negative.

    Known means: to this relative tolerance.
    """
    both = both_ends(tolerance)

    def enough(krylov: Krylov) -> bool:
        values, residuals = krylov.values.tolist(), krylov.residuals.tolist()
        negative = values[0] + residuals[0] < -krylov.asymmetry * krylov.scale
        return both(krylov) or (negative and residuals[-1] <= tolerance * abs(values[-1]))

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
    """Compute λ_min and λ_max of the Hessian with their directions by the Lanczos method [Ghorbani19]_.

    The start is the sum of the gradient's direction, along which the loss can be lowered, and a random one, which has
    components along all eigenvectors. If the loss cannot be differentiated twice, or if its second derivative fails a
    self-check, products are computed by finite differences of the gradient; `Extremes.method` and `Extremes.reason`
    then say so.

    >>> saddle = lambda p: 2 * p["x"] ** 2 - 2 * p["y"] ** 2
    >>> found = hessian_extremes(saddle, {"x": torch.tensor(0.0), "y": torch.tensor(0.0)})
    >>> round(found.lambda_min, 5), round(found.lambda_max, 5), found.negative
    (-4.0, 4.0, True)

    Args:
        loss: the loss on fixed data, or one loss for each batch.
        params: the point at which to compute the Hessian.
        weights: weights of the batches, such as their sizes; None for equal weights.
        iterations: largest number of products; it is reduced if their vectors would take more than half of `memory`.
        stop: a rule that is called after each product; None for ``both_ends(1e-2)``.
        memory: budget for graphs and vectors, in bytes.
        seed: of the random part of the start.
        gradient: computes the gradient of the loss, for losses through which autograd must not be used; products are
            then computed by finite differences of it.

    Raises:
        ValueError: if `iterations` is below 1.

    A `CurvatureError` is raised if a number is not finite, if the memory is too small, or if neither method gives a
    symmetric operator.

    .. [Ghorbani19] An investigation into neural net optimization via Hessian eigenvalue density, arXiv:1901.10159.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    steps = affordable_vectors(params, iterations, memory)
    rule = both_ends() if stop is None else stop
    problem = Problem.of(
        loss, params, weights=weights, memory=memory, vectors=steps + WORKING_VECTORS, gradient=gradient
    )
    return with_fallback(problem, lambda operator: _extremes(operator, problem, steps, rule, seed))


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
    """Return the sum of the gradient's direction and a random one, (n,); only the latter if the gradient is zero."""
    start = random_direction(operator.layout, seed)
    slope = operator.gradient.norm()
    return start + operator.gradient / slope if float(slope) > 0 else start


def _known(indices: Callable[[int], Sequence[int]], tolerance: float, fewest: int = 1) -> Stop:
    """Return a rule that stops after at least `fewest` products, if the Ritz values at ``indices(k)`` are known."""

    def enough(krylov: Krylov) -> bool:
        if len(krylov) < fewest:
            return False
        if krylov.off_diagonal[-1] == 0.0:
            return True
        values, errors = krylov.values.tolist(), estimated_errors(krylov).tolist()
        # For λ_max the residual is used, because two close eigenvalues look like one until both are resolved.
        errors[-1] = float(krylov.residuals[-1])
        floor = NEGLIGIBLE * max(map(abs, values))
        return all(errors[i] <= tolerance * max(abs(values[i]), floor) for i in indices(len(values)))

    return enough
