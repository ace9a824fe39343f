"""The trace of the Hessian, which is the sum of its eigenvalues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from lightning_landscape.functional.hessian.differentiation import ROWS
from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.functional.hessian.operator import (
    DEFAULT_MEMORY,
    WORKING_VECTORS,
    Hessian,
    Losses,
    Method,
    Problem,
    affordable_vectors,
)
from lightning_landscape.functional.hessian.products import with_fallback
from lightning_landscape.functional.hessian.self_checks import require_second_derivative
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class Trace:
    """An estimate of the Hessian's trace."""

    value: float
    error: float
    """standard error of `value`; 0 if the diagonal was summed exactly"""
    products: int
    """Hessian-vector products computed"""
    method: Method
    reason: str | None
    """why the preferred method, double backward through a retained graph, was not used; None if it was"""


def hessian_trace(
    loss: Losses,
    params: Params,
    *,
    weights: Sequence[float] | None = None,
    products: int = 64,
    memory: float = DEFAULT_MEMORY,
    seed: int = 0,
) -> Trace:
    """Estimate the trace as the mean of v·Hv over random vectors v with entries ±1 [Hutchinson89]_.

    The variance of v·Hv is twice the sum of the squared off-diagonal entries of H. If there are at most `products`
    parameters, the diagonal is summed exactly instead.

    >>> bowl = lambda p: p["x"] ** 2 + 3 * p["y"] ** 2
    >>> hessian_trace(bowl, {"x": torch.tensor(1.0), "y": torch.tensor(1.0)}).value
    8.0

    Args:
        loss: the loss on fixed data, or one loss for each batch.
        params: the point at which to compute the Hessian.
        weights: weights of the batches, such as their sizes; None for equal weights.
        products: number of products, at least 8; if there are fewer parameters, one for each of them.
        memory: budget for graphs and vectors, in bytes.
        seed: of the random vectors.

    Raises:
        ValueError: if `products` is below 8, which is too few for a standard error.

    A `CurvatureError` is raised under the same conditions as in `hessian_extremes`.

    .. [Hutchinson89] A stochastic estimator of the trace of the influence matrix for Laplacian smoothing splines,
        Communications in Statistics - Simulation and Computation 18.
    """
    if products < 8:
        raise ValueError(f"products must be at least 8, got {products}")
    # A row of a batched product takes about four vectors: the probe, the product, and both by parameter name.
    rows = max(1, affordable_vectors(params, 4 * ROWS, memory) // 4)
    problem = Problem.of(loss, params, weights=weights, memory=memory, vectors=4 * rows + WORKING_VECTORS)
    return with_fallback(problem, lambda operator: _trace(operator, problem, products, rows, seed))


def _trace(operator: Hessian, problem: Problem, products: int, rows: int, seed: int) -> Trace:
    layout = operator.layout
    exact = layout.size <= products
    samples: list[float] = []
    for probes in [torch.eye(layout.size)] if exact else _random_signs(layout, products, rows, seed):
        probes = probes.to(layout.device, layout.dtype)
        images = operator.of_rows(probes)
        projection = probes @ images.T
        samples += projection.diagonal().tolist()
        # The projection is as symmetric as H. Its diagonal may be large enough to hide the asymmetry of random probes.
        operator.require_symmetry(_asymmetry(projection if exact else projection.fill_diagonal_(0)))
    require_second_derivative(operator, problem, probes.sum(0), images.sum(0))
    value, error = (sum(samples), 0.0) if exact else (fmean(samples), stdev(samples) / products**0.5)
    return Trace(value, error, operator.products, operator.method, operator.reason)


def _random_signs(layout: Layout, products: int, rows: int, seed: int) -> Iterator[Tensor]:
    """Yield vectors with entries ±1 as the rows of (rows, n), `products` vectors in all."""
    generator = torch.Generator().manual_seed(seed)
    for start in range(0, products, rows):
        bits = torch.randint(0, 2, (min(rows, products - start), layout.size), generator=generator, dtype=layout.dtype)
        yield 2 * bits - 1


def _asymmetry(matrix: Tensor) -> float:
    scale = float(matrix.norm())
    return float((matrix - matrix.T).norm()) / scale if scale > 0 else 0.0
