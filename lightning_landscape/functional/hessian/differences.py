"""The Hessian by finite differences of the gradient: for losses that cannot be differentiated twice."""

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
"""memory of one gradient, as a multiple of what its forward pass keeps (measured: 4 to 5)"""
HALVINGS = 8
GOOD_ENOUGH = 1e-3
"""relative change of a product under halving of the step at which no smaller step is tried"""


def approximate_hessian(problem: Problem, reason: str) -> Hessian:
    """Products by central differences, over the distance at which halving it changes the product least.

    Raises:
        CurvatureError: if already the forward pass of one batch takes more than the memory.
    """
    layout, here = problem.point()
    leaves = leaves_of(problem.params)
    passes = [forward_bytes(batch, layout, leaves) for batch in problem.batches]
    memory = PASS * max(taken for _, taken in passes)
    if memory > problem.graph_memory:
        # Vectors take at most half of the memory, so that twice the passes always do.
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
    """The gradient as a map of flat vectors, (n,) to (n,)."""
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
    """The distance for central differences, and the absolute error of a product with a unit vector there.

    The truncation error falls by 4 with every halving, the rounding error doubles; the distance with the smallest
    change lies between. Kinks (ReLU, max-pooling) add an error of their own, which shows as a change that stays.
    """
    slope = float(gradient.norm())
    direction = gradient / slope if slope > 0 else random_direction(layout, seed=0)
    distance = 2e-2 * max(1.0, float(here.norm()))
    coarse = finite_differences(gradient_at, here, distance)(direction)
    best = (distance, float("inf"))
    for _ in range(HALVINGS):
        distance /= 2
        fine = finite_differences(gradient_at, here, distance)(direction)
        change = float((fine - coarse).norm())
        best = min(best, (distance, change), key=lambda pair: pair[1])
        if change <= GOOD_ENOUGH * float(fine.norm()):
            break
        coarse = fine
    rounding = layout.precision * slope / best[0]
    return best[0], max(best[1], rounding)
