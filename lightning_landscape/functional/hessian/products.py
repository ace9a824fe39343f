"""Products with the Hessian of a loss, by the best method that works for this loss."""

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
    """Return the product of the Hessian of the loss at `params` with `vector`, by parameter name.

    It is the exact product by double backward [Pearlmutter94]_. It is checked for symmetry and against finite
    differences of the gradient, which takes a second product and two to six gradients. For an eigenvalue or a trace,
    which take many products at one point, use `hessian_extremes` or `hessian_trace`.

    >>> saddle = lambda p: p["x"] ** 2 - p["y"] ** 2
    >>> here = {"x": torch.tensor(3.0), "y": torch.tensor(5.0)}
    >>> hessian_vector_product(saddle, here, {"x": torch.tensor(1.0), "y": torch.tensor(1.0)})
    {'x': tensor(2.), 'y': tensor(-2.)}

    Raises:
        CurvatureError: if the loss cannot be differentiated twice, or if a number is not finite. Unlike this function,
            `hessian_extremes` uses finite differences for a loss that cannot be differentiated twice.
        ValueError: if the names and shapes of the vector differ from those of the parameters.

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
    """Return what `measure` computes from the exact Hessian, or from finite differences if the exact one is unusable.

    It is unusable if double backward raises an error, or if a self-check finds that its result is wrong.
    """
    if problem.gradient is not None:
        return measure(approximate_hessian(problem, "only the gradient is given"))
    try:
        return measure(exact_hessian(problem))
    except (RuntimeError, SelfCheckFailed, SurfaceError) as error:
        reason = first_line(error)
    return measure(approximate_hessian(problem, reason))


def exact_hessian(problem: Problem) -> Hessian:
    """Return the operator of exact products by double backward; it retains the graphs if they fit the memory.

    The batch with the largest weight is evaluated one additional time. This gives the memory of its graph, from which
    that of the others is estimated by their weights, and shows whether two evaluations give the same gradient.
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
        del value, graph  # free them before the next graph is built
    layout.require_finite(gradient, "the gradient")
    if not fits:
        product = recomputed_graph(problem.batches, layout, leaves)
        reason = (
            f"all graphs together take {total / 2**20:.1f} MiB, "
            f"the budget leaves {problem.graph_memory / 2**20:.1f} MiB for them"
        )
        memory = (1 + TRANSIENT) * one
        return Hessian(layout, loss, gradient, product, Method.RECOMPUTED, reason, 0.0, memory)
    if not any(entry.requires_grad for graph in graphs for entry in graph):
        reason = "the gradient does not depend on the parameters"
        zero = Hessian(layout, loss, gradient, torch.zeros_like, Method.ZERO, reason, 0.0, 0)
        require_constant_gradient(zero, problem)
        return zero
    product = retained_graph(graphs, weights, layout, leaves)
    rows_fit = total + ROWS * TRANSIENT * one <= problem.graph_memory
    rows = retained_graph_in_rows(graphs, weights, layout, leaves) if rows_fit else None
    return Hessian(layout, loss, gradient, product, Method.RETAINED, None, 0.0, total + TRANSIENT * one, rows)
