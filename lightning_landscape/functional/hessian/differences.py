"""The Hessian by finite differences of the gradient, for losses that cannot be differentiated twice."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional.hessian.differentiation import (
    Product,
    evaluate,
    finite_differences,
    first_derivative,
    forward_bytes,
    leaves_of,
    twice_differentiable,
)
from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.functional.hessian.operator import (
    Hessian,
    Method,
    Problem,
    first_line,
    random_direction,
    require_same_gradient,
)

PASS = 5
"""memory of one gradient, as a multiple of what autograd saves in the forward pass (measured: 4 to 5)"""
HALVINGS = 8
"""how often the step of the differences is halved at most"""
GOOD_ENOUGH = 1e-3
"""relative change of a product under halving of the step, below which no smaller step is tried"""


def approximate_hessian(problem: Problem, reason: str) -> Hessian:
    """Return the operator of central differences of the gradient, with a calibrated step.

    Args:
        problem: the loss and the point.
        reason: why differences are used, for users to read.

    Raises:
        CurvatureError: if the gradient of one batch takes more than the memory.
    """
    layout, here = problem.point()
    leaves = leaves_of(problem.params)
    passes = [forward_bytes(batch, layout, leaves) for batch in problem.batches]
    memory = PASS * max(saved for _, saved in passes)
    if memory > problem.graph_memory:
        # Vectors take at most half of the memory, so twice the memory of a gradient is always enough.
        raise CurvatureError(
            f"[LL406] the memory budget leaves {problem.graph_memory / 2**20:.3g} MiB for graphs, too small for one "
            f"product: {2 * memory / 2**20:.3g} MiB in all would do"
        )
    gradient_at = gradient_map(problem, layout)
    gradient = gradient_at(here)
    layout.require_finite(gradient, "the gradient")
    require_same_gradient(gradient, gradient_at(here))
    step, noise = calibrated_step(gradient_at, layout, here, gradient)
    product = finite_differences(gradient_at, here, step)
    loss = sum(batch.weight * value for batch, (value, _) in zip(problem.batches, passes, strict=True))
    return Hessian(layout, loss, gradient, product, Method.DIFFERENCES, reason, noise, memory)


def gradient_map(problem: Problem, layout: Layout) -> Product:
    """Return the function that maps flat weights (n,) to the gradient (n,)."""
    leaves = leaves_of(problem.params)

    def gradient_at(point: Tensor) -> Tensor:
        with torch.no_grad():
            for leaf, value in zip(leaves, layout.unflatten(point), strict=True):
                leaf.copy_(value)
        if problem.gradient is not None:
            given = problem.gradient(dict(zip(layout.names, leaves, strict=True)))
            return layout.flatten([given[name] for name in layout.names])
        total = torch.zeros(layout.size, dtype=layout.dtype, device=layout.device)
        for batch in problem.batches:
            with twice_differentiable(layout.device):
                value = evaluate(batch.loss, layout, leaves)
                try:
                    part = first_derivative(value, leaves)
                except RuntimeError as error:
                    raise CurvatureError(
                        f"[LL405] this loss has no gradient by autograd: {first_line(error)}"
                    ) from error
            total.add_(layout.flatten(part), alpha=batch.weight)
        return total

    return gradient_at


def calibrated_step(gradient_at: Product, layout: Layout, here: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Return a step for central differences, and the absolute error of the product with a unit vector at this step.

    With every halving of the step, the truncation error falls by a factor of 4 and the rounding error doubles. The best
    step lies between, where halving changes the product least. At kinks of the loss (ReLU, max-pooling) differences
    have an additional error, which is included because the product then keeps changing from step to step.
    """
    slope = float(gradient.norm())
    direction = gradient / slope if slope > 0 else random_direction(layout, seed=0)
    step = 2e-2 * max(1.0, float(here.norm()))
    coarse = finite_differences(gradient_at, here, step)(direction)
    best = (step, float("inf"))
    for _ in range(HALVINGS):
        step /= 2
        fine = finite_differences(gradient_at, here, step)(direction)
        change = float((fine - coarse).norm())
        best = min(best, (step, change), key=lambda pair: pair[1])
        if change <= GOOD_ENOUGH * float(fine.norm()):
            break
        coarse = fine
    rounding = layout.precision * slope / best[0]
    return best[0], max(best[1], rounding)
