"""Readings of the loss surface around the present weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Descent:
    """The loss along the direction of smallest curvature, on the batches that found it and on others.

    A direction fitted to some batches goes down on them by selection; it leads somewhere if it does on others as well.
    """

    distances: tuple[float, ...]
    """signed distance from the present weights, ascending, with 0"""
    losses: tuple[float, ...]
    """same length; NaN and inf stay what they are"""
    held_out: tuple[float, ...] | None
    """the same on the other half of the batches; None where there is none"""

    @property
    def distance(self) -> float:
        """Where the measured loss is lowest; 0 where it only rises."""
        finite = [pair for pair in zip(self.losses, self.distances, strict=True) if math.isfinite(pair[0])]
        return min(finite, key=lambda pair: (pair[0], abs(pair[1])))[1] if finite else 0.0

    @property
    def drop(self) -> float:
        """Fall of the measured loss from here to `distance`, in units of the loss; never negative."""
        return self._fall(self.losses)

    @property
    def held_out_drop(self) -> float | None:
        """Fall of the loss on the other batches over the same distance; negative where it rises there."""
        return None if self.held_out is None else self._fall(self.held_out)

    def _fall(self, losses: tuple[float, ...]) -> float:
        return losses[self.distances.index(0.0)] - losses[self.distances.index(self.distance)]


@dataclass(frozen=True)
class Curvature:
    """Both ends of the Hessian's spectrum at the present weights."""

    lambda_min: float
    """smallest curvature found; the true one is not above it, but for `error`"""
    lambda_max: float
    """largest curvature found; the true one is not below it, but for `error`"""
    residual_min: float
    """an eigenvalue lies within this distance of `lambda_min`"""
    residual_max: float
    error: float
    """absolute error of the products themselves, from their asymmetry"""
    loss: float
    gradient_norm: float
    relative_gradient: float
    """κ = |g|·max(|w|, 1)/|loss|: the relative change of the loss along a relative step of 1"""
    products: int
    """Hessian-vector products that it took"""
    method: str
    """how products were taken, in words; "approximate" stands in it for finite differences"""
    reason: str | None
    """why not the best method; None where it was"""
    parameters: int
    samples: int
    """how many the loss averages over; 0 where that is not known; few samples bias both ends outward"""
    descent: Descent | None = None
    """the loss along the direction of `lambda_min`; None where that is not negative"""
    followed: float | None = None
    """fall of the loss by the step to the lowest point of `descent` and 40 steps of the run's own optimizer from there,
    over the loss, on other batches; None where no way down was found, or the optimizer cannot be copied"""

    @property
    def degenerate(self) -> bool:
        """Whether there is no curvature at all, so that second order cannot tell a minimum from a saddle."""
        return self.lambda_min == 0.0 == self.lambda_max

    @property
    def ratio(self) -> float | None:
        """λ_min over λ_max; None where there is no upward curvature. Healthy networks have it down to about -0.2."""
        return self.lambda_min / self.lambda_max if self.lambda_max > 0 else None

    def sharpness_ratio(self, learning_rate: float) -> float:
        """λ_max over 2/learning rate, the edge of stability of plain gradient descent [Cohen21]_; 1 is the edge.

        .. [Cohen21] Gradient descent on neural networks typically occurs at the edge of stability, arXiv:2103.00065.
        """
        return self.lambda_max * learning_rate / 2


@dataclass(frozen=True)
class Spectrum:
    """All curvatures at the present weights, as a density, and their sum."""

    nodes: tuple[float, ...]
    """curvatures, ascending"""
    weights: tuple[float, ...]
    """share of the directions that has each; sum 1"""
    trace: float
    trace_error: float
    """standard error of `trace`"""
    share_negative: float
    """share of the directions along which the loss bends down, in [0, 1]: Dauphin's index α"""
    products: int
    method: str
    reason: str | None
    parameters: int
    samples: int


@dataclass(frozen=True)
class Plane:
    """The loss on a plane through the present weights."""

    x_name: str
    y_name: str
    xs: tuple[float, ...]
    """ascending, with 0; distances along the first axis"""
    ys: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    """``losses[j][i]`` at ``(xs[i], ys[j])``; NaN and inf stay what they are"""
    points: Mapping[str, tuple[float, float]]
    """named points of the run by their coordinates, in order of time: the trajectory; projected where off the plane"""
    off_plane: float
    """share of the points' distance from here that the plane does not show, in [0, 1]; root mean square"""
    samples: int
