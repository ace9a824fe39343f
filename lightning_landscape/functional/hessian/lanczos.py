"""Lanczos: what a few products with a symmetric operator tell about its spectrum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from lightning_landscape.functional.hessian.differentiation import Product

Stop: TypeAlias = Callable[["Krylov"], bool]
"""Asked after every product: is this enough?"""


@dataclass
class Krylov:
    """The operator seen through a Krylov space: a tridiagonal matrix T = Q H Qᵀ and the orthonormal rows of Q."""

    basis: Tensor
    """Q, (k, n)"""
    diagonal: list[float] = field(default_factory=list)
    """of T, k entries"""
    off_diagonal: list[float] = field(default_factory=list)
    """of T, k entries; the last is the coupling to what was not explored"""
    asymmetry: float = 0.0
    """Largest entry of Q H Qᵀ off the three diagonals over the largest on them: rounding, if H is symmetric.

    It costs nothing, and it catches a second derivative that is wrong or noisy.
    """
    noise: float = 0.0
    """absolute error of a product with a unit vector"""
    remainder: Tensor = field(default_factory=lambda: torch.zeros(()))
    """what of the last product lies outside of the space, (n,)"""

    def __post_init__(self) -> None:
        self._decomposed: tuple[int, Tensor, Tensor] = (0, torch.empty(0), torch.empty(0, 0))

    def __len__(self) -> int:
        return len(self.diagonal)

    @property
    def scale(self) -> float:
        """Largest absolute entry of T: a lower bound of the operator's norm, of its size in practice."""
        return max(map(abs, (*self.diagonal, *self.off_diagonal)), default=0.0)

    @property
    def tridiagonal(self) -> Tensor:
        """T, (k, k), float64."""
        beside = torch.tensor(self.off_diagonal[:-1], dtype=torch.float64)
        middle = torch.tensor(self.diagonal, dtype=torch.float64)
        return torch.diag(middle) + torch.diag(beside, 1) + torch.diag(beside, -1)

    @property
    def values(self) -> Tensor:
        """The Ritz values, (k,), ascending. The first is never below λ_min, the last never above λ_max."""
        return self._decompose()[0]

    @property
    def residuals(self) -> Tensor:
        """|Hv - θv| for each Ritz pair, (k,), at least `noise`: an eigenvalue lies within this of each value."""
        return (self._decompose()[1][-1].abs() * self.off_diagonal[-1]).clamp_min(self.noise)

    @property
    def weights(self) -> Tensor:
        """Share of the start vector in each Ritz vector, (k,), sum 1: the nodes' weights of Gaussian quadrature."""
        return self._decompose()[1][0].square()

    def vector(self, index: int) -> Tensor:
        """The Ritz vector (n,) of norm 1 that belongs to ``values[index]``."""
        coefficients = self._decompose()[1][:, index].to(self.basis)
        return coefficients @ self.basis[: len(self)]

    def image(self, index: int) -> Tensor:
        """The operator times ``vector(index)``, (n,), without another product."""
        outside = float(self._decompose()[1][-1, index]) if self.off_diagonal[-1] else 0.0
        return self.vector(index) * float(self.values[index]) + self.remainder * outside

    def _decompose(self) -> tuple[Tensor, Tensor]:
        if self._decomposed[0] != len(self):
            self._decomposed = (len(self), *torch.linalg.eigh(self.tridiagonal))
        return self._decomposed[1:]


def never(krylov: Krylov) -> bool:
    """The stop rule that spends all steps."""
    return False


def lanczos(
    product: Product, start: Tensor, steps: int, *, stop: Stop = never, noise: float = 0.0, seed: int = 0
) -> Krylov:
    """At most `steps` products with a symmetric operator, from `start` (n,), with full reorthogonalisation [Paige72]_.

    When the space is exhausted (the coupling is below rounding relative to the operator, or below `noise`), it goes on
    from a fresh random direction, so that n steps give the whole spectrum with multiplicities.

    >>> spectrum = torch.tensor([-2.0, 1.0, 1.0, 5.0], dtype=torch.float64)
    >>> krylov = lanczos(lambda v: spectrum * v, torch.ones(4, dtype=torch.float64), steps=4)
    >>> [round(value, 6) for value in krylov.values.tolist()]
    [-2.0, 1.0, 1.0, 5.0]

    Raises:
        ValueError: if there is no step to take, or `start` is zero or not finite.

    .. [Paige72] Computational variants of the Lanczos method for the eigenproblem, J. Inst. Math. Appl. 10.
    """
    steps = min(steps, start.numel())
    length = float(start.norm())
    if steps < 1 or not 0 < length < float("inf"):
        raise ValueError(f"lanczos needs a step and a finite start, got {steps} steps and a start of norm {length}")
    basis = torch.empty(steps, start.numel(), dtype=start.dtype, device=start.device)
    basis[0] = start / length
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
    """Add one row to T; the rest is what of the product lies outside of the space, (n,)."""
    k = len(krylov)
    rows = krylov.basis[: k + 1]
    before = krylov.off_diagonal[-1] if k else 0.0
    overlap = torch.dot(product, rows[k])
    remainder = product - rows[k] * overlap
    if before:
        remainder.sub_(rows[k - 1], alpha=before)
    correction = _orthogonalise(remainder, rows)
    # In exact arithmetic the correction vanishes for a symmetric operator; its size is the self-check.
    entries = torch.stack([overlap + correction[-1], remainder.norm(), correction.abs().max()]).tolist()
    diagonal, beside, stray = entries
    largest = max(krylov.scale, abs(diagonal), beside)
    if beside < stray:  # most of the remainder was removed: once more, or what is left is rounding [Kahan, Parlett]
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
    """Remove the rows' components from the vector in place; return them, (k,)."""
    components = rows @ vector
    vector.sub_(components @ rows)
    return components
