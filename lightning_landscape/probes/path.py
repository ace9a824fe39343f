"""The loss on the plane along which the points of a run spread most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from lightning_landscape.evidence import Plane
from lightning_landscape.functional.norms import global_norm
from lightning_landscape.functional.planes import Frame, plane_losses, principal_directions
from lightning_landscape.probes.evaluation import gradient_at
from lightning_landscape.surface import LossSurface, Params

NOW = "now"
"""name of the present weights among the points of the plane"""
MARGIN = 0.25
"""width of the border around the points on each side, as a share of their extent along the axis"""
STRAIGHT = 1e-3
"""ratio of the spreads along the second and the first direction below which the points count as one straight line"""
MIN_ASPECT = 0.5
"""smallest ratio of the shorter axis to the longer, so that a nearly straight path is not drawn as a thin strip"""


@dataclass(frozen=True)
class PathPlane:
    """Measure the loss on the plane along which the points of the run spread most, on a few batches [Li18]_.

    The points are the anchors and the present weights. Where they lie on one straight line, as two points always do,
    the second axis is the direction of steepest descent. It takes ``resolution² · batches`` evaluations of the loss on
    one batch, and the gradients of these batches.

    .. [Li18] Visualizing the loss landscape of neural nets, arXiv:1712.09913.
    """

    several_copies: ClassVar[bool] = True
    resolution: int = 11
    """number of grid points along each axis, at least 3"""
    batches: int = 1
    """number of batches that the loss is averaged over; fewer where the gradient budget is small"""

    def __post_init__(self) -> None:
        if self.resolution < 3:
            raise ValueError(f"resolution must be at least 3, got {self.resolution}")
        if self.batches < 1:
            raise ValueError(f"batches must be at least 1, got {self.batches}")

    def __call__(self, surface: LossSurface) -> Plane | None:
        """Return the losses on the plane and the points of the run, in the order of the anchors.

        None without anchors, where all points are equal, where the points lie on a line and the gradient is zero or
        parallel to it, and where weights are sharded over ranks.
        """
        if not surface.anchors or any(hasattr(weight, "to_local") for weight in surface.here.values()):
            return None
        surface = surface.on_first(self._affordable_batches(surface))
        axes = _principal_axes(surface) or _line_and_descent(surface)
        if axes is None:
            return None
        frame, names = axes
        coordinates = {name: frame.coordinates(point) for name, point in surface.anchors.items()}
        coordinates[NOW] = (0.0, 0.0, 0.0)
        xs, ys = self._grid([place[0] for place in coordinates.values()], [place[1] for place in coordinates.values()])
        off_plane = sum(distance**2 for _, _, distance in coordinates.values())
        total = sum(x**2 + y**2 for x, y, _ in coordinates.values()) + off_plane
        return Plane(
            *names,
            xs,
            ys,
            losses=plane_losses(surface.loss, frame, xs, ys),
            points=_merged(coordinates),
            off_plane=(off_plane / total) ** 0.5,
            samples=surface.run.samples,
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the cost on this surface, in gradients of one batch."""
        return self._cost_per_batch * self._affordable_batches(surface)

    @property
    def _cost_per_batch(self) -> float:
        return self.resolution**2 / 3 + 1

    def _affordable_batches(self, surface: LossSurface) -> int:
        return max(1, surface.steps_within_budget(min(self.batches, surface.batches), self._cost_per_batch))

    def _grid(self, xs: list[float], ys: list[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the coordinates of the grid along both axes, for points with these coordinates."""
        shortest = MIN_ASPECT * max(max(values) - min(values) for values in (xs, ys))
        x_axis, y_axis = (covering_axis(_widened(values, shortest), MARGIN, self.resolution) for values in (xs, ys))
        return x_axis, y_axis


def covering_axis(values: list[float], margin: float, resolution: int) -> tuple[float, ...]:
    """Return `resolution` equally spaced coordinates that cover the values and a margin, and of which one is 0.

    To contain 0 they are shifted by less than one spacing.

    Args:
        values: coordinates to cover, on both sides of 0 or including 0.
        margin: as a share of the extent of the values.
        resolution: at least 2.
    """
    low, high = min(values), max(values)
    low, high = low - margin * (high - low), high + margin * (high - low)
    spacing = (high - low) / (resolution - 1)
    first = -round(-low / spacing)
    return tuple(spacing * (first + index) for index in range(resolution))


def _principal_axes(surface: LossSurface) -> tuple[Frame, tuple[str, str]] | None:
    """Return the plane of the points' principal directions and the names of its axes; None for points on a line."""
    points = list(surface.anchors.values())
    if len(points) < 2:
        return None
    axes = principal_directions(points, surface.here)
    first, second = (float(global_norm(list(axis.values()))) for axis in axes)
    if not second > STRAIGHT * first:
        return None
    return Frame.spanned_by(surface.here, *axes), ("main direction of the run", "second direction of the run")


def _line_and_descent(surface: LossSurface) -> tuple[Frame, tuple[str, str]] | None:
    """Return the plane through the farthest anchor and along the steepest descent, and the names of its axes.

    None where the two directions do not span a plane.
    """
    descent = {name: -slope for name, slope in gradient_at(surface.loss, surface.here).items()}
    differences = {name: _difference(point, surface.here) for name, point in surface.anchors.items()}
    farthest = max(differences, key=lambda name: float(global_norm(list(differences[name].values()))))
    try:
        frame = Frame.spanned_by(surface.here, differences[farthest], descent)
    except ValueError:
        return None
    return frame, (f"to {farthest}", "steepest descent")


def _difference(point: Params, origin: Params) -> dict[str, Tensor]:
    return {name: point[name].to(tensor) - tensor for name, tensor in origin.items()}


def _widened(values: list[float], shortest: float) -> list[float]:
    """Return the values with two more around their middle, so that they span at least `shortest`."""
    middle = (min(values) + max(values)) / 2
    return [*values, middle - shortest / 2, middle + shortest / 2]


def _merged(coordinates: Mapping[str, tuple[float, float, float]]) -> dict[str, tuple[float, float]]:
    """Return the coordinates on the plane by name, in order; equal points share one entry with all their names."""
    names: dict[tuple[float, float, float], list[str]] = {}
    for name, place in coordinates.items():
        names.setdefault(place, []).append(name)
    return {", ".join(shared): place[:2] for place, shared in names.items()}
