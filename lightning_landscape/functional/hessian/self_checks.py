"""Checks that an operator is the second derivative of the loss; each raises `SelfCheckFailed` if it is not."""

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
"""machine epsilon of the weights above which finite differences are too inaccurate for a check"""
AGREES = 0.05
"""relative difference between product and finite differences up to which the product is accepted"""


def require_second_derivative(operator: Hessian, problem: Problem, direction: Tensor, product: Tensor) -> None:
    """Compare the product with a direction (n,) to finite differences of the gradient.

    A backward function that treats something as a constant although it depends on the weights has a second derivative
    that is symmetric and wrong; a fused loss that saves its gradient is an example. Only the gradient reveals it.
    In most cases one gradient is enough. If it does not agree with the product, central differences are computed with
    three steps, and the product is rejected only if its difference from them stays the same. If it shrinks with the
    step, the product is right; if it varies, the loss has kinks (ReLU, max-pooling), between which the product is right
    as well. Weights in half precision are too coarse for finite differences, so nothing is checked for them.

    Raises:
        SelfCheckFailed: if the product differs from finite differences by the same amount for all steps.
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
            f"[LL403] the second derivative differs by {gap / max(scale, 1e-300):.2g} of its size from finite "
            "differences of the gradient; a custom autograd function in this loss does not differentiate twice"
        )


def require_symmetric(operator: Hessian, vector: Tensor, product: Tensor) -> None:
    """Compare |Hv|² with v·H(Hv), which are equal for a symmetric H, by one additional product.

    Raises:
        SelfCheckFailed: if they differ by more than 2%.
    """
    norm = float(product.norm())
    other = product / norm if norm > 0 else random_direction(operator.layout, seed=0)
    product_of_other = operator(other)
    gap = abs(float(other @ product - vector @ product_of_other))
    scale = norm + 1e-4 * float(product_of_other.norm() * vector.norm())
    if gap > 0.02 * scale:
        raise SelfCheckFailed(NOT_SYMMETRIC.format(gap / scale))


def require_constant_gradient(operator: Hessian, problem: Problem) -> None:
    """Check that the gradient is constant along a random direction, where double backward found H = 0.

    Raises:
        SelfCheckFailed: if the gradient changes, so that autograd has lost the second derivative.
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
