"""The Lanczos method: estimates of the spectrum of a symmetric operator from a few products with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from lightning_landscape.functional.hessian.differentiation import Product

Stop: TypeAlias = Callable[["Krylov"], bool]
"""Called after every product; returns whether the estimates are accurate enough to stop."""


@dataclass
class Krylov:
    """The projection of a symmetric operator H on a Krylov space: T = Q H Qᵀ, tridiagonal, with orthonormal rows of Q.

    The eigenvalues of T are called Ritz values. With the Ritz vectors they approximate eigenpairs of H.
    """

    basis: Tensor
    """Q, shape (k, n)"""
    diagonal: list[float] = field(default_factory=list)
    """diagonal of T, k entries"""
    off_diagonal: list[float] = field(default_factory=list)
    """k entries: the off-diagonal of T, then the coupling to the rest of the space, which is 0 if there is none"""
    asymmetry: float = 0.0
    """Largest entry of Q H Qᵀ outside its three diagonals, relative to the largest entry on them.

    For a symmetric operator only rounding errors are there. It is computed without additional products, and detects a
    second derivative that is wrong or noisy.
    """
    noise: float = 0.0
    """absolute error of the product with a unit vector"""
    remainder: Tensor = field(default_factory=lambda: torch.zeros(()))
    """component of the last product outside of the space, shape (n,)"""

    def __post_init__(self) -> None:
        self._decomposed: tuple[int, Tensor, Tensor] = (0, torch.empty(0), torch.empty(0, 0))

    def __len__(self) -> int:
        return len(self.diagonal)

    @property
    def scale(self) -> float:
        """Largest absolute entry of T: a lower bound of the operator's norm, in practice close to it."""
        return max(map(abs, (*self.diagonal, *self.off_diagonal)), default=0.0)

    @property
    def tridiagonal(self) -> Tensor:
        """T, shape (k, k), in float64."""
        beside = torch.tensor(self.off_diagonal[:-1], dtype=torch.float64)
        middle = torch.tensor(self.diagonal, dtype=torch.float64)
        return torch.diag(middle) + torch.diag(beside, 1) + torch.diag(beside, -1)

    @property
    def values(self) -> Tensor:
        """Ritz values, shape (k,), ascending; the first is at least λ_min and the last at most λ_max."""
        return self._decompose()[0]

    @property
    def residuals(self) -> Tensor:
        """|Hv - θv| of each Ritz pair (θ, v), shape (k,), at least `noise`; an eigenvalue lies this close to each θ."""
        return (self._decompose()[1][-1].abs() * self.off_diagonal[-1]).clamp_min(self.noise)

    @property
    def weights(self) -> Tensor:
        """Squared components of the start in the Ritz vectors, shape (k,), sum 1: weights of a Gaussian quadrature."""
        return self._decompose()[1][0].square()

    def vector(self, index: int) -> Tensor:
        """Return the Ritz vector of ``values[index]``, shape (n,), of norm 1."""
        coefficients = self._decompose()[1][:, index].to(self.basis)
        return coefficients @ self.basis[: len(self)]

    def image(self, index: int) -> Tensor:
        """Return the operator's product with ``vector(index)``, shape (n,), computed from the products so far."""
        outside = float(self._decompose()[1][-1, index]) if self.off_diagonal[-1] else 0.0
        return self.vector(index) * float(self.values[index]) + self.remainder * outside

    def _decompose(self) -> tuple[Tensor, Tensor]:
        """Return the eigenvalues and eigenvectors of T, cached until T grows."""
        if self._decomposed[0] != len(self):
            self._decomposed = (len(self), *torch.linalg.eigh(self.tridiagonal))
        return self._decomposed[1:]


def never(krylov: Krylov) -> bool:
    """Return False: the stop rule with which all steps are taken."""
    return False


