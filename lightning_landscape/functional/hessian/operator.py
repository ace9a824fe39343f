"""The Hessian of a loss at one point as a linear operator."""

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
"""One loss, or one loss for each batch."""
DEFAULT_MEMORY = 2 * 2**30
"""default memory budget, in bytes"""
WORKING_VECTORS = 14
"""flat vectors besides those that a measurement keeps: weights, gradients, a product, and their copies by name"""
FEWEST_VECTORS = 4
"""fewest vectors that a measurement must be able to keep, unless there are fewer parameters"""
SAME_GRADIENT = 1e-3
"""largest relative difference of two gradients at the same weights; summation in another order stays far below it"""


class Method(str, Enum):
    """How Hessian-vector products are computed; the values are the texts that users read."""

    RETAINED = "double backward through a retained graph"
    RECOMPUTED = "double backward, the graph recomputed for every product"
    DIFFERENCES = "finite differences of the gradient (approximate)"
    ZERO = "none needed: the gradient is constant"

    def __str__(self) -> str:
        return self.value


class SelfCheckFailed(CurvatureError):
    """Raised if an operator is not the second derivative of the loss."""


NOT_SYMMETRIC = (
    "[LL403] the second derivative is not symmetric (its asymmetry is {:.2g} of its size): either a custom autograd "
    "function in this loss does not differentiate twice, or the gradient is not that of a single loss (two players, "
    "a stopped gradient)"
)


@dataclass(frozen=True)
class Problem:
    """A loss and a point at which to compute its Hessian, with a memory budget."""

    batches: tuple[Batch, ...]
    params: Params
    memory: float = DEFAULT_MEMORY
    """bytes for autograd graphs and for the vectors that a measurement keeps"""
    reserved: float = 0
    """bytes of `memory` for vectors"""
    gradient: Callable[[Params], Params] | None = None
    """computes the gradient of the whole loss, for losses through which autograd must not be used; else None"""

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
        """Return the problem with weights normalised to sum 1, and memory reserved for `vectors` vectors (n,).

        Raises:
            ValueError: if there is no batch, or if the weights are invalid.
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
        """Bytes for autograd graphs."""
        return self.memory - self.reserved

    def point(self) -> tuple[Layout, Tensor]:
        """Return the layout of the parameters and their values as a flat vector (n,).

        A `CurvatureError` is raised if one of the values is not finite.
        """
        layout = Layout.of(self.params)
        here = layout.flatten(list(self.params.values()))
        layout.require_finite(here, "the value")
        return layout, here


@dataclass
class Hessian:
    """The Hessian at one point: call it with a flat vector (n,) to compute its product with the vector, (n,)."""

    layout: Layout
    loss: float
    gradient: Tensor
    """shape (n,)"""
    product: Product
    method: Method
    reason: str | None
    """why the preferred method, double backward through a retained graph, is not used; None if it is"""
    noise: float
    """absolute error of the product with a unit vector, beyond rounding"""
    graph_bytes: int
    product_of_rows: Callable[[Tensor], Tensor] | None = None
    """computes the products with all rows of (s, n) in one batched backward; None if memory or operations forbid it"""
    products: int = 0
    """number of products computed so far"""

    def __call__(self, vector: Tensor) -> Tensor:
        """Return the product with a vector (n,), (n,); a `CurvatureError` is raised if an entry is not finite."""
        self.products += 1
        with twice_differentiable(self.layout.device):
            product = self.product(vector)
        self.layout.require_finite(product, "the second derivative")
        return product

    def of_rows(self, vectors: Tensor) -> Tensor:
        """Return the products with every row of (s, n) as the rows of (s, n)."""
        if self.product_of_rows is not None and len(vectors) > 1:
            try:
                with twice_differentiable(self.layout.device):
                    products = self.product_of_rows(vectors)
            except RuntimeError:
                self.product_of_rows = None  # an operation in this loss has no batched backward
            else:
                self.products += len(vectors)
                self.layout.require_finite(products.sum(0), "the second derivative")
                return products
        return torch.stack([self(vector) for vector in vectors])

    def require_symmetry(self, asymmetry: float) -> None:
        """Raise an error if the asymmetry, relative to the size of the operator, exceeds what rounding explains.

        Raises:
            SelfCheckFailed: if it exceeds 2%, or 10% for finite differences.
        """
        if asymmetry > (0.1 if self.method is Method.DIFFERENCES else 0.02):
            raise SelfCheckFailed(NOT_SYMMETRIC.format(asymmetry))


def affordable_vectors(params: Params, count: int, memory: float) -> int:
    """Return how many flat vectors (n,) a measurement may keep: at most `count`, at most n, in half of `memory` bytes.

    Raises:
        CurvatureError: if the memory is too small for the fewest vectors that a measurement needs.
    """
    layout = Layout.of(params)
    count = min(count, layout.size)
    affordable = int(memory / 2 / layout.vector_bytes) - WORKING_VECTORS
    if affordable < min(count, FEWEST_VECTORS):
        needed = 2 * (min(count, FEWEST_VECTORS) + WORKING_VECTORS) * layout.vector_bytes / 2**20
        raise CurvatureError(
            f"[LL406] the memory budget of {memory / 2**20:.3g} MiB is too small to measure the curvature with respect "
            f"to {layout.size} parameters: {needed:.3g} MiB would do"
        )
    return min(count, affordable)


def random_direction(layout: Layout, seed: int) -> Tensor:
    """Return a Gaussian unit vector (n,), drawn on the CPU so that every device gets the same one."""
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(layout.size, generator=generator, dtype=layout.dtype).to(layout.device)
    return vector.div_(vector.norm())


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type if there is no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def require_same_gradient(first: Tensor, second: Tensor) -> None:
    """Raise an error if two gradients (n,) at the same weights differ, because the loss then draws random numbers.

    Raises:
        CurvatureError: if they differ by more than rounding.
    """
    gap = float((first - second).norm())
    scale = float(first.norm())
    if gap > SAME_GRADIENT * scale:
        raise CurvatureError(
            f"[LL404] two gradients at the same weights differ by {gap / scale:.2g} of their norm: "
            "the loss draws random numbers (dropout?); fix its seed at every call"
        )
