"""The plane that holds the path of a run, at the price of a glance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_landscape.evidence import Plane
from lightning_landscape.functional.norms import global_norm
from lightning_landscape.functional.planes import Frame, plane_losses, principal_directions
from lightning_landscape.probes.planes import NOW, covering_axis, difference, require_resolution
from lightning_landscape.surface import LossSurface, Params

MARGIN = 0.25
"""how far the picture goes beyond the path, as a share of the path's extent along the axis"""
STRAIGHT = 1e-3
"""spread along the second direction over that along the first, below which a path is a straight line"""
NARROWEST = 0.5
"""extent of the shorter axis over that of the longer, at least: along a straight path there would be nothing to see"""


@dataclass(frozen=True)
class PathPlane:
    """The loss on the plane along which the points of the run spread most, on a few batches [Li18]_.

    Where they lie on one straight line, as the beginning and the present alone always do, the second axis is the
    steepest descent. It takes ``resolution² · batches`` forward passes, and a gradient.

    .. [Li18] Visualizing the loss landscape of neural nets, arXiv:1712.09913.
    """

    resolution: int = 11
    batches: int = 1

    def __post_init__(self) -> None:
        require_resolution(self.resolution)
        if self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}")

    def __call__(self, surface: LossSurface) -> Plane | None:
        """Measure; None where the run has not moved from any of its points, or where weights are sharded."""
        if not surface.anchors or any(hasattr(weight, "to_local") for weight in surface.here.values()):
            return None
        surface = surface.on_first(self._batches(surface))
        loss, samples = surface.loss, surface.run.samples
        found = _along(surface.anchors, surface.here) or _descending(loss, surface)
        if found is None:
            return None
        frame, names = found
        placed = {name: frame.coordinates(point) for name, point in surface.anchors.items()}
        placed[NOW] = (0.0, 0.0, 0.0)
        spans = [[place[axis] for place in placed.values()] for axis in (0, 1)]
        least = NARROWEST * max(max(values) - min(values) for values in spans)
        xs, ys = (covering_axis(_widened(values, least), MARGIN, self.resolution) for values in spans)
        outside = sum(off**2 for _, _, off in placed.values())
        length = sum(a**2 + b**2 for a, b, _ in placed.values()) + outside
        return Plane(
            *names, xs, ys, plane_losses(loss, frame, xs, ys), _path(placed), (outside / length) ** 0.5, samples
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface."""
        return self._price * self._batches(surface)

    @property
    def _price(self) -> float:
        """Of one batch: an evaluation for each point, and a gradient."""
        return self.resolution**2 / 3 + 1

    def _batches(self, surface: LossSurface) -> int:
        return max(1, surface.steps_within_budget(min(self.batches, surface.batches), self._price))


def _along(points: Mapping[str, Params], here: Params) -> tuple[Frame, tuple[str, str]] | None:
    """The plane of the points' principal directions; None where they lie on one line."""
    if len(points) < 2:
        return None
    axes = principal_directions(list(points.values()), here)
    first, second = (float(global_norm(list(axis.values()))) for axis in axes)
    if not second > STRAIGHT * first:
        return None
    return Frame.spanned_by(here, *axes), ("path, first component", "path, second component")


def _descending(loss: Callable[[Params], Tensor], surface: LossSurface) -> tuple[Frame, tuple[str, str]] | None:
    """The plane from the farthest point to here, and down the gradient; None where the two are no plane."""
    weights = [weight.detach().requires_grad_() for weight in surface.here.values()]
    with torch.enable_grad():
        value = loss(dict(zip(surface.here, weights, strict=True)))
    gradient = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    ways = {name: difference(start, surface.here) for name, start in surface.anchors.items()}
    name, back = max(ways.items(), key=lambda way: float(global_norm(list(way[1].values()))))
    down = dict(zip(surface.here, (-part for part in gradient), strict=True))
    try:
        return Frame.spanned_by(surface.here, back, down), (f"to {name}", "steepest descent")
    except ValueError:
        return None


def _widened(values: list[float], least: float) -> list[float]:
    """The values, with two more around their middle where they span less than `least`."""
    middle = (min(values) + max(values)) / 2
    return [*values, middle - least / 2, middle + least / 2]


def _path(placed: Mapping[str, tuple[float, float, float]]) -> dict[str, tuple[float, float]]:
    """Coordinates by name, in order; points that are one and the same share an entry."""
    names: dict[tuple[float, float, float], list[str]] = {}
    for name, place in placed.items():
        names.setdefault(place, []).append(name)
    return {", ".join(shared): place[:2] for place, shared in names.items()}
