"""How far one optimizer step moves the weights, and by how much its gradient says that the loss should change."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lightning_landscape.functional.norms import inner_product
from lightning_landscape.trainer._compat import joined, whole

LONGEST = 2**18
"""numbers up to which neighbouring tensors are treated as one vector: few calls, and the copy stays in the cache"""
LARGE = 2**16
"""numbers beyond which a tensor is sampled, where its rows are long"""
SHARE = 8
"""numbers of a sampled tensor for each one that is read"""
LINE = 16
"""float32 numbers of a cache line, less than which is not fetched"""

Reading = Callable[[Sequence[Tensor]], Tensor]


class UpdateMeasurement:
    """A copy of the weights from before a step, to be compared with what they are after it; of large tensors a sample.

    Args:
        parameters: what moves.
        runs: which of them are treated as one vector, see `runs_of`.
        gradients: before clipping, where clipping will change them; None where they can be read after the step.
    """

    def __init__(
        self, parameters: Sequence[Tensor], runs: Sequence[slice], gradients: Sequence[Tensor | None] | None
    ) -> None:
        self._parameters = parameters
        self._parts = [part for run in runs for part in _parts(parameters, run)]
        self._before = [_copied([parameters[i] for i in members], read) for members, read in self._parts]
        self._slopes: list[Tensor | None] = []
        if gradients is not None:
            slopes = [self._slope(gradients, *part) for part in self._parts]
            self._slopes = [None if slope is None else slope.clone() for slope in slopes]

    def measured(self) -> dict[str, Tensor]:
        """After the step, by part: "movement", |w| before it and |Δw|, shape (2, parts), and "predicted", -g·Δw.

        A part is a large tensor, for all of which its sample stands, or what else is in a run. Without any dense
        gradient nothing is predicted. The copy is used up.
        """
        gradients = [parameter.grad for parameter in self._parameters]
        weights, changes, products = [], [], []
        for i, ((members, read), vector) in enumerate(zip(self._parts, self._before, strict=True)):
            scale = self._parameters[members[0]].numel() / vector.numel() if read is _sample else 1.0
            weights.append(_scaled(_norm(vector), scale**0.5))
            vector.sub_(read([self._parameters[member] for member in members]))
            changes.append(_scaled(_norm(vector), scale**0.5))
            slope = self._slopes[i] if self._slopes else self._slope(gradients, members, read)
            if slope is not None:
                products.append(_scaled(_product(slope, vector), scale))
        movement = {"movement": stacked([*weights, *changes]).view(2, -1)}
        return movement | ({"predicted": stacked(products)} if products else {})

    def _slope(self, gradients: Sequence[Tensor | None], members: Sequence[int], read: Reading) -> Tensor | None:
        """A part's gradient, zero where there is none or a sparse one; None where there is no other."""
        dense = [None if (gradient := gradients[i]) is None or gradient.is_sparse else gradient for i in members]
        if all(gradient is None for gradient in dense):
            return None
        pairs = zip(members, dense, strict=True)
        return read([torch.zeros_like(self._parameters[i]) if gradient is None else gradient for i, gradient in pairs])


def runs_of(tensors: Sequence[Tensor]) -> list[slice]:
    """Neighbours of one kind, up to `LONGEST` numbers together beside those sampled; what is sharded stands alone."""
    starts, before, length = [0], None, 0
    for i, tensor in enumerate(tensors):
        kind = tensor.dtype, tensor.device, hasattr(tensor, "full_tensor")
        numbers = 0 if _is_sampled(tensor) else tensor.numel()
        length += numbers
        if i and (kind != before or kind[-1] or length > LONGEST):
            starts.append(i)
            length = numbers
        before = kind
    ends = [*starts[1:], len(tensors)]
    return [slice(a, b) for a, b in zip(starts, ends, strict=True) if b > a]


def bytes_copied(tensors: Sequence[Tensor]) -> int:
    """Bytes that a copy of what is read of them takes."""
    return sum(t.numel() * t.element_size() // (SHARE if _is_sampled(t) else 1) for t in tensors)


def _parts(tensors: Sequence[Tensor], run: slice) -> list[tuple[list[int], Reading]]:
    """Which tensors of a run are read together, and how: each that is sampled by itself, all others as one vector."""
    sampled: list[tuple[list[int], Reading]] = []
    others = []
    for i in range(run.start, run.stop):
        if _is_sampled(tensors[i]):
            sampled.append(([i], _sample))
        else:
            others.append(i)
    return [*sampled, (others, joined if len(others) > 1 else _only)] if others else sampled


def _is_sampled(tensor: Tensor) -> bool:
    """Whether it is large, in one piece, and has rows so long that the sample meets each: an embedding moves in few."""
    if tensor.numel() <= LARGE or tensor.layout != torch.strided or hasattr(tensor, "full_tensor"):
        return False
    return tensor.is_contiguous() and tensor.stride(0) >= SHARE * LINE


def _sample(tensors: Sequence[Tensor]) -> Tensor:
    """One of `SHARE` numbers of a single tensor, shape (pieces, length of a piece), where possible without a copy.

    Pieces follow one another at a little more than the length of a row, or than 1024, and so lie on diagonals: rows
    and columns are met in proportion, which they have to be where few inputs or classes are what moves the weights.
    """
    (tensor,) = tensors
    step = min(tensor.numel() // len(tensor), 1024) + LINE
    return tensor.reshape(-1).unfold(0, step // SHARE, step)


def _only(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0]


def _copied(tensors: Sequence[Tensor], read: Reading) -> Tensor:
    return read(tensors) if read is joined else read(tensors).clone()


def _product(slope: Tensor, change: Tensor) -> Tensor:
    if hasattr(change, "full_tensor"):  # shards cannot be laid out in a row
        return whole((slope * change).sum())
    return inner_product([slope], [change])


def _norm(vector: Tensor) -> Tensor:
    return whole(torch.linalg.vector_norm(vector, dtype=torch.float32 if vector.itemsize < 4 else None))


def _scaled(value: Tensor, factor: float) -> Tensor:
    return value if factor == 1.0 else value * factor


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Tensors of one element each as a vector, on the device of the first."""
    device = values[0].device
    return torch.stack([(value if value.device == device else value.to(device)).reshape(()) for value in values])
