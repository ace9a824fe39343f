"""Planes in parameter space: their axes, the loss on a grid of points, and the coordinates of other points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class Frame:
    """A plane through `origin` with two orthonormal axes, in the flat coordinates of `layout`."""

    layout: Layout
    origin: Tensor
    """shape (n,)"""
    x: Tensor
    """first axis, shape (n,)"""
    y: Tensor
    """second axis, shape (n,)"""

    @classmethod
    def spanned_by(cls, origin: Params, x: Params, y: Params) -> Frame:
        """Return the plane through `origin` along two directions.

        The first axis is `x`, normalised. The second is the part of `y` that is orthogonal to it, normalised.

        Raises:
            ValueError: if one of the directions is zero, or if they are parallel.
        """
        layout = Layout.of(origin)
        first, second = (layout.flatten([direction[name] for name in layout.names]) for direction in (x, y))
        length = float(first.norm())
        if not length > 0:
            raise ValueError(f"a plane needs two directions, but the first has norm {length}")
        first = first / length
        norm = float(second.norm())
        for _ in range(2):  # for nearly parallel directions, one pass leaves a rounding error along the first
            second = second - first * torch.dot(first, second)
        orthogonal = float(second.norm())
        if not orthogonal > 1e-6 * norm:
            raise ValueError(
                "a plane needs two directions, but the second is parallel to the first: of its norm of "
                f"{norm:.1g}, only {orthogonal:.1g} is orthogonal"
            )
        return cls(layout, layout.flatten(list(origin.values())), first, second / orthogonal)

    def point(self, a: float, b: float) -> dict[str, Tensor]:
        """Return the parameters at these coordinates, by name."""
        return self.layout.named(self.origin + self.x * a + self.y * b)

    def coordinates(self, point: Params) -> tuple[float, float, float]:
        """Return both coordinates of the point's projection onto the plane, and its distance from the plane."""
        step = self.layout.flatten([point[name] for name in self.layout.names]) - self.origin
        a, b = torch.dot(step, self.x), torch.dot(step, self.y)
        orthogonal = step - self.x * a - self.y * b
        return float(a), float(b), float(orthogonal.norm())


@torch.no_grad()
def plane_losses(
    loss: Callable[[Params], Tensor], frame: Frame, xs: Sequence[float], ys: Sequence[float]
) -> tuple[tuple[float, ...], ...]:
    """Return the loss at the coordinates ``(xs[i], ys[j])`` as ``rows[j][i]``, including NaN and inf.

    >>> bowl = lambda p: (p["w"] ** 2).sum()
    >>> origin, axes = {"w": torch.zeros(2)}, torch.eye(2)
    >>> frame = Frame.spanned_by(origin, {"w": axes[0]}, {"w": axes[1]})
    >>> plane_losses(bowl, frame, xs=[-1.0, 0.0, 2.0], ys=[0.0, 1.0])
    ((1.0, 0.0, 4.0), (2.0, 1.0, 5.0))
    """
    rows = [torch.stack([loss(frame.point(x, y)).detach() for x in xs]) for y in ys]
    return tuple(tuple(row.tolist()) for row in rows)


def principal_directions(points: Sequence[Params], origin: Params) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the two directions along which the points differ most from `origin`: their principal components.

    The norm of each is the root of the sum of squares of the points' coordinates along it.

    Raises:
        ValueError: if there are fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"principal directions need at least two points, got {len(points)}")
    layout = Layout.of(origin)
    here = layout.flatten(list(origin.values()))
    steps = torch.stack([layout.flatten([point[name] for name in layout.names]) - here for point in points])
    # The Gram matrix of k points is (k, k), whereas the covariance matrix of n parameters is (n, n).
    _, vectors = torch.linalg.eigh((steps @ steps.T).double())
    first, second = vectors[:, -1].to(steps) @ steps, vectors[:, -2].to(steps) @ steps
    return layout.named(first), layout.named(second)
