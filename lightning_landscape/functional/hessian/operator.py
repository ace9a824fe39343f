"""The Hessian of a loss at a point as a linear operator, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import torch
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional.hessian.differentiation import Batch, Loss, Product, twice_differentiable
from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.surface import Params

Losses: TypeAlias = Loss | Sequence[Loss]
"""One loss, or one for each batch."""
DEFAULT_MEMORY = 2 * 2**30
"""bytes"""
SAME_GRADIENT = 1e-3
"""Two evaluations of a deterministic loss differ by the order of summation at most."""


class Method(str, Enum):
    """How products with the Hessian are taken; the values are the words people read."""

    RETAINED = "double backward through a retained graph"
    RECOMPUTED = "double backward, the graph recomputed for every product"
    DIFFERENCES = "finite differences of the gradient (approximate)"
    ZERO = "none needed: the gradient is constant"

    def __str__(self) -> str:
        return self.value


class SelfCheckFailed(CurvatureError):
    """What claims to be a Hessian is not one."""


NOT_SYMMETRIC = (
    "[LL403] the second derivative is not symmetric (by {:.2g} of its size): a custom autograd function in this loss "
    "does not differentiate twice, or its gradient belongs to no single loss (two players, a stopped gradient)"
)


@dataclass(frozen=True)
class Problem:
    """What a Hessian is the Hessian of, and the bytes that may be used for it."""

    batches: tuple[Batch, ...]
    params: Params
    memory: float = DEFAULT_MEMORY
    """bytes for everything: graphs, and the vectors that the measurement keeps"""
    reserved: float = 0
    """bytes of `memory` that the measurement keeps for its vectors"""
    gradient: Callable[[Params], Params] | None = None
    """the gradient of the whole loss, where backward through `batches` is not the way to take it"""

    @classmethod
    def of(
        cls,
        loss: Losses,
        params: Params,
        *,
        weights: Sequence[float] | None = None,
        memory: float = DEFAULT_MEMORY,
        vectors: int = 4,
        gradient: Callable[[Params], Params] | None = None,
    ) -> Problem:
        """Weights are made to sum to 1; without any, batches count equally. `vectors` of length n are reserved.

        Raises:
            ValueError: if there is no batch, or the weights do not fit the batches.
        """
        losses = (loss,) if callable(loss) else tuple(loss)
        shares = [1.0] * len(losses) if weights is None else list(weights)
        if not losses or len(shares) != len(losses):
            raise ValueError(f"each loss needs one weight, got {len(losses)} losses and {len(shares)} weights")
        if min(shares) < 0 or sum(shares) <= 0:
            raise ValueError(f"weights must not be negative and not all zero, got {shares}")
        batches = tuple(Batch(term, share / sum(shares)) for term, share in zip(losses, shares, strict=True))
        return cls(batches, params, memory, vectors * Layout.of(params).vector_bytes, gradient)

    @property
    def graph_memory(self) -> float:
        """Bytes left for graphs."""
        return self.memory - self.reserved

    def point(self) -> tuple[Layout, Tensor]:
        """The parameters as a flat vector (n,); a `CurvatureError` where one is not finite."""
        layout = Layout.of(self.params)
        here = layout.flatten(list(self.params.values()))
        layout.require_finite(here, "the value")
        return layout, here


@dataclass
class Hessian:
    """The Hessian at one point: call it with a flat vector (n,) for the product (n,)."""

    layout: Layout
    loss: float
    gradient: Tensor
    """(n,)"""
    product: Product
    method: Method
    reason: str | None
    """why this method and none better; None for the best"""
    noise: float
    """absolute error of a product with a unit vector, beyond rounding"""
    graph_bytes: int
    many: Callable[[Tensor], Tensor] | None = None
    """products with the rows of (s, n) in one go, where that is faster"""
    products: int = 0
    """how many were taken"""

    def __call__(self, vector: Tensor) -> Tensor:
        """One product; a `CurvatureError` where an entry of it is not finite."""
        self.products += 1
        with twice_differentiable(self.layout.device):
            product = self.product(vector)
        self.layout.require_finite(product, "the second derivative")
        return product

    def of_rows(self, vectors: Tensor) -> Tensor:
        """Products with every row of (s, n), as rows."""
        if self.many is not None and len(vectors) > 1:
            try:
                with twice_differentiable(self.layout.device):
                    products = self.many(vectors)
            except RuntimeError:
                self.many = None  # an operation in this loss has no batched backward
            else:
                self.products += len(vectors)
                self.layout.require_finite(products.sum(0), "the second derivative")
                return products
        return torch.stack([self(vector) for vector in vectors])

    def require_symmetry(self, asymmetry: float) -> None:
        """Refuse an operator whose asymmetry, relative to its size, is not rounding.

        Raises:
            SelfCheckFailed: above 2%, or 10% for finite differences.
        """
        if asymmetry > (0.1 if self.method is Method.DIFFERENCES else 0.02):
            raise SelfCheckFailed(NOT_SYMMETRIC.format(asymmetry))


def random_direction(layout: Layout, seed: int) -> Tensor:
    """A Gaussian unit vector (n,) from its own generator: the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(layout.size, generator=generator, dtype=layout.dtype).to(layout.device)
    return vector.div_(vector.norm())


def first_line(error: BaseException) -> str:
    """What an exception says, without its advice."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def require_same_gradient(first: Tensor, second: Tensor) -> None:
    """Refuse a loss that draws random numbers: its second derivative along a path is that of the draws.

    Raises:
        CurvatureError: if two gradients (n,) taken at the same weights differ by more than rounding.
    """
    gap = float((first - second).norm())
    scale = float(first.norm())
    if gap > SAME_GRADIENT * scale:
        raise CurvatureError(
            f"[LL404] two gradients at the same weights differ by {gap / scale:.2g} of their norm: "
            "the loss draws random numbers (dropout?); fix its seed at every call"
        )
