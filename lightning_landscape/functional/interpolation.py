"""The loss along the straight line between two points in parameter space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor


def line_alphas(points: int) -> tuple[float, ...]:
    """Return `points` evenly spaced positions from 0 to 1, followed by the position one step past 1.

    Raises:
        ValueError: if `points` is below 3, so that no position lies between the ends.

    >>> line_alphas(3)
    (0.0, 0.5, 1.0, 1.5)
    """
    if points < 3:
        raise ValueError(f"num_points must be at least 3 to see a barrier between the ends, got {points}")
    return tuple(i / (points - 1) for i in range(points + 1))


@torch.no_grad()
def interpolate(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], alpha: float, out: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return the point (1 - α)·start + α·end, with the dtypes and on the devices of `end`.

    At α = 0 and α = 1 it is exactly `start` and `end`.

    Args:
        start: the point at α = 0.
        end: the point at α = 1.
        alpha: the position; below 0 and above 1 beyond the ends.
        out: tensors that receive the point, so that no further memory is needed; None for new ones.

    Raises:
        ValueError: if the two points do not have the same parameter names.
    """
    if start.keys() != end.keys():
        raise ValueError(f"both points must hold the same parameters, only one has {sorted(set(start) ^ set(end))[:3]}")
    if out is not None:
        for name, tensor in end.items():
            out[name].copy_(tensor if alpha == 1 else start[name])
            if alpha not in (0, 1):
                out[name].lerp_(tensor.detach(), alpha)
        return out
    if alpha == 1:
        return {name: tensor.detach() for name, tensor in end.items()}
    moved = {name: start[name].detach().to(tensor) for name, tensor in end.items()}
    return moved if alpha == 0 else {name: torch.lerp(moved[name], end[name].detach(), alpha) for name in end}


def barrier_height(losses: Sequence[float], alphas: Sequence[float]) -> float:
    """Return the loss barrier [Frankle20]_ of a path: its largest rise over the straight line between its ends.

    The barrier is in units of the loss and never negative. It is inf if a loss between finite ends is not finite, and
    NaN if one of the ends is not finite.

    Args:
        losses: shape (n,), the loss at each position.
        alphas: shape (n,), positions in [0, 1], the first 0 and the last 1.

    >>> barrier_height([1.0, 3.0, 2.0], [0.0, 0.5, 1.0])
    1.5
    >>> barrier_height([2.0, 1.0, 0.0], [0.0, 0.5, 1.0])
    0.0

    .. [Frankle20] Linear mode connectivity and the lottery ticket hypothesis, arXiv:1912.05671.
    """
    if not (math.isfinite(losses[0]) and math.isfinite(losses[-1])):
        return math.nan
    rises = [
        loss - ((1 - alpha) * losses[0] + alpha * losses[-1]) if math.isfinite(loss) else math.inf
        for alpha, loss in zip(alphas, losses, strict=True)
    ]
    return max(0.0, *rises)


def is_monotone(losses: Sequence[float]) -> bool:
    """Return whether the loss never rises along the path [Goodfellow15]_; False if one of the losses is NaN.

    Rises within the float32 rounding error of the larger end are ignored.

    >>> is_monotone([3.0, 2.0, 2.0]), is_monotone([3.0, 1.0, 2.0])
    (True, False)

    .. [Goodfellow15] Qualitatively characterizing neural network optimization problems, arXiv:1412.6544.
    """
    slack = 1e-6 * max(abs(losses[0]), abs(losses[-1]))
    if not math.isfinite(slack):
        slack = 0.0  # with an infinite slack, no rise would count
    return all(after <= before + slack for before, after in pairwise(losses))
