"""Units that gradient descent cannot tell apart."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.evidence import Symmetry
from lightning_landscape.surface import LossSurface, costs


@costs(lambda surface: 0.0)
def symmetry(surface: LossSurface) -> Symmetry | None:
    """The layer with the largest share of twin or empty units at the start of the run, by its weight matrix.

    Only matrices with another one behind them are hidden layers; of the output layer, rows may well be alike. None
    where there is no such layer, or where weights are sharded over ranks.
    """
    start = surface.anchors.get("initial", surface.here)
    names = [name for name in start if start[name].ndim >= 2]
    if any(hasattr(start[name], "to_local") for name in names):  # twins may live on different ranks
        return None
    shares = {name: duplicate_share(start[name]) for name in names[:-1]}
    if not shares:
        return None
    most = max(shares, key=lambda name: shares[name])
    return Symmetry(shares[most], most.rpartition(".")[0] or most)


def duplicate_share(weight: Tensor) -> float:
    """Share of the rows, of a weight of shape (units, …), that equal another row or are all zero.

    >>> duplicate_share(torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0], [3.0, 1.0]]))
    0.75
    """
    rows = weight.detach().reshape(len(weight), -1)
    _, group, counts = torch.unique(rows, dim=0, return_inverse=True, return_counts=True)
    alike = (counts[group] > 1) | (rows == 0).all(1)
    return float(alike.float().mean())
