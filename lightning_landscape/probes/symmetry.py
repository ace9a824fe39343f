"""Units of a layer that gradient descent cannot make differ: duplicates of one another, and units without weights."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.evidence import Symmetry
from lightning_landscape.surface import LossSurface, costs


@costs(lambda surface: 0.0)
def symmetry(surface: LossSurface) -> Symmetry | None:
    """Return the largest share of duplicate or zero units in any hidden layer at the start of the run.

    It compares the rows of each weight of two or more dimensions except the last, which belongs to the output layer,
    where equal rows are harmless. Without the anchor "initial" it compares the present weights. It returns None where
    there is no hidden layer, and where weights are sharded over ranks.
    """
    start = surface.anchors.get("initial", surface.here)
    names = [name for name in start if start[name].ndim >= 2]
    if any(hasattr(start[name], "to_local") for name in names):  # two equal rows may be on different ranks
        return None
    shares = {name: duplicate_share(start[name]) for name in names[:-1]}
    if not shares:
        return None
    most = max(shares, key=lambda name: shares[name])
    return Symmetry(shares[most], most.rpartition(".")[0] or most)


def duplicate_share(weight: Tensor) -> float:
    """Return the share of rows that equal another row or are all zero, for a weight of shape (units, …).

    >>> duplicate_share(torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [3.0, 1.0]]))
    0.75
    """
    rows = weight.detach().reshape(len(weight), -1)
    _, group, counts = torch.unique(rows, dim=0, return_inverse=True, return_counts=True)
    duplicate_or_zero = (counts[group] > 1) | (rows == 0).all(1)
    return float(duplicate_or_zero.float().mean())
