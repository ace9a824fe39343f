"""The spectral density of the Hessian: the distribution of its eigenvalues."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lightning_landscape.functional.hessian.lanczos import Krylov, lanczos
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
class SpectralDensity:
    """A discrete distribution that approximates that of the n eigenvalues."""

    nodes: tuple[float, ...]
    """curvatures, ascending"""
    weights: tuple[float, ...]
    """share of the n directions that has each curvature; positive, sum 1"""
    products: int
    """Hessian-vector products computed"""
    method: Method
    reason: str | None
    """why the preferred method, double backward through a retained graph, was not used; None if it was"""

    def share_below(self, curvature: float) -> float:
        """Return the share of the directions with a curvature below `curvature`, in [0, 1]."""
        return sum(weight for node, weight in zip(self.nodes, self.weights, strict=True) if node < curvature)

    @property
    def share_negative(self) -> float:
        """Share of the directions with negative curvature, in [0, 1]; zero up to rounding does not count."""
        return self.share_below(-1e-6 * max(map(abs, self.nodes)))

    @property
    def mean(self) -> float:
        """Mean curvature: the trace divided by n."""
        return sum(node * weight for node, weight in zip(self.nodes, self.weights, strict=True))

    def smoothed(self, curvatures: Sequence[float], width: float) -> tuple[float, ...]:
        """Return the density at each of `curvatures`, with a Gaussian of standard deviation `width` for every node.

        Raises:
            ValueError: if `width` is not positive.
        """
        if width <= 0:
            raise ValueError(f"width must be positive, got {width}")
        scale = width * math.sqrt(2 * math.pi)
        pairs = list(zip(self.nodes, self.weights, strict=True))
        return tuple(
            sum(w * math.exp(-0.5 * ((x - node) / width) ** 2) for node, w in pairs) / scale for x in curvatures
        )


def spectral_density(
    loss: Losses,
    params: Params,
    *,
    weights: Sequence[float] | None = None,
    runs: int = 3,
    iterations: int = 40,
    memory: float = DEFAULT_MEMORY,
    seed: int = 0,
) -> SpectralDensity:
    """Estimate the spectral density by stochastic Lanczos quadrature [Lin16]_ with `runs` times `iterations` products.

    Each run starts from a random direction. Its Ritz values and weights are a Gaussian quadrature of the density,
    weighted with the squared components of that direction along the eigenvectors.

    >>> bowl = lambda p: 0.5 * (torch.tensor([-1.0, 2.0, 2.0, 2.0]) * p["x"] ** 2).sum()
    >>> found = spectral_density(bowl, {"x": torch.ones(4)}, runs=100)
    >>> round(found.share_negative, 1), round(found.nodes[-1], 5)
    (0.3, 2.0)

    Args:
        loss: the loss on fixed data, or one loss for each batch.
        params: the point at which to compute the Hessian.
        weights: weights of the batches, such as their sizes; None for equal weights.
        runs: number of random starts; the error is inversely proportional to the root of `runs` times n.
        iterations: largest number of products per run; it is reduced if their vectors would take more than half of
            `memory`.
        memory: budget for graphs and vectors, in bytes.
        seed: of the random starts.

    Raises:
        ValueError: if `runs` or `iterations` is below 1.

    A `CurvatureError` is raised under the same conditions as in `hessian_extremes`.

    .. [Lin16] Approximating spectral densities of large matrices, SIAM Review 58.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    steps = affordable_vectors(params, iterations, memory)
    problem = Problem.of(loss, params, weights=weights, memory=memory, vectors=steps + WORKING_VECTORS)
    return with_fallback(problem, lambda operator: _density(operator, problem, runs, steps, seed))


def _density(operator: Hessian, problem: Problem, runs: int, steps: int, seed: int) -> SpectralDensity:
    layout = operator.layout
    generator = torch.Generator().manual_seed(seed)
    pairs: list[tuple[float, float]] = []
    for run in range(runs):
        start = torch.randn(layout.size, generator=generator, dtype=layout.dtype).to(layout.device)
        krylov = lanczos(operator, start, steps, stop=_is_exhausted, noise=operator.noise)
        operator.require_symmetry(krylov.asymmetry)
        if run == 0:
            both = krylov.vector(0) + krylov.vector(-1)
            require_second_derivative(operator, problem, both, krylov.image(0) + krylov.image(-1))
        pairs += zip(krylov.values.tolist(), (krylov.weights / runs).tolist(), strict=True)
    nodes, shares = zip(*sorted(pairs), strict=True)
    return SpectralDensity(nodes, shares, operator.products, operator.method, operator.reason)


def _is_exhausted(krylov: Krylov) -> bool:
    """Return whether the Krylov space is invariant, so that its quadrature is exact."""
    return krylov.off_diagonal[-1] == 0.0
