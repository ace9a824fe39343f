"""How far one optimizer step moves the weights, and how much its gradient predicts the loss to change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_landscape.functional.norms import inner_product
from lightning_landscape.trainer._compat import flattened, full_tensor

BUCKET = 2**18
"""most elements that are copied as one vector; few calls are then needed, and the copy stays in the cache"""
LARGE = 2**16
"""elements above which a tensor is sampled, if its rows are long"""
SAMPLED = 8
"""one element in this many of a sampled tensor is read"""
CACHE_LINE = 16
"""float32 elements that a processor fetches from memory at once"""

Reader = Callable[[Sequence[Tensor]], Tensor]
"""returns the elements that are read of some tensors"""


class UpdateMeasurement:
    """A copy of the weights before an optimizer step, to be compared with the weights after it.

    Of a large tensor, only a sample of the elements is copied, and its numbers are estimates.

    Args:
        parameters: the weights that the step changes.
        buckets: slices of `parameters` that are copied as one vector, as `buckets_of` returns them.
        gradients: the gradients before clipping, where they will be clipped; None where they can be read after the
            step.
    """

    def __init__(
        self, parameters: Sequence[Tensor], buckets: Sequence[slice], gradients: Sequence[Tensor | None] | None
    ) -> None:
        self._parameters = parameters
        self._parts = [part for bucket in buckets for part in _parts(parameters, bucket)]
        self._weights = [_copied([parameters[i] for i in members], read) for members, read in self._parts]
        self._gradients: list[Tensor | None] = []
        if gradients is not None:
            before = [self._gradient(gradients, *part) for part in self._parts]
            self._gradients = [None if gradient is None else gradient.clone() for gradient in before]

    def measured(self) -> dict[str, Tensor]:
        """Return, after the step, the norms of the weights and of the update, and the predicted change of the loss.

        "weight_and_update_norms" holds |w| before the step and |Δw|, shape (2, parts), and "predicted" holds -g·Δw,
        shape (n,), with the parts that have a gradient; it is missing where there is no dense gradient. A part is one
        sampled tensor, or the other tensors of a bucket together. The copy is overwritten, so call this once.
        """
        gradients = [parameter.grad for parameter in self._parameters]
        weight_norms, update_norms, products = [], [], []
        for i, ((members, read), vector) in enumerate(zip(self._parts, self._weights, strict=True)):
            scale = self._parameters[members[0]].numel() / vector.numel() if read is _sample else 1.0
            weight_norms.append(_scaled(_norm(vector), scale**0.5))
            vector.sub_(read([self._parameters[member] for member in members]))
            update_norms.append(_scaled(_norm(vector), scale**0.5))
            gradient = self._gradients[i] if self._gradients else self._gradient(gradients, members, read)
            if gradient is not None:
                products.append(_scaled(_product(gradient, vector), scale))
        norms = {"weight_and_update_norms": stacked([*weight_norms, *update_norms]).view(2, -1)}
        return norms | ({"predicted": stacked(products)} if products else {})

    def _gradient(self, gradients: Sequence[Tensor | None], members: Sequence[int], read: Reader) -> Tensor | None:
        """Return the gradient of a part, with 0 for sparse and missing gradients; None if there is no dense one."""
        dense = [None if (gradient := gradients[i]) is None or gradient.is_sparse else gradient for i in members]
        if all(gradient is None for gradient in dense):
            return None
        pairs = zip(members, dense, strict=True)
        return read([torch.zeros_like(self._parameters[i]) if gradient is None else gradient for i, gradient in pairs])


def buckets_of(tensors: Sequence[Tensor]) -> list[slice]:
    """Return slices of adjacent tensors with equal dtype and device, of at most `BUCKET` elements each.

    Tensors that will be sampled do not count towards the limit. A sharded tensor has a slice of its own.
    """
    starts, previous, length = [0], None, 0
    for i, tensor in enumerate(tensors):
        kind = tensor.dtype, tensor.device, hasattr(tensor, "full_tensor")
        elements = 0 if _is_sampled(tensor) else tensor.numel()
        length += elements
        if i and (kind != previous or kind[-1] or length > BUCKET):
            starts.append(i)
            length = elements
        previous = kind
    ends = [*starts[1:], len(tensors)]
    return [slice(a, b) for a, b in zip(starts, ends, strict=True) if b > a]


def bytes_copied(tensors: Sequence[Tensor]) -> int:
    """Return the bytes that a copy of these tensors takes, where large ones are sampled."""
    return sum(t.numel() * t.element_size() // (SAMPLED if _is_sampled(t) else 1) for t in tensors)


def _parts(tensors: Sequence[Tensor], bucket: slice) -> list[tuple[list[int], Reader]]:
    """Return the parts of a bucket: each sampled tensor by itself, and all others as one vector."""
    sampled: list[tuple[list[int], Reader]] = []
    others = []
    for i in range(bucket.start, bucket.stop):
        if _is_sampled(tensors[i]):
            sampled.append(([i], _sample))
        else:
            others.append(i)
    return [*sampled, (others, flattened if len(others) > 1 else _only)] if others else sampled


def _is_sampled(tensor: Tensor) -> bool:
    """Return whether the tensor is large, contiguous, and has rows long enough for the sample to contain each.

    A step may change only a few rows of an embedding, which a sample of some rows would miss.
    """
    if tensor.numel() <= LARGE or tensor.layout != torch.strided or hasattr(tensor, "full_tensor"):
        return False
    return tensor.is_contiguous() and tensor.stride(0) >= SAMPLED * CACHE_LINE


def _sample(tensors: Sequence[Tensor]) -> Tensor:
    """Return one element in `SAMPLED` of a single tensor, shape (pieces, length of a piece); a view where possible.

    The distance between two pieces is a little more than the length of a row, or than 1024 in longer rows. The pieces
    therefore lie on diagonals, and rows and columns are sampled in proportion. This is needed where a step changes only
    the weights of a few inputs or classes.
    """
    (tensor,) = tensors
    distance = min(tensor.numel() // len(tensor), 1024) + CACHE_LINE
    return tensor.reshape(-1).unfold(0, distance // SAMPLED, distance)


def _only(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0]


def _copied(tensors: Sequence[Tensor], read: Reader) -> Tensor:
    return read(tensors) if read is flattened else read(tensors).clone()


def _product(gradient: Tensor, update: Tensor) -> Tensor:
    if hasattr(update, "full_tensor"):  # a sharded tensor cannot be flattened
        return full_tensor((gradient * update).sum())
    return inner_product([gradient], [update])


def _norm(vector: Tensor) -> Tensor:
    return full_tensor(torch.linalg.vector_norm(vector, dtype=torch.float32 if vector.itemsize < 4 else None))


def _scaled(value: Tensor, factor: float) -> Tensor:
    return value if factor == 1.0 else value * factor


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Return tensors of one element each as one vector, shape (n,), on the device of the first."""
    device = values[0].device
    return torch.stack([(value if value.device == device else value.to(device)).reshape(()) for value in values])
