"""The density of the Hessian's spectrum: which curvatures there are, and how many of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lightning_landscape.functional.hessian.extremes import WORKING_VECTORS, affordable_steps
from lightning_landscape.functional.hessian.lanczos import lanczos
from lightning_landscape.functional.hessian.operator import DEFAULT_MEMORY, Hessian, Losses, Method, Problem
from lightning_landscape.functional.hessian.products import with_fallback
from lightning_landscape.functional.hessian.self_checks import require_second_derivative
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class SpectralDensity:
    """Curvatures and the share of the n directions that has each: a discrete stand-in for the n eigenvalues."""

    nodes: tuple[float, ...]
    """ascending"""
    weights: tuple[float, ...]
    """positive, sum 1"""
    products: int
    method: Method
    reason: str | None
    """why products were not taken by double backward through a retained graph; None where they were"""

    def share_below(self, curvature: float) -> float:
        """Share of the directions whose curvature is below this, in [0, 1]."""
        return sum(weight for node, weight in zip(self.nodes, self.weights, strict=True) if node < curvature)

    @property
    def share_negative(self) -> float:
        """Share of the directions along which the loss bends down, in [0, 1]; curvature within rounding is none."""
        return self.share_below(-1e-6 * max(map(abs, self.nodes)))

    @property
    def mean(self) -> float:
        """Mean curvature: the trace over n."""
        return sum(node * weight for node, weight in zip(self.nodes, self.weights, strict=True))

    def smoothed(self, curvatures: Sequence[float], width: float) -> tuple[float, ...]:
        """The density at each of `curvatures`, with every node spread to a Gaussian of this standard deviation.

        Raises:
            ValueError: if the width is not positive.
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
    """The density by stochastic Lanczos quadrature [Lin16]_: `runs` times `iterations` products.

    Each run starts from a random direction, and its Ritz values with their weights are the Gaussian quadrature of the
    density as that direction sees it.

    >>> bowl = lambda p: 0.5 * (torch.tensor([-1.0, 2.0, 2.0, 2.0]) * p["x"] ** 2).sum()
    >>> found = spectral_density(bowl, {"x": torch.ones(4)}, runs=100)
    >>> round(found.share_negative, 1), round(found.nodes[-1], 5)
    (0.3, 2.0)

    Args:
        loss: the loss on fixed data, or one for each batch with `weights` (their sizes).
        params: the point.
        weights: share of each batch; equal without.
        runs: random starts; the error falls with their number's root, and with the root of n.
        iterations: most products of a run; fewer where their vectors take more than half of `memory`.
        memory: bytes for graphs and vectors.
        seed: of the starts.

    Raises:
        ValueError: if `runs` is below 1.

    .. [Lin16] Approximating spectral densities of large matrices, SIAM Review 58.
    """
    if runs < 1:
        raise ValueError(f"runs must be at least 1, got {runs}")
    steps = affordable_steps(params, iterations, memory)
    problem = Problem.of(loss, params, weights=weights, memory=memory, vectors=steps + WORKING_VECTORS)
    return with_fallback(problem, lambda operator: _density(operator, problem, runs, steps, seed))


def _density(operator: Hessian, problem: Problem, runs: int, steps: int, seed: int) -> SpectralDensity:
    layout = operator.layout
    generator = torch.Generator().manual_seed(seed)
    pairs: list[tuple[float, float]] = []
    for run in range(runs):
        start = torch.randn(layout.size, generator=generator, dtype=layout.dtype).to(layout.device)
        krylov = lanczos(operator, start, steps, stop=lambda found: found.off_diagonal[-1] == 0.0, noise=operator.noise)
        operator.require_symmetry(krylov.asymmetry)
        if run == 0:
            both = krylov.vector(0) + krylov.vector(-1)
            require_second_derivative(operator, problem, both, krylov.image(0) + krylov.image(-1))
        pairs += zip(krylov.values.tolist(), (krylov.weights / runs).tolist(), strict=True)
    nodes, shares = zip(*sorted(pairs), strict=True)
    return SpectralDensity(nodes, shares, operator.products, operator.method, operator.reason)
