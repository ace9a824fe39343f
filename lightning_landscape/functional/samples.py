"""How far the outputs of different samples differ, and whether similar samples have similar targets."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spread(rows: Tensor) -> float | None:
    """Return how far samples differ, as a share of the size of their outputs, in [0, 1].

    It is the root of the mean square of (row - mean row), over the root of the mean square of the rows: 0 if all rows
    are one vector, and 1 if their mean is zero. It does not depend on the unit of the outputs. None if there are fewer
    than two rows, or a value is not finite.

    >>> spread(torch.tensor([[3.0, 4.0], [3.0, 4.0]])), spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    (0.0, 1.0)

    Args:
        rows: shape (samples, units).
    """
    if len(rows) < 2 or not rows.numel() or not bool(rows.isfinite().all()):
        return None
    size = math.sqrt(float(rows.double().square().mean()))
    return deviation(rows) / size if size else 0.0


def deviation(rows: Tensor) -> float:
    """Return the root of the mean square of (row - mean row), in units of the outputs.

    >>> deviation(torch.tensor([[1.0, 4.0], [3.0, 6.0]]))
    1.0

    Args:
        rows: shape (samples, units).
    """
    return math.sqrt(float((rows.double() - rows.double().mean(0)).square().mean()))


def neighbours_agree(rows: Tensor, targets: Tensor) -> float | None:
    """Return by how many standard errors targets of nearest samples are closer than those of any two samples.

    Targets are compared unit by unit: integers are equal or not, other numbers have a distance. A sample that equals
    another exactly is compared with the nearest one that differs. None if all targets are equally far from each other,
    or a value is not finite.

    >>> rows = torch.tensor([[0.0], [0.1], [0.3], [5.0], [5.1], [5.3]])
    >>> round(neighbours_agree(rows, torch.tensor([[0], [0], [0], [1], [1], [1]])), 1)
    2.9

    Args:
        rows: shape (samples, units).
        targets: shape (samples, units).
    """
    number = len(rows)
    if number != len(targets) or number < 2 or not bool(rows.isfinite().all()):
        return None
    apart = _distances(targets)
    others = apart[~torch.eye(number, dtype=torch.bool)]
    scatter = float(others.std())
    distances = torch.cdist(rows.double(), rows.double(), compute_mode="donot_use_mm_for_euclid_dist")
    distances[distances == 0] = math.inf
    nearest, neighbours = distances.min(1)
    if not 0 < scatter < math.inf or not bool(nearest.isfinite().all()):
        return None
    closer = float(others.mean()) - float(apart[torch.arange(number), neighbours].mean())
    return closer / (scatter / math.sqrt(number))


def _distances(targets: Tensor) -> Tensor:
    """Return the distances of all pairs of targets, shape (samples, samples): for integers, the share that differs."""
    if targets.is_floating_point():
        return torch.cdist(targets.double(), targets.double(), p=1.0)
    return torch.cdist(targets.double(), targets.double(), p=0.0)


def saturated_rows(logits: Tensor, dim: int) -> float | None:
    """Return the share of the rows of a softmax in which one probability is 1 up to rounding.

    No gradient passes through such a row. Entries of -5000 or less are taken as masked out. A row with fewer than two
    other entries is left out; None if there are no other rows.

    >>> saturated_rows(torch.tensor([[0.0, 40.0], [0.0, 1.0]]), 1)
    0.5

    Args:
        logits: input of the softmax.
        dim: dimension over which the probabilities add up to 1.
    """
    if not logits.ndim or logits.shape[dim] < 2:
        return None
    logits = logits.detach().float()
    rows = logits.topk(2, dim).values.narrow(dim, 1, 1) > MASKED
    if not bool(rows.any()):
        return None
    largest = logits.masked_fill(logits <= MASKED, -math.inf).softmax(dim).amax(dim, keepdim=True)
    return float((largest[rows] >= 1 - ROUNDING).float().mean())


MASKED = -5e3
"""an input of a softmax at or below this number is masked out: models add -1e4, -1e9 or -inf to hide an entry"""
ROUNDING = 1e-6
"""a probability within this distance of 1 is 1 up to the rounding of float32; the slope there is as small"""
