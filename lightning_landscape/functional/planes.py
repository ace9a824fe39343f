"""Planes in parameter space: their directions, the loss on them, and where points fall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.functional.hessian.layout import Layout
from lightning_landscape.functional.hessian.operator import random_direction
from lightning_landscape.surface import Params


@dataclass(frozen=True)
class Frame:
    """A plane through `origin` with orthonormal axes, all (n,)."""

    layout: Layout
    origin: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def spanned_by(cls, origin: Params, x: Params, y: Params) -> Frame:
        """The plane through `origin` along two directions; the first axis is `x`, the second the rest of `y`.

        Raises:
            ValueError: if the directions are zero or parallel.
        """
        layout = Layout.of(origin)
        first, second = (layout.flatten([direction[name] for name in layout.names]) for direction in (x, y))
        length = float(first.norm())
        if not length > 0:
            raise ValueError(f"a plane needs two directions, the first has length {length}")
        first = first / length
        size = float(second.norm())
        for _ in range(2):  # twice: the second removes what rounding left of nearly parallel directions
            second = second - first * torch.dot(first, second)
        rest = float(second.norm())
        if not rest > 1e-6 * size:
            raise ValueError(
                f"a plane needs two directions, the second is parallel to the first to {rest:.1g} of {size:.1g}"
            )
        return cls(layout, layout.flatten(list(origin.values())), first, second / rest)

    def point(self, a: float, b: float) -> dict[str, Tensor]:
        """The parameters at these coordinates."""
        return self.layout.named(self.origin + self.x * a + self.y * b)

    def coordinates(self, point: Params) -> tuple[float, float, float]:
        """Where a point falls on the plane, and its distance from the plane."""
        step = self.layout.flatten([point[name] for name in self.layout.names]) - self.origin
        a, b = torch.dot(step, self.x), torch.dot(step, self.y)
        rest = step - self.x * a - self.y * b
        return float(a), float(b), float(rest.norm())


@torch.no_grad()
def plane_losses(
    loss: Callable[[Params], Tensor], frame: Frame, xs: Sequence[float], ys: Sequence[float]
) -> tuple[tuple[float, ...], ...]:
    """The loss at every ``(xs[i], ys[j])`` as ``rows[j][i]``; NaN and inf stay what they are.

    >>> bowl = lambda p: (p["w"] ** 2).sum()
    >>> origin, axes = {"w": torch.zeros(2)}, torch.eye(2)
    >>> frame = Frame.spanned_by(origin, {"w": axes[0]}, {"w": axes[1]})
    >>> plane_losses(bowl, frame, xs=[-1.0, 0.0, 2.0], ys=[0.0, 1.0])
    ((1.0, 0.0, 4.0), (2.0, 1.0, 5.0))
    """
    rows = [torch.stack([loss(frame.point(x, y)).detach() for x in xs]) for y in ys]
    return tuple(tuple(row.tolist()) for row in rows)


def filter_normalised_direction(params: Params, seed: int) -> dict[str, Tensor]:
    """A Gaussian direction with every filter as long as the filter of `params` it would move [Li18]_.

    Filters are the slices along the first dimension; biases and the scales of norms, which have none, stay in place.

    .. [Li18] Visualizing the loss landscape of neural nets, arXiv:1712.09913.
    """
    layout = Layout.of(params)
    direction = layout.named(random_direction(layout, seed))
    for name, part in direction.items():
        if part.dim() < 2:
            part.zero_()
            continue
        wanted = params[name].detach().flatten(1).norm(dim=1)
        given = part.flatten(1).norm(dim=1).clamp_min(torch.finfo(part.dtype).tiny)
        part.mul_((wanted / given).view(-1, *[1] * (part.dim() - 1)))
    return direction


def principal_directions(points: Sequence[Params], origin: Params) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The two directions along which the points spread most about `origin`: PCA of the run's snapshots.

    Raises:
        ValueError: if there are fewer than two points.
    """
    if len(points) < 2:
        raise ValueError(f"principal directions need at least two points, got {len(points)}")
    layout = Layout.of(origin)
    here = layout.flatten(list(origin.values()))
    steps = torch.stack([layout.flatten([point[name] for name in layout.names]) - here for point in points])
    # The Gram matrix of a few points is small; the covariance of n parameters is not.
    _, vectors = torch.linalg.eigh((steps @ steps.T).double())
    first, second = vectors[:, -1].to(steps) @ steps, vectors[:, -2].to(steps) @ steps
    return layout.named(first), layout.named(second)
