"""Products with the Hessian of a loss, taken by the best way that works for this loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional.differences import approximate_hessian, calibrated_step, gradient_map
from lightning_landscape.functional.differentiation import (
    differentiable_gradient,
    evaluate,
    finite_differences,
    first_derivative,
    footprint,
    leaves_of,
    recomputed_graph,
    retained_graph,
    retained_graph_in_rows,
    twice_differentiable,
)
from lightning_landscape.functional.operator import (
    NOT_SYMMETRIC,
    Hessian,
    Losses,
    Method,
    Problem,
    SelfCheckFailed,
    first_line,
    random_direction,
    require_same_gradient,
)
from lightning_landscape.surface import Params

T = TypeVar("T")
HALF_PRECISION = 1e-4
"""rounding error above which weights are too coarse for differences"""


def hessian_vector_product(
    loss: Losses, params: Params, vector: Params, *, weights: Sequence[float] | None = None
) -> dict[str, Tensor]:
    """The Hessian of the loss at `params` times `vector`, by parameter name.

    The exact product by double backward [Pearlmutter94]_, checked for symmetry and against differences of the gradient:
    one more product and two to six gradients. For many products at one point there is `lanczos`.

    >>> saddle = lambda p: p["x"] ** 2 - p["y"] ** 2
    >>> here = {"x": torch.tensor(3.0), "y": torch.tensor(5.0)}
    >>> hessian_vector_product(saddle, here, {"x": torch.tensor(1.0), "y": torch.tensor(1.0)})
    {'x': tensor(2.), 'y': tensor(-2.)}

    Raises:
        CurvatureError: if the loss cannot be differentiated twice, or a number is not finite; `hessian_extremes`
            then falls back to finite differences and says so.
        ValueError: if the vector's names and shapes are not those of the parameters.

    .. [Pearlmutter94] Fast exact multiplication by the Hessian, Neural Computation 6.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in params.items()}
    given = {name: tuple(tensor.shape) for name, tensor in vector.items()}
    if given != shapes:
        raise ValueError(f"vector must have the parameters' names and shapes {shapes}, got {given}")
    try:
        problem = Problem.of(loss, params, weights=weights)
        operator = exact_hessian(problem)
        direction = operator.layout.flatten([vector[name] for name in params])
        operator.layout.require_finite(direction, "the vector")
        product = operator(direction)
        require_symmetric(operator, direction, product)
        require_second_derivative(operator, problem, direction, product)
    except RuntimeError as error:
        raise CurvatureError(f"[LL402] this loss cannot be differentiated twice: {first_line(error)}") from error
    return operator.layout.named(product)


def with_fallback(problem: Problem, measure: Callable[[Hessian], T]) -> T:
    """What `measure` makes of the exact Hessian; where that fails or is caught lying, of finite differences."""
    if problem.gradient is not None:
        return measure(approximate_hessian(problem, "only the gradient is given"))
    try:
        return measure(exact_hessian(problem))
    except (RuntimeError, SelfCheckFailed) as error:
        reason = first_line(error)
    return measure(approximate_hessian(problem, reason))


def exact_hessian(problem: Problem) -> Hessian:
    """Products by double backward; the graphs are kept if they fit the memory."""
    layout, here = problem.point()
    leaves = leaves_of(problem.params)
    prints = [footprint(batch, layout, leaves, problem.graph_memory) for batch in problem.batches]
    weights = [batch.weight for batch in problem.batches]
    loss = sum(weight * p.loss for weight, p in zip(weights, prints, strict=True))
    gradient = sum((p.gradient * weight for weight, p in zip(weights, prints, strict=True)), torch.zeros_like(here))
    layout.require_finite(gradient, "the gradient")
    total = sum(p.graph_bytes for p in prints)
    if total > problem.graph_memory:
        with twice_differentiable(layout.device):
            again = first_derivative(evaluate(problem.batches[0].loss, layout, leaves), leaves)
        require_same_gradient(prints[0].gradient, layout.flatten(again))
        product = recomputed_graph(problem.batches, layout, leaves)
        left = problem.graph_memory / 2**20
        reason = f"the graphs of all batches take {total / 2**20:.1f} MiB, the budget leaves {left:.1f}"
        largest = max(p.graph_bytes for p in prints)
        return Hessian(layout, loss, gradient, product, Method.RECOMPUTED, reason, 0.0, largest)
    with twice_differentiable(layout.device):
        graphs = [differentiable_gradient(evaluate(b.loss, layout, leaves), leaves) for b in problem.batches]
    for first, graph in zip(prints, graphs, strict=True):
        require_same_gradient(first.gradient, layout.flatten(graph))
    if not any(entry.requires_grad for graph in graphs for entry in graph):
        reason = "the gradient does not depend on the parameters"
        zero = Hessian(layout, loss, gradient, torch.zeros_like, Method.ZERO, reason, 0.0, 0)
        return _confirmed_zero(problem, zero)
    product = retained_graph(graphs, weights, layout, leaves)
    rows = retained_graph_in_rows(graphs, weights, layout, leaves)
    return Hessian(layout, loss, gradient, product, Method.RETAINED, None, 0.0, total, rows)


def require_second_derivative(operator: Hessian, problem: Problem, direction: Tensor, product: Tensor) -> None:
    """Compare the product with a direction (n,) to differences of the gradient, at the price of two to six gradients.

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
    gaps: list[Tensor] = []
    for share in (1e-3, 3e-4, 1e-4):
        gaps.append(finite_differences(gradient_at, here, share * size)(direction) - product)
        if float(gaps[-1].norm()) <= 0.01 * scale:
            return
    gap = float(gaps[-1].norm())
    changes = [float((first - second).norm()) for first, second in pairwise(gaps)]
    if max(changes) <= 0.1 * gap:
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


def _confirmed_zero(problem: Problem, operator: Hessian) -> Hessian:
    """The zero operator, confirmed by differences of the gradient.

    Raises:
        SelfCheckFailed: if the gradient changes with the weights: then autograd has lost the second derivative.
    """
    gradient_at = gradient_map(problem, operator.layout)
    here = operator.layout.flatten(list(problem.params.values()))
    step, noise = calibrated_step(gradient_at, operator.layout, here, torch.zeros_like(here))
    change = finite_differences(gradient_at, here, step)(random_direction(operator.layout, seed=0)).norm()
    if float(change) > 10 * noise + 1e3 * operator.layout.precision * float(operator.gradient.norm()) / step:
        raise SelfCheckFailed(
            f"[LL403] by double backward H = 0, but the gradient changes by {float(change):.2g} per unit of distance; "
            "a custom autograd function in this loss does not differentiate twice"
        )
    return operator
