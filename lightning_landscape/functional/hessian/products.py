"""Products with the Hessian of a loss, taken by the best way that works for this loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError, SurfaceError
from lightning_landscape.functional.hessian.differences import approximate_hessian
from lightning_landscape.functional.hessian.differentiation import (
    ROWS,
    TRANSIENT,
    differentiable_gradient,
    evaluate,
    footprint,
    leaves_of,
    recomputed_graph,
    retained_graph,
    retained_graph_in_rows,
    twice_differentiable,
)
from lightning_landscape.functional.hessian.operator import (
    Hessian,
    Losses,
    Method,
    Problem,
    SelfCheckFailed,
    first_line,
    require_same_gradient,
)
from lightning_landscape.functional.hessian.self_checks import (
    require_constant_gradient,
    require_second_derivative,
    require_symmetric,
)
from lightning_landscape.surface import Params

T = TypeVar("T")


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
    except (RuntimeError, SelfCheckFailed, SurfaceError) as error:
        reason = first_line(error)
    return measure(approximate_hessian(problem, reason))


def exact_hessian(problem: Problem) -> Hessian:
    """Products by double backward; the graphs are kept if they fit the memory.

    One batch, the heaviest, is evaluated once more than needed: under a count of its memory, from which that of the
    others follows by weight, and to see whether the loss gives the same gradient twice.
    """
    layout, _ = problem.point()
    leaves = leaves_of(problem.params)
    weights = [batch.weight for batch in problem.batches]
    heaviest = weights.index(max(weights))
    first = footprint(problem.batches[heaviest], layout, leaves, problem.graph_memory)
    one, total = first.graph_bytes, int(first.graph_bytes / max(weights))
    fits = total + TRANSIENT * one <= problem.graph_memory
    loss, gradient, graphs = 0.0, torch.zeros_like(first.gradient), []
    for index, batch in enumerate(problem.batches):
        with twice_differentiable(layout.device):
            value = evaluate(batch.loss, layout, leaves)
            graph = differentiable_gradient(value, leaves)
        flat = layout.flatten(graph)
        if index == heaviest:
            require_same_gradient(first.gradient, flat)
        gradient.add_(flat, alpha=batch.weight)
        loss += batch.weight * float(value.detach())
        graphs += [graph] if fits else []
        del value, graph  # before the next one is built
    layout.require_finite(gradient, "the gradient")
    if not fits:
        product = recomputed_graph(problem.batches, layout, leaves)
        reason = (
            f"all graphs at once take {total / 2**20:.1f} MiB, the budget leaves {problem.graph_memory / 2**20:.1f}"
        )
        memory = (1 + TRANSIENT) * one
        return Hessian(layout, loss, gradient, product, Method.RECOMPUTED, reason, 0.0, memory)
    if not any(entry.requires_grad for graph in graphs for entry in graph):
        reason = "the gradient does not depend on the parameters"
        zero = Hessian(layout, loss, gradient, torch.zeros_like, Method.ZERO, reason, 0.0, 0)
        require_constant_gradient(zero, problem)
        return zero
    product = retained_graph(graphs, weights, layout, leaves)
    roomy = total + ROWS * TRANSIENT * one <= problem.graph_memory
    rows = retained_graph_in_rows(graphs, weights, layout, leaves) if roomy else None
    return Hessian(layout, loss, gradient, product, Method.RETAINED, None, 0.0, total + TRANSIENT * one, rows)
