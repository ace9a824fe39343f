"""The loss on planes through the present weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from lightning_landscape.evidence import Plane
from lightning_landscape.functional.planes import (
    Frame,
    filter_normalised_direction,
    plane_losses,
    principal_directions,
)
from lightning_landscape.probes.curvature import HessianExtremes
from lightning_landscape.surface import LossSurface, Params

NOW = "now"


@dataclass(frozen=True)
class AnchorPlane:
    """The plane through two anchors and the present weights; its first axis runs from now to `first`."""

    first: str = "initial"
    second: str = "best"
    resolution: int = 21
    margin: float = 0.25
    """how far the picture goes beyond the points, as a share of their spread"""

    def __post_init__(self) -> None:
        require_resolution(self.resolution)

    def __call__(self, surface: LossSurface) -> Plane | None:
        """Measure; None where an anchor is missing, or the three points lie on one line."""
        if not {self.first, self.second} <= set(surface.anchors):
            return None
        ends = [difference(surface.anchors[name], surface.here) for name in (self.first, self.second)]
        try:
            frame = Frame.spanned_by(surface.here, *ends)
        except ValueError:
            return None
        points = {name: surface.anchors[name] for name in (self.first, self.second)}
        return framed(surface, frame, points, (f"to {self.first}", f"to {self.second}"), self.resolution, self.margin)

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface."""
        return surface.measuring((self.resolution + 1) ** 2)


@dataclass(frozen=True)
class TrajectoryPlane:
    """The plane along which the anchors, in their order, spread most: PCA of the run's snapshots [Li18]_.

    .. [Li18] Visualizing the loss landscape of neural nets, arXiv:1712.09913.
    """

    resolution: int = 21
    margin: float = 0.25

    def __post_init__(self) -> None:
        require_resolution(self.resolution)

    def __call__(self, surface: LossSurface) -> Plane | None:
        """Measure; None with fewer than two anchors, or where all lie on one line."""
        if len(surface.anchors) < 2:
            return None
        try:
            axes = principal_directions(list(surface.anchors.values()), surface.here)
            frame = Frame.spanned_by(surface.here, *axes)
        except ValueError:
            return None
        names = ("first component", "second component")
        return framed(surface, frame, surface.anchors, names, self.resolution, self.margin)

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface."""
        return surface.measuring((self.resolution + 1) ** 2)


@dataclass(frozen=True)
class CurvaturePlane:
    """The plane of largest and smallest curvature, `radius` times the weights' norm each way."""

    resolution: int = 21
    radius: float = 0.05
    extremes: HessianExtremes = field(default_factory=HessianExtremes)

    def __post_init__(self) -> None:
        require_resolution(self.resolution)

    def __call__(self, surface: LossSurface) -> Plane | None:
        """Measure; None where all curvatures are the same."""
        found = self.extremes.extremes(surface)
        if found.lambda_min == found.lambda_max:
            return None
        frame = Frame.spanned_by(surface.here, found.v_max, found.v_min)
        half = self.radius * max(float(frame.origin.norm()), 1.0)
        axis = symmetric_axis(half, self.resolution)
        names = (f"largest curvature, {found.lambda_max:.3g}", f"smallest curvature, {found.lambda_min:.3g}")
        return Plane(
            *names,
            axis,
            axis,
            plane_losses(surface.loss, frame, axis, axis),
            {NOW: (0.0, 0.0)},
            0.0,
            surface.run.samples,
        )

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface."""
        return self.extremes.cost(surface) + surface.measuring((self.resolution + 1) ** 2)


@dataclass(frozen=True)
class RandomPlane:
    """A plane along two random filter-normalised directions [Li18]_, from -1 to 1 in units of the filters.

    .. [Li18] Visualizing the loss landscape of neural nets, arXiv:1712.09913.
    """

    resolution: int = 21
    radius: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        require_resolution(self.resolution)

    def __call__(self, surface: LossSurface) -> Plane | None:
        """Measure; None where no parameter has filters."""
        axes = [filter_normalised_direction(surface.here, seed) for seed in (self.seed, self.seed + 1)]
        try:
            frame = Frame.spanned_by(surface.here, *axes)
        except ValueError:
            return None
        length = sum(float(part.norm()) ** 2 for part in axes[0].values()) ** 0.5
        axis = symmetric_axis(self.radius * length, self.resolution)
        losses = plane_losses(surface.loss, frame, axis, axis)
        names = ("random direction 1", "random direction 2")
        return Plane(*names, axis, axis, losses, {NOW: (0.0, 0.0)}, 0.0, surface.run.samples)

    def cost(self, surface: LossSurface) -> float:
        """Return the gradients of one batch that it takes on this surface."""
        return surface.measuring((self.resolution + 1) ** 2)


def framed(
    surface: LossSurface,
    frame: Frame,
    points: Mapping[str, Params],
    names: tuple[str, str],
    resolution: int,
    margin: float,
) -> Plane:
    """The loss on a rectangle that shows all the points, the present weights last."""
    placed = {name: frame.coordinates(point) for name, point in points.items()}
    placed[NOW] = (0.0, 0.0, 0.0)
    xs, ys = (covering_axis([place[axis] for place in placed.values()], margin, resolution) for axis in (0, 1))
    outside = sum(off**2 for _, _, off in placed.values())
    length = sum(a**2 + b**2 for a, b, _ in placed.values()) + outside
    return Plane(
        x_name=names[0],
        y_name=names[1],
        xs=xs,
        ys=ys,
        losses=plane_losses(surface.loss, frame, xs, ys),
        points={name: place[:2] for name, place in placed.items()},
        off_plane=(outside / length) ** 0.5,
        samples=surface.run.samples,
    )


def symmetric_axis(half: float, resolution: int) -> tuple[float, ...]:
    """An odd number of equally spaced coordinates from -half to half; 0 is one of them, exactly."""
    middle = resolution // 2
    return tuple(half * (index - middle) / middle for index in range(2 * middle + 1))


def covering_axis(values: list[float], margin: float, resolution: int) -> tuple[float, ...]:
    """Equally spaced coordinates over the values and a margin, moved by less than one cell so that 0 is among them."""
    low, high = min(values), max(values)
    low, high = low - margin * (high - low), high + margin * (high - low)
    cell = (high - low) / (resolution - 1)
    first = -round(-low / cell)
    return tuple(cell * (first + index) for index in range(resolution))


def difference(point: Params, origin: Params) -> dict[str, Tensor]:
    """The step from one point to another, by parameter."""
    return {name: point[name].to(tensor) - tensor for name, tensor in origin.items()}


def require_resolution(resolution: int) -> None:
    """Refuse a grid without a middle.

    Raises:
        ValueError: below 3.
    """
    if resolution < 3:
        raise ValueError(f"resolution must be at least 3, got {resolution}")
