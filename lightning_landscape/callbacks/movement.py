"""How far one optimizer step moves the weights, and by how much its gradient says that the loss should change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_landscape.callbacks._compat import joined
from lightning_landscape.functional.norms import inner_product

LONGEST = 2**18
"""numbers up to which neighbouring tensors are treated as one vector: few calls, and the copy stays in the cache"""


class Movement:
    """A copy of the weights from before a step, to be compared with what they are after it.

    Args:
        parameters: what moves.
        runs: which of them are treated as one vector, see `runs_of`.
        gradients: before clipping, where clipping will change them; None where they can be read after the step.
    """

    def __init__(
        self, parameters: Sequence[Tensor], runs: Sequence[slice], gradients: Sequence[Tensor | None] | None
    ) -> None:
        self._parameters, self._runs = parameters, runs
        self._gradients = None if gradients is None else [None if g is None else g.clone() for g in gradients]
        self._before = [_copied(parameters[run]) for run in runs]

    def measured(self) -> dict[str, Tensor]:
        """After the step, by run: "movement", |w| before it and |Δw|, shape (2, runs), and "predicted", g·Δw.

        Without any dense gradient nothing is predicted. The copy is used up.
        """
        gradients = self._gradients or [parameter.grad for parameter in self._parameters]
        weights, changes, products = [], [], []
        for run, vector in zip(self._runs, self._before, strict=True):
            weights.append(whole(_norm(vector)))
            vector.sub_(_joined(self._parameters[run]))
            changes.append(whole(_norm(vector)))
            slope = _slope(self._parameters[run], gradients[run])
            if slope is not None:
                products.append(_product(slope, vector))
        movement = {"movement": stacked([*weights, *changes]).view(2, -1)}
        return movement | ({"predicted": stacked(products)} if products else {})


def whole(value: Tensor) -> Tensor:
    """The value itself, or over all ranks where it was computed from shards (FSDP2), of which each rank has its own."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def runs_of(tensors: Sequence[Tensor]) -> list[slice]:
    """Neighbours of one kind, up to `LONGEST` numbers together; what is longer, or sharded, stands alone."""
    starts, kind, length = [0], None, 0
    for i, tensor in enumerate(tensors):
        length += tensor.numel()
        if i and ((tensor.dtype, tensor.device) != kind or length > LONGEST or hasattr(tensor, "full_tensor")):
            starts.append(i)
            length = tensor.numel()
        kind = tensor.dtype, tensor.device
    ends = [*starts[1:], len(tensors)]
    return [slice(a, b) for a, b in zip(starts, ends, strict=True) if b > a]


def _copied(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0].clone() if len(tensors) == 1 else joined(tensors)


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else joined(tensors)


def _slope(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor | None:
    """The gradient as one vector, zero where there is none or a sparse one; None where there is no other."""
    dense = [None if gradient is None or gradient.is_sparse else gradient for gradient in gradients]
    if all(gradient is None for gradient in dense):
        return None
    pairs = zip(parameters, dense, strict=True)
    return _joined([torch.zeros_like(p) if gradient is None else gradient for p, gradient in pairs])


def _product(slope: Tensor, change: Tensor) -> Tensor:
    if hasattr(change, "full_tensor"):  # shards cannot be laid out in a row
        return whole((slope * change).sum())
    return inner_product([slope], [change])


def _norm(vector: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(vector, dtype=torch.float32 if vector.itemsize < 4 else None)
    return norm


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Tensors of one element each as a vector, on the device of the first."""
    device = values[0].device
    return torch.stack([(value if value.device == device else value.to(device)).reshape(()) for value in values])
