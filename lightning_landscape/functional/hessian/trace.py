"""The trace of the Hessian, the sum of all curvatures, from a few products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.functional.hessian.operator import DEFAULT_MEMORY, Hessian, Losses, Method, Problem
from lightning_landscape.functional.hessian.products import with_fallback
from lightning_landscape.functional.hessian.self_checks import require_second_derivative
from lightning_landscape.surface import Params

FEWEST = 8


@dataclass(frozen=True)
class Trace:
    """An estimate of the Hessian's trace."""

    value: float
    error: float
    """standard error of `value`; 0 where every curvature was summed"""
    products: int
    method: Method
    reason: str | None
    """why products were not taken by double backward through a retained graph; None where they were"""


def hessian_trace(
    loss: Losses,
    params: Params,
    *,
    weights: Sequence[float] | None = None,
    products: int = 64,
    memory: float = DEFAULT_MEMORY,
    seed: int = 0,
) -> Trace:
    """The trace by XTrace [Epperly24]_: half of the products find the large curvatures, every sample checks the others.

    It comes with its own standard error. Where n is at most `products`, the diagonal is summed exactly.

    >>> bowl = lambda p: p["x"] ** 2 + 3 * p["y"] ** 2
    >>> hessian_trace(bowl, {"x": torch.tensor(1.0), "y": torch.tensor(1.0)}).value
    8.0

    Args:
        loss: the loss on fixed data, or one for each batch with `weights` (their sizes).
        params: the point.
        weights: share of each batch; equal without.
        products: most products to take; fewer where the vectors take more than half of `memory`.
        memory: bytes for graphs and vectors.
        seed: of the random vectors.

    Raises:
        ValueError: if `products` is below 8.
        CurvatureError: if the memory is too small.

    .. [Epperly24] XTrace: making the most of every sample in stochastic trace estimation, arXiv:2301.07825.
    """
    if products < FEWEST:
        raise ValueError(f"products must be at least {FEWEST}, got {products}")
    layout = Layout.of(params)
    samples = min(products // 2, int(memory / 2 / layout.vector_bytes / 4))
    if samples < FEWEST // 2:
        needed = 4 * FEWEST * layout.vector_bytes / 2**20
        raise CurvatureError(
            f"[LL406] the memory budget of {memory / 2**20:.1f} MiB is too small for the trace over {layout.size} "
            f"parameters: {needed:.1f} MiB would do"
        )
    problem = Problem.of(loss, params, weights=weights, memory=memory, vectors=4 * samples)
    if layout.size <= products:
        return with_fallback(problem, lambda operator: _summed(operator, problem))
    return with_fallback(problem, lambda operator: _sampled(operator, problem, samples, seed))


def _summed(operator: Hessian, problem: Problem) -> Trace:
    layout = operator.layout
    columns = operator.of_rows(torch.eye(layout.size, dtype=layout.dtype, device=layout.device))
    operator.require_symmetry(_asymmetry(columns))
    ones = torch.ones(layout.size, dtype=layout.dtype, device=layout.device)
    require_second_derivative(operator, problem, ones, columns.sum(0))
    return Trace(float(columns.trace()), 0.0, operator.products, operator.method, operator.reason)


def _sampled(operator: Hessian, problem: Problem, samples: int, seed: int) -> Trace:
    layout = operator.layout
    generator = torch.Generator().manual_seed(seed)
    probes = torch.randn(samples, layout.size, generator=generator, dtype=layout.dtype).to(layout.device)
    sketch = operator.of_rows(probes)
    if not bool(sketch.any()):
        return Trace(0.0, 0.0, operator.products, operator.method, operator.reason)
    basis, triangle = torch.linalg.qr(sketch.T)
    images = operator.of_rows(basis.T.contiguous())
    core = (images @ basis).double()
    operator.require_symmetry(_asymmetry(core))
    require_second_derivative(operator, problem, basis[:, 0].contiguous(), images[0])
    estimates = Sketch(
        dimension=layout.size,
        core=core,
        triangle=triangle.double(),
        inside=(basis.T @ probes.T).double(),
        images=(basis.T @ sketch.T).double(),
        squares=probes.square().sum(1).double(),
        quadratic=(probes * sketch).sum(1).double(),
    ).leave_one_out_traces()
    error = float(estimates.std()) / samples**0.5
    return Trace(float(estimates.mean()), error, operator.products, operator.method, operator.reason)


@dataclass(frozen=True)
class Sketch:
    """What m probes ω_i and 2m products have told, once HΩ = QR: only small matrices."""

    dimension: int
    """n"""
    core: Tensor
    """QᵀHQ, (m, m)"""
    triangle: Tensor
    """R, (m, m)"""
    inside: Tensor
    """columns Qᵀω_i, (m, m)"""
    images: Tensor
    """columns QᵀHω_i, (m, m)"""
    squares: Tensor
    """|ω_i|², (m,)"""
    quadratic: Tensor
    """ω_iᵀHω_i, (m,)"""

    def leave_one_out_traces(self) -> Tensor:
        """One estimate for each probe, (m,): exact on the space Q_i of the others' images, sampled by it outside.

        With s_i column i of R⁻ᵀ made a unit vector, Q_i = Q(I - s_i s_iᵀ). Outside, the probe is scaled to the length
        that a Gaussian has there on average, which takes the noise of its length out of the estimate.
        """
        left_out = torch.linalg.pinv(self.triangle).T
        left_out = left_out / left_out.norm(dim=0).clamp_min(1e-300)
        on_space = self.core.trace() - (left_out * (self.core @ left_out)).sum(0)
        seen = self.inside - left_out * (left_out * self.inside).sum(0)
        outside = self.quadratic - 2 * (self.images * seen).sum(0) + (seen * (self.core @ seen)).sum(0)
        length = (self.squares - seen.square().sum(0)).clamp_min(1e-300)
        estimates: Tensor = on_space + outside * (self.dimension - len(self.core) + 1) / length
        return estimates


def _asymmetry(matrix: Tensor) -> float:
    scale = float(matrix.norm())
    return float((matrix - matrix.T).norm()) / scale if scale > 0 else 0.0
