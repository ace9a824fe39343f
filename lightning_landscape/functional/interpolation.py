"""The loss along the straight line between two points in parameter space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

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


def rise_above_minimum(losses: Sequence[float]) -> float:
    """Return the largest rise of the loss above the lowest loss before it on a path, in units of the loss.

    It is the barrier between two points of the same run: 0 if the loss never rises, whatever the shape of its fall.
    Rises within the float32 rounding error of the larger end count as 0. It is inf if a loss between finite ends is not
    finite, and NaN if one of the ends is not finite.

    Args:
        losses: shape (n,), in the order in which the path is followed.

    >>> rise_above_minimum([2.0, 1.75, 0.0])
    0.0
    >>> rise_above_minimum([2.0, 1.0, 1.5, 0.0])
    0.5
    """
    if not (math.isfinite(losses[0]) and math.isfinite(losses[-1])):
        return math.nan
    if not all(map(math.isfinite, losses)):
        return math.inf
    rise = max(loss - lowest for loss, lowest in zip(losses, accumulate(losses, min), strict=True))
    return rise if rise > _rounding(losses) else 0.0


def barrier_height(losses: Sequence[float], alphas: Sequence[float]) -> float:
    """Return the loss barrier [Frankle20]_ between two runs: the largest rise over the straight line between the ends.

    Within one run, where the loss at the start is usually far higher than at the end, use `rise_above_minimum`: a loss
    that falls slowly first and fast later lies above the straight line although it never rises.

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
    slack = _rounding(losses)
    return all(after <= lowest + slack for lowest, after in zip(accumulate(losses, min), losses[1:], strict=False))


def _rounding(losses: Sequence[float]) -> float:
    """Return the float32 rounding error of the larger end; 0 if an end is not finite, so that every rise counts."""
    slack = 1e-6 * max(abs(losses[0]), abs(losses[-1]))
    return slack if math.isfinite(slack) else 0.0
