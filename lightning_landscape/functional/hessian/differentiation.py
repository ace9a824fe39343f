"""First and second derivatives by autograd, and functions that multiply a Hessian with a vector.

Each of those functions maps a flat vector (n,) to a flat vector (n,). `products` decides which of them to use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.autograd import grad
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.surface import Params

Loss: TypeAlias = Callable[[Params], Tensor]
"""A differentiable loss on fixed data; returns a 0-dim tensor."""
Product: TypeAlias = Callable[[Tensor], Tensor]
"""A map of flat vectors, (n,) to (n,)."""


@dataclass(frozen=True)
class Batch:
    """One term of a loss: the loss on one batch, and its weight in the sum."""

    loss: Loss
    weight: float


@dataclass(frozen=True)
class Footprint:
    """The results of one evaluation of a loss and its gradient, and the memory that autograd needed for it."""

    loss: float
    gradient: Tensor
    """shape (n,)"""
    graph_bytes: int
    """bytes saved by autograd for the graphs of the loss and of its gradient"""


TRANSIENT = 2
"""memory for the temporary tensors of a backward pass, as a multiple of its graph's (measured: 1 to 2)"""
ROWS = 8
"""vectors in one batched product"""


class GraphTooLarge(RuntimeError):
    """Raised during the measurement of a graph, as soon as the graph exceeds its memory budget."""


