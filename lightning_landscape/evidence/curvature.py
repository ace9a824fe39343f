"""Readings of the loss surface around the present weights: curvature, its spectrum, and the loss on planes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lightning_landscape.evidence.short_repr import short_repr


@dataclass(frozen=True)
class Descent:
    """The loss along the direction of smallest curvature, on the measured batches and on held-out batches.

    The direction was fitted to the measured batches, so their loss falls along it by selection. Only a fall on held-out
    batches shows a way down.
    """

    distances: tuple[float, ...]
    """signed distances from the present weights, ascending, including 0, shape (n,)"""
    losses: tuple[float, ...]
    """loss on the measured batches at each distance, shape (n,); may hold NaN and inf"""
    held_out: tuple[float, ...] | None
    """loss on the held-out batches at each distance, shape (n,); None if there are no held-out batches"""

    __repr__ = short_repr

    @property
    def distance(self) -> float:
        """Signed distance at which the loss on the measured batches is lowest; 0 if it only rises."""
        finite = [pair for pair in zip(self.losses, self.distances, strict=True) if math.isfinite(pair[0])]
        return min(finite, key=lambda pair: (pair[0], abs(pair[1])))[1] if finite else 0.0

    @property
    def drop(self) -> float:
        """Fall of the loss on the measured batches from 0 to `distance`, in units of the loss; never negative."""
        return self._fall_at_distance(self.losses)

    @property
    def held_out_drop(self) -> float | None:
        """Fall of the loss on the held-out batches from 0 to `distance`, negative if it rises; None without them."""
        return None if self.held_out is None else self._fall_at_distance(self.held_out)

    def _fall_at_distance(self, losses: tuple[float, ...]) -> float:
        return losses[self.distances.index(0.0)] - losses[self.distances.index(self.distance)]


@dataclass(frozen=True)
class Curvature:
    """The smallest and the largest eigenvalue of the Hessian at the present weights."""

    lambda_min: float
    """estimate of the smallest eigenvalue; the true one is at most this value plus `error`"""
    lambda_max: float
    """estimate of the largest eigenvalue; the true one is at least this value minus `error`"""
    residual_min: float
    """residual of `lambda_min`: the Hessian has an eigenvalue within this distance of it"""
    residual_max: float
    """residual of `lambda_max`: the Hessian has an eigenvalue within this distance of it"""
    error: float
    """absolute error of the Hessian-vector products, estimated from their asymmetry, in units of the eigenvalues"""
    loss: float
    """mean loss on the measured batches"""
    gradient_norm: float
    """norm of the gradient on the measured batches"""
    relative_gradient: float
    """κ = |g|·max(|w|, 1)/(loss − floor): relative change of the loss per relative step; inf at the floor"""
    products: int
    """number of Hessian-vector products that were computed"""
    method: str
    """how the products were computed, in words; it contains "approximate" if by finite differences"""
    reason: str | None
    """why a less exact method was used; None if the most exact one was"""
    parameters: int
    """number of parameters, the size of the Hessian"""
    samples: int
    """number of samples that the loss averages over; 0 if it is unknown; with few samples both eigenvalues are too far
    from zero"""
    descent: Descent | None = None
    """the loss along the eigenvector of `lambda_min`; None if `lambda_min` is not negative"""
    followed: float | None = None
    """relative fall of the held-out loss by a step to the lowest point of `descent` and up to 40 steps of the run's own
    optimizer from there; None if `descent` shows no way down, or the optimizer cannot be copied"""
    floor: float = 0.0
    """the lowest possible loss, from which relative falls are measured"""

    @property
    def held_out_drop(self) -> float:
        """Relative fall of the held-out loss at the lowest point of `descent`; 0 if it was not measured."""
        height = abs(self.loss - self.floor)
        fall = None if self.descent is None else self.descent.held_out_drop
        return fall / height if fall is not None and height else 0.0

    @property
    def degenerate(self) -> bool:
        """Whether there is no curvature at all, so that second order cannot tell a minimum from a saddle."""
        return self.lambda_min == 0.0 == self.lambda_max

    @property
    def ratio(self) -> float | None:
        """λ_min over λ_max; None if λ_max is not positive. In healthy networks it goes down to about -0.2."""
        return self.lambda_min / self.lambda_max if self.lambda_max > 0 else None

    def sharpness_ratio(self, learning_rate: float) -> float:
        """Return λ_max·learning_rate/2; gradient descent without momentum is unstable above 1 [Cohen21]_.

        .. [Cohen21] Gradient descent on neural networks typically occurs at the edge of stability, arXiv:2103.00065.
        """
        return self.lambda_max * learning_rate / 2


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalue density of the Hessian at the present weights, and its trace."""

    nodes: tuple[float, ...]
    """eigenvalues at which the density is given, ascending, shape (n,)"""
    weights: tuple[float, ...]
    """share of all eigenvalues near each node, shape (n,); the sum is 1"""
    trace: float
    """estimate of the sum of all eigenvalues"""
    trace_error: float
    """standard error of `trace`"""
    share_negative: float
    """share of the eigenvalues that are negative, in [0, 1]; Dauphin (2014) calls it the index α"""
    products: int
    """number of Hessian-vector products that were computed"""
    method: str
    """how the products were computed, as in `Curvature`"""
    reason: str | None
    """why a less exact method was used; None if the most exact one was"""
    parameters: int
    """number of parameters, the size of the Hessian"""
    samples: int
    """number of samples that the loss averages over; 0 if it is unknown"""

    __repr__ = short_repr


@dataclass(frozen=True)
class Plane:
    """The loss on a grid in a plane through the present weights, which lie at (0, 0)."""

    x_name: str
    """name of the first axis"""
    y_name: str
    """name of the second axis"""
    xs: tuple[float, ...]
    """coordinates along the first axis, ascending, including 0, shape (n,)"""
    ys: tuple[float, ...]
    """coordinates along the second axis, ascending, including 0, shape (m,)"""
    losses: tuple[tuple[float, ...], ...]
    """``losses[j][i]`` is the loss at ``(xs[i], ys[j])``, shape (m, n); may hold NaN and inf"""
    points: Mapping[str, tuple[float, float]]
    """coordinates of anchors of the run by name, in order of time; anchors outside the plane are projected onto it"""
    off_plane: float
    """share of the anchors' distance from the present weights that is perpendicular to the plane, in [0, 1]; root mean
    square over the anchors"""
    samples: int
    """number of samples that the loss averages over; 0 if it is unknown"""

    __repr__ = short_repr
