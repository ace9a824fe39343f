"""Draw a plane of losses as a surface in TensorBoard's mesh tab; only on request, since it takes 310 kB."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from lightning_landscape.evidence import Plane

SIDE = 81
"""points along each side of the surface"""
HEIGHT = 0.7
"""height of the surface, whose sides have length 2"""
TURN, TILT = np.deg2rad(-35), np.deg2rad(-50)
"""rotation about the vertical axis, then towards the viewer, since TensorBoard looks at a mesh from straight above"""
LIGHT = np.array([-0.45, 0.35, 0.82])
"""direction from which the surface is lit"""
PATH_COLOUR = np.array([255, 120, 30])
"""vermilion, which the colour scale of the heights does not contain"""
MARGIN = 0.9
"""distance of the last vertex below the surface; TensorBoard's view would otherwise cut off the near corner"""
PATH_WIDTH = 0.02
"""width of the path as a share of a side"""
VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""colours of the viridis scale at equal distances, from low to high"""

Floats = NDArray[np.float64]


class MeshWriter(Protocol):
    """The method of torch's `SummaryWriter` that writes a mesh."""

    def add_mesh(
        self,
        tag: str,
        vertices: Tensor,
        colors: Tensor,
        faces: Tensor,
        config_dict: Mapping[str, Any],
        global_step: int,
    ) -> None:
        """Write a mesh."""


def surface_mesh(plane: Plane) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int32]]:
    """Return vertices (n, 3), colours (n, 3) and triangles (m, 3) of the loss over the plane, with the run's path.

    The last vertex belongs to no triangle. The height follows the square root of the loss above its lowest value, so
    that one steep corner does not flatten the rest; where the loss is not finite, the surface is as high as its highest
    finite point. The shading is part of the colours, since the mesh tab has no light of its own.

    Raises:
        ValueError: if no loss on the plane is finite.
    """
    losses = np.array(plane.losses, dtype=float)
    finite = losses[np.isfinite(losses)]
    if not finite.size:
        raise ValueError("a surface needs at least one finite loss, got none")
    low, high = finite.min(), finite.max()
    share = np.sqrt(np.clip((np.nan_to_num(losses, nan=high, posinf=high, neginf=low) - low) / (high - low or 1), 0, 1))
    xs, ys = np.array(plane.xs), np.array(plane.ys)
    x_grid, y_grid = np.linspace(xs[0], xs[-1], SIDE), np.linspace(ys[0], ys[-1], SIDE)
    rows = np.stack([np.interp(x_grid, xs, row) for row in share])
    height = np.stack([np.interp(y_grid, ys, column) for column in rows.T], axis=1)
    east, north = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    slope_north, slope_east = np.gradient(HEIGHT * height, 2 / (SIDE - 1))
    normals = np.stack([-slope_east, -slope_north, np.ones_like(height)], -1)
    shade = 0.55 + 0.45 * np.clip(normals @ LIGHT / np.linalg.norm(normals, axis=-1) / np.linalg.norm(LIGHT), 0, 1)
    stops = np.linspace(0, 1, len(VIRIDIS))
    colours = np.stack([np.interp(height, stops, [stop[k] for stop in VIRIDIS]) for k in range(3)], -1)
    on_path = _path_coverage(plane, x_grid, y_grid)[..., None]
    colours = (1 - on_path) * (shade[..., None] * colours) + on_path * PATH_COLOUR
    vertices = np.stack([east, north, HEIGHT * height], -1).reshape(-1, 3) @ _rotation().T
    vertices = np.vstack([vertices, vertices.mean(0) * [1, 0, 1] + [0, vertices[:, 1].min() - MARGIN, 0]])
    colours = np.vstack([colours.reshape(-1, 3), PATH_COLOUR])
    return vertices.astype(np.float32), colours.astype(np.uint8), _triangles()


def add_surface(writer: MeshWriter, plane: Plane, step: int, tag: str = "landscape/surface") -> None:
    """Write the plane as a mesh with a ``torch.utils.tensorboard.SummaryWriter``, such as ``logger.experiment``."""
    vertices, colours, triangles = (from_numpy(array)[None] for array in surface_mesh(plane))
    look = {"material": {"cls": "MeshBasicMaterial", "color": 0xFFFFFF, "side": 2, "vertexColors": True}}
    writer.add_mesh(tag, vertices, colors=colours, faces=triangles, config_dict=look, global_step=step)


def _path_coverage(plane: Plane, x_grid: Floats, y_grid: Floats) -> Floats:
    """Return how much of each grid point, in [0, 1], the path through the points of the run covers: (rows, columns)."""
    sides = np.array([x_grid[-1] - x_grid[0], y_grid[-1] - y_grid[0]])
    points = np.array(list(plane.points.values())) / sides
    grid = np.stack(np.meshgrid(x_grid, y_grid), -1) / sides
    distance = np.full(grid.shape[:2], np.inf)
    for start, end in pairwise(points):
        segment = end - start
        along = np.clip((grid - start) @ segment / max(float(segment @ segment), 1e-12), 0, 1)
        distance = np.minimum(distance, np.linalg.norm(grid - start - along[..., None] * segment, axis=-1))
    coverage: Floats = np.clip((PATH_WIDTH / 2 - distance) * (SIDE - 1) + 0.5, 0, 1)
    return coverage


def _rotation() -> Floats:
    """Return the rotation matrix (3, 3) that turns the surface about the vertical axis, then tilts it to the viewer."""
    cos, sin = np.cos(TURN), np.sin(TURN)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    cos, sin = np.cos(TILT), np.sin(TILT)
    rotation: Floats = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ turn
    return rotation


def _triangles() -> NDArray[np.int32]:
    """Return the indices of the vertices (m, 3) of two triangles for each cell of the grid."""
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).reshape(-1)
    lower = np.stack([corner, corner + 1, corner + SIDE], -1)
    upper = np.stack([corner + 1, corner + SIDE + 1, corner + SIDE], -1)
    return np.concatenate([lower, upper]).astype(np.int32)