@contextmanager
def twice_differentiable_kernels(device_types: Iterable[str]) -> Iterator[None]:
    """Disable fused attention, which has no second derivative, and autocast, under which it has three digits."""
    with ExitStack() as stack:
        for device_type in device_types:
            stack.enter_context(torch.autocast(device_type, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield


@contextmanager
def twice_differentiable(device: torch.device) -> Iterator[None]:
    """Run a loss so that its gradient can be differentiated again, in whichever autograd mode the caller is.

    Compiled modules are run eagerly, because compiled graphs have no second derivative either.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(twice_differentiable_kernels([device.type]))
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # Without dynamo, nothing has been compiled in this process; importing it takes seconds.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def leaves_of(params: Params) -> list[Tensor]:
    """Return copies that require a gradient, so that `.grad` and `requires_grad` of the originals do not change."""
    with torch.inference_mode(mode=False):
        return [tensor.detach().clone().requires_grad_() for tensor in params.values()]


def evaluate(loss: Loss, layout: Layout, leaves: Sequence[Tensor]) -> Tensor:
    """Return the loss at these leaves, 0-dim.

    Raises:
        ValueError: if the loss returns anything other than a 0-dim tensor.
    """
    value = loss(dict(zip(layout.names, leaves, strict=True)))
    if not isinstance(value, Tensor) or value.dim() != 0:
        returned = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"a loss must return a 0-dim tensor, got {returned}")
    return value


def first_derivative(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient, detached; it is zero for each leaf on which the loss does not depend."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(grad(value, leaves, materialize_grads=True))


def differentiable_gradient(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradient with its autograd graph; entries that do not depend on the leaves have none."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(grad(value, leaves, create_graph=True, materialize_grads=True))


def retained_graph(
    gradients: Sequence[Sequence[Tensor]], weights: Sequence[float], layout: Layout, leaves: Sequence[Tensor]
) -> Product:
    """Return the product by backward passes through retained gradient graphs, one for each batch [Pearlmutter94]_.

    .. [Pearlmutter94] Fast exact multiplication by the Hessian, Neural Computation 6.
    """

    def product(vector: Tensor) -> Tensor:
        parts = layout.unflatten(vector)
        total = torch.zeros_like(vector)
        for gradient, weight in zip(gradients, weights, strict=True):
            total.add_(layout.flatten(_backward(gradient, leaves, parts)), alpha=weight)
        return total

    return product


def retained_graph_in_rows(
    gradients: Sequence[Sequence[Tensor]], weights: Sequence[float], layout: Layout, leaves: Sequence[Tensor]
) -> Product:
    """Return a function that multiplies the rows of (s, n) by batched backward passes, `ROWS` rows at a time.

    It calls fewer and larger kernels than `retained_graph`, and needs more memory.
    """

    def product(vectors: Tensor) -> Tensor:
        return torch.cat([product_of_chunk(chunk) for chunk in torch.split(vectors, ROWS)])

    def product_of_chunk(chunk: Tensor) -> Tensor:
        total = torch.zeros_like(chunk)
        parts = [torch.stack(rows) for rows in zip(*map(layout.unflatten, chunk), strict=True)]
        for gradient, weight in zip(gradients, weights, strict=True):
            pairs = [(entry, part) for entry, part in zip(gradient, parts, strict=True) if entry.requires_grad]
            if pairs:
                entries, rows = zip(*pairs, strict=True)
                products = grad(entries, leaves, rows, retain_graph=True, is_grads_batched=True, materialize_grads=True)
                flat = torch.cat([product.reshape(len(chunk), -1).to(chunk) for product in products], dim=1)
                total.add_(flat, alpha=weight)
        return total

    return product


def recomputed_graph(batches: Sequence[Batch], layout: Layout, leaves: Sequence[Tensor]) -> Product:
    """Return a product that rebuilds the graph of one batch at a time: less memory, but about twice the time."""

    def product(vector: Tensor) -> Tensor:
        parts = layout.unflatten(vector)
        total = torch.zeros_like(vector)
        for batch in batches:
            with twice_differentiable(layout.device):
                gradient = differentiable_gradient(evaluate(batch.loss, layout, leaves), leaves)
            total.add_(layout.flatten(_backward(gradient, leaves, parts)), alpha=batch.weight)
            del gradient  # free its graph before the next one is built
        return total

    return product


def finite_differences(gradient_at: Product, here: Tensor, step: float) -> Product:
    """Return the product by central differences of the gradient: |v|·(g(w + ε·v/|v|) - g(w - ε·v/|v|)) / 2ε.

    Args:
        gradient_at: maps weights (n,) to the gradient (n,).
        here: the weights w, shape (n,).
        step: the distance ε.
    """

    def product(vector: Tensor) -> Tensor:
        norm = float(vector.norm())
        if norm == 0:
            return torch.zeros_like(vector)
        shift = vector * (step / norm)
        return (gradient_at(here + shift) - gradient_at(here - shift)).mul_(norm / (2 * step))

    return product


class SavedBytes:
    """A hook for tensors saved by autograd: adds up their bytes and raises `GraphTooLarge` above `limit` bytes.

    The memory of the leaves is not counted.
    """

    def __init__(self, leaves: Sequence[Tensor], limit: float) -> None:
        self.total, self.limit = 0, limit
        self._counted = {leaf.untyped_storage().data_ptr() for leaf in leaves}

    def __call__(self, tensor: Tensor) -> Tensor:
        """Count the tensor's storage unless it has been counted, and return the tensor for autograd to save.

        The tensor is returned without its graph. An output that is saved with its graph by the node that made it would
        form a reference cycle that is never freed.

        Raises:
            GraphTooLarge: if the total exceeds the limit.
        """
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._counted:
            self._counted.add(storage.data_ptr())
            self.total += storage.nbytes()
            if self.total > self.limit:
                raise GraphTooLarge(
                    f"the graph of one batch takes more than the {self.limit / 2**20:.1f} MiB left for it"
                )
        return tensor.detach()


def forward_bytes(batch: Batch, layout: Layout, leaves: Sequence[Tensor]) -> tuple[float, int]:
    """Return the loss on one batch, and the bytes that autograd saves in its forward pass."""
    saved = SavedBytes(leaves, float("inf"))
    with twice_differentiable(layout.device), saved_tensors_hooks(saved, lambda tensor: tensor):
        value = evaluate(batch.loss, layout, leaves)
    return float(value.detach()), saved.total


def footprint(batch: Batch, layout: Layout, leaves: Sequence[Tensor], budget: float) -> Footprint:
    """Evaluate a loss and its gradient once and count the bytes that autograd saves.

    A `GraphTooLarge` is raised if a product would take more than `budget` bytes. The graph of this evaluation must not
    be used for products, because under hooks autograd does not notice if a saved tensor is overwritten in place.
    """
    saved = SavedBytes(leaves, budget / (1 + TRANSIENT))
    with twice_differentiable(layout.device), saved_tensors_hooks(saved, lambda tensor: tensor):
        value = evaluate(batch.loss, layout, leaves)
        gradient = differentiable_gradient(value, leaves)
    return Footprint(float(value.detach()), layout.flatten(gradient), saved.total)


def _backward(gradient: Sequence[Tensor], leaves: Sequence[Tensor], parts: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the derivative of the inner product of `gradient` and `parts` with respect to the leaves."""
    pairs = [(entry, part) for entry, part in zip(gradient, parts, strict=True) if entry.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    entries, weights = zip(*pairs, strict=True)
    return grad(entries, leaves, grad_outputs=weights, retain_graph=True, materialize_grads=True)
