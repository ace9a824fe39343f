"""Ways to multiply the Hessian with a vector, and the ground on which second derivatives exist at all.

Each way is a function that returns a product, flat vector (n,) to flat vector (n,). `hessian` decides which to take.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
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
"""Differentiable, on fixed data, returns a 0-dim tensor."""
Product: TypeAlias = Callable[[Tensor], Tensor]
"""A linear map on flat vectors, (n,) to (n,)."""


@dataclass(frozen=True)
class Batch:
    """One term of the loss: the loss on one batch, and its share of the whole."""

    loss: Loss
    weight: float


@dataclass(frozen=True)
class Footprint:
    """What one evaluation costs and gives: the loss, its flat gradient (n,), and the bytes that autograd saves."""

    loss: float
    gradient: Tensor
    graph_bytes: int
    """forward pass and the gradient's own graph together"""


TRANSIENT = 2
"""temporaries of a backward pass, as a multiple of the graph it runs through (measured: 1 to 2)"""
ROWS = 8
"""vectors in one batched product"""


class GraphTooLarge(RuntimeError):
    """Raised while a graph is being measured, as soon as it outgrows the budget."""


@contextmanager
def twice_differentiable(device: torch.device) -> Iterator[None]:
    """Run a loss so that its gradient can be differentiated again, whatever mode the caller is in.

    Fused attention and compiled graphs have no second derivative; autocast gives one with three digits.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance"):
            # Nothing was compiled in a process that never loaded dynamo, and loading it takes seconds.
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def leaves_of(params: Params) -> list[Tensor]:
    """Private copies that require a gradient, so that nobody's `.grad` and `requires_grad` is touched."""
    with torch.inference_mode(mode=False):
        return [tensor.detach().clone().requires_grad_() for tensor in params.values()]


def evaluate(loss: Loss, layout: Layout, leaves: Sequence[Tensor]) -> Tensor:
    """The loss at these leaves, 0-dim.

    Raises:
        ValueError: if the loss returns anything else.
    """
    value = loss(dict(zip(layout.names, leaves, strict=True)))
    if not isinstance(value, Tensor) or value.dim() != 0:
        shape = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"a loss must return a 0-dim tensor, got {shape}")
    return value


def first_derivative(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The gradient, detached; zeros where the loss does not depend on a leaf."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(grad(value, leaves, materialize_grads=True))


def differentiable_gradient(value: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The gradient with its own graph; entries without a graph are constants."""
    if not value.requires_grad:
        return [torch.zeros_like(leaf) for leaf in leaves]
    return list(grad(value, leaves, create_graph=True, materialize_grads=True))


def retained_graph(
    gradients: Sequence[Sequence[Tensor]], weights: Sequence[float], layout: Layout, leaves: Sequence[Tensor]
) -> Product:
    """Backward through gradient graphs that are kept [Pearlmutter94]_: one backward pass a product and batch.

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
    """The same for the rows of (s, n) at once, `ROWS` at a time: fewer, larger kernels, and more memory."""

    def product(vectors: Tensor) -> Tensor:
        return torch.cat([chunk_product(chunk) for chunk in torch.split(vectors, ROWS)])

    def chunk_product(chunk: Tensor) -> Tensor:
        total = torch.zeros_like(chunk)
        parts = [torch.stack(rows) for rows in zip(*map(layout.unflatten, chunk), strict=True)]
        for gradient, weight in zip(gradients, weights, strict=True):
            pairs = [(entry, part) for entry, part in zip(gradient, parts, strict=True) if entry.requires_grad]
            if pairs:
                entries, rows = zip(*pairs, strict=True)
                found = grad(entries, leaves, rows, retain_graph=True, is_grads_batched=True, materialize_grads=True)
                total.add_(torch.cat([part.reshape(len(chunk), -1).to(chunk) for part in found], dim=1), alpha=weight)
        return total

    return product


def recomputed_graph(batches: Sequence[Batch], layout: Layout, leaves: Sequence[Tensor]) -> Product:
    """The same, with the graph of one batch at a time built and dropped: less memory, about twice the time."""

    def product(vector: Tensor) -> Tensor:
        parts = layout.unflatten(vector)
        total = torch.zeros_like(vector)
        for batch in batches:
            with twice_differentiable(layout.device):
                gradient = differentiable_gradient(evaluate(batch.loss, layout, leaves), leaves)
            total.add_(layout.flatten(_backward(gradient, leaves, parts)), alpha=batch.weight)
            del gradient  # before the next batch's graph is built
        return total

    return product


def finite_differences(gradient_at: Product, here: Tensor, step: float) -> Product:
    """Central differences of the gradient over a distance of `step` either way: (g(w+εv) - g(w-εv)) / 2ε."""

    def product(vector: Tensor) -> Tensor:
        length = float(vector.norm())
        if length == 0:
            return torch.zeros_like(vector)
        shift = vector * (step / length)
        return (gradient_at(here + shift) - gradient_at(here - shift)).mul_(length / (2 * step))

    return product


class SavedBytes:
    """As a hook on saved tensors: adds up what autograd keeps, and gives up above `limit` bytes."""

    def __init__(self, leaves: Sequence[Tensor], limit: float) -> None:
        self.total, self.limit = 0, limit
        self._seen = {leaf.untyped_storage().data_ptr() for leaf in leaves}

    def __call__(self, tensor: Tensor) -> Tensor:
        """Count the tensor's storage unless it is known.

        What autograd is to keep is the tensor without its history: an output that is kept by the node that made it is a
        cycle that nobody ever collects.

        Raises:
            GraphTooLarge: above the limit.
        """
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self.total += storage.nbytes()
            if self.total > self.limit:
                raise GraphTooLarge(
                    f"the graph of one batch takes more than the {self.limit / 2**20:.1f} MiB left for it"
                )
        return tensor.detach()


def forward_bytes(batch: Batch, layout: Layout, leaves: Sequence[Tensor]) -> tuple[float, int]:
    """The loss on one batch, and the bytes that autograd keeps of its forward pass."""
    count = SavedBytes(leaves, float("inf"))
    with twice_differentiable(layout.device), saved_tensors_hooks(count, lambda tensor: tensor):
        value = evaluate(batch.loss, layout, leaves)
    return float(value.detach()), count.total


def footprint(batch: Batch, layout: Layout, leaves: Sequence[Tensor], budget: float) -> Footprint:
    """Evaluate once under a count of what autograd keeps; give up if a product would take more than `budget` bytes.

    The tensors of this pass are not used for products: under hooks autograd cannot see that a saved tensor was
    overwritten in place.
    """
    count = SavedBytes(leaves, budget / (1 + TRANSIENT))
    with twice_differentiable(layout.device), saved_tensors_hooks(count, lambda tensor: tensor):
        value = evaluate(batch.loss, layout, leaves)
        gradient = differentiable_gradient(value, leaves)
    return Footprint(float(value.detach()), layout.flatten(gradient), count.total)


def _backward(gradient: Sequence[Tensor], leaves: Sequence[Tensor], parts: Sequence[Tensor]) -> Sequence[Tensor]:
    pairs = [(entry, part) for entry, part in zip(gradient, parts, strict=True) if entry.requires_grad]
    if not pairs:
        return [torch.zeros_like(leaf) for leaf in leaves]
    entries, weights = zip(*pairs, strict=True)
    return grad(entries, leaves, grad_outputs=weights, retain_graph=True, materialize_grads=True)
