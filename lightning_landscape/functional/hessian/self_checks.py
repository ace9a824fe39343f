"""Is what claims to be a second derivative the derivative of the gradient? Each check refuses what is not."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from lightning_landscape.functional.hessian.differences import calibrated_step, gradient_map
from lightning_landscape.functional.hessian.differentiation import finite_differences
from lightning_landscape.functional.hessian.operator import (
    NOT_SYMMETRIC,
    Hessian,
    Method,
    Problem,
    SelfCheckFailed,
    random_direction,
)

HALF_PRECISION = 1e-4
"""rounding error above which weights are too coarse for differences"""
AGREES = 0.05
"""gap between product and differences, relative to the product, at which nothing more is asked"""


def require_second_derivative(operator: Hessian, problem: Problem, direction: Tensor, product: Tensor) -> None:
    """Compare the product with a direction (n,) to differences of the gradient, mostly at the price of one gradient.

    A backward with a constant in the place of something that depends on the weights (a fused loss that saves its own
    gradient, for one) gives a second derivative that is symmetric and wrong; only the gradient itself tells. Two
    derivatives of the same function come together as the distance shrinks, or jump about where it has kinks (ReLU,
    max-pooling: the exact one stands). Only a gap that stays the same is a proof. Weights with eight bits of mantissa
    are too coarse for differences, and nothing is compared.

    Raises:
        SelfCheckFailed: if the gap stays the same.
    """
    if operator.method is Method.DIFFERENCES or operator.layout.precision > HALF_PRECISION:
        return
    gradient_at = gradient_map(problem, operator.layout)
    _, here = problem.point()
    size, scale = max(1.0, float(here.norm())), float(product.norm())
    step = 1e-4 * size / float(direction.norm())
    one_sided = (gradient_at(here + direction * step) - operator.gradient) / step - product
    if float(one_sided.norm()) <= AGREES * scale:
        return
    gaps: list[Tensor] = []
    for share in (1e-3, 3e-4, 1e-4):
        gaps.append(finite_differences(gradient_at, here, share * size)(direction) - product)
        if float(gaps[-1].norm()) <= AGREES * scale:
            return
    gap = float(gaps[-1].norm())
    if max(float((first - second).norm()) for first, second in pairwise(gaps)) <= 0.1 * gap:
        raise SelfCheckFailed(
            f"[LL403] the second derivative is off by {gap / max(scale, 1e-300):.2g} of its size from differences of "
            "the gradient; a custom autograd function in this loss does not differentiate twice"
        )


def require_symmetric(operator: Hessian, vector: Tensor, product: Tensor) -> None:
    """Compare |Hv|² with v·H(Hv), at the price of one product.

    Raises:
        SelfCheckFailed: if they differ by more than 2%.
    """
    length = float(product.norm())
    other = product / length if length > 0 else random_direction(operator.layout, seed=0)
    reverse = operator(other)
    gap = abs(float(other @ product - vector @ reverse))
    scale = length + 1e-4 * float(reverse.norm() * vector.norm())
    if gap > 0.02 * scale:
        raise SelfCheckFailed(NOT_SYMMETRIC.format(gap / scale))


def require_constant_gradient(operator: Hessian, problem: Problem) -> None:
    """Believe that H = 0 only if the gradient stays the same along a random direction.

    Raises:
        SelfCheckFailed: if it does not: then autograd has lost the second derivative.
    """
    gradient_at = gradient_map(problem, operator.layout)
    _, here = problem.point()
    step, noise = calibrated_step(gradient_at, operator.layout, here, torch.zeros_like(here))
    change = finite_differences(gradient_at, here, step)(random_direction(operator.layout, seed=0)).norm()
    if float(change) > 10 * noise + 1e3 * operator.layout.precision * float(operator.gradient.norm()) / step:
        raise SelfCheckFailed(
            f"[LL403] by double backward H = 0, but the gradient changes by {float(change):.2g} per unit of distance; "
            "a custom autograd function in this loss does not differentiate twice"
        )