def lanczos(
    product: Product, start: Tensor, steps: int, *, stop: Stop = never, noise: float = 0.0, seed: int = 0
) -> Krylov:
    """Run the Lanczos method with full reorthogonalisation [Paige72]_ on a symmetric operator.

    If the Krylov space is exhausted, the method continues from a fresh random direction, so that n steps give the whole
    spectrum with multiplicities. The space counts as exhausted if its coupling to the rest is below `noise`, or below
    rounding relative to the operator.

    >>> spectrum = torch.tensor([-2.0, 1.0, 1.0, 5.0], dtype=torch.float64)
    >>> krylov = lanczos(lambda v: spectrum * v, torch.ones(4, dtype=torch.float64), steps=4)
    >>> [round(value, 6) for value in krylov.values.tolist()]
    [-2.0, 1.0, 1.0, 5.0]

    Args:
        product: multiplies the operator with a vector (n,).
        start: shape (n,), of any norm.
        steps: largest number of products; no more than n are computed.
        stop: called after every product.
        noise: absolute error of the product with a unit vector.
        seed: of the random directions.

    Raises:
        ValueError: if `steps` is below 1, or if `start` is zero or not finite.

    .. [Paige72] Computational variants of the Lanczos method for the eigenproblem, J. Inst. Math. Appl. 10.
    """
    steps = min(steps, start.numel())
    norm = float(start.norm())
    if steps < 1 or not 0 < norm < float("inf"):
        raise ValueError(f"lanczos needs a step and a finite start, got {steps} steps and a start of norm {norm}")
    basis = torch.empty(steps, start.numel(), dtype=start.dtype, device=start.device)
    basis[0] = start / norm
    generator = torch.Generator().manual_seed(seed)
    krylov = Krylov(basis, noise=noise)
    for k in range(steps):
        remainder = krylov.remainder = _extend(krylov, product(basis[k]).to(start.dtype))
        if stop(krylov) or k + 1 == steps:
            break
        if krylov.off_diagonal[-1] == 0.0:
            remainder = torch.randn(start.numel(), generator=generator, dtype=start.dtype).to(start.device)
            _orthogonalise(remainder, basis[: k + 1])
            _orthogonalise(remainder, basis[: k + 1])
        basis[k + 1] = remainder / remainder.norm()
    krylov.basis = basis[: len(krylov)]
    return krylov


def _extend(krylov: Krylov, product: Tensor) -> Tensor:
    """Add one row to T, and return the component of the product outside of the space, shape (n,)."""
    k = len(krylov)
    rows = krylov.basis[: k + 1]
    before = krylov.off_diagonal[-1] if k else 0.0
    overlap = torch.dot(product, rows[k])
    remainder = product - rows[k] * overlap
    if before:
        remainder.sub_(rows[k - 1], alpha=before)
    correction = _orthogonalise(remainder, rows)
    # For a symmetric operator the correction vanishes in exact arithmetic, so its size measures the asymmetry.
    entries = torch.stack([overlap + correction[-1], remainder.norm(), correction.abs().max()]).tolist()
    diagonal, beside, stray = entries
    largest = max(krylov.scale, abs(diagonal), beside)
    if beside < stray:  # most of the remainder was removed, so that rounding errors need a second pass [Kahan, Parlett]
        _orthogonalise(remainder, rows)
        beside = float(remainder.norm())
    rounding = torch.finfo(remainder.dtype).eps ** 0.7
    if beside <= max(rounding * largest, krylov.noise):
        beside = 0.0
    krylov.diagonal.append(diagonal)
    krylov.off_diagonal.append(beside)
    if krylov.scale > krylov.noise:
        krylov.asymmetry = max(krylov.asymmetry, stray / krylov.scale)
    return remainder


def _orthogonalise(vector: Tensor, rows: Tensor) -> Tensor:
    """Remove the components along the rows from the vector, in place, and return them, shape (k,)."""
    components = rows @ vector
    vector.sub_(components @ rows)
    return components
