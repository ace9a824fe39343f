"""A plane as a surface in TensorBoard's mesh tab: for those who ask for it, since it is the dearest picture of all."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_landscape.evidence import Plane

SIDE = 81
"""points along each side of the surface; about 310 kB in all"""
HEIGHT = 0.7
"""of the surface, where its sides are 2 long"""
TURN, TILT = np.deg2rad(-35), np.deg2rad(-50)
"""about the vertical, then towards the eye: TensorBoard looks at a mesh from straight above"""
LIGHT = np.array([-0.45, 0.35, 0.82])
PATH = np.array([255, 120, 30])
"""vermilion, which no height of the surface has"""
BELOW = 0.9
"""how far below the surface the last vertex lies: TensorBoard frames all of them and would cut the near corner off"""
THICK = 0.02
"""of the path, as a share of a side"""
STOPS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""of viridis"""


def surface_mesh(plane: Plane) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int32]]:
    """Vertices (n, 3), colours (n, 3) and triangles (m, 3) of the loss over the plane, the run's path painted on it.

    The last vertex is in no triangle.
    Heights follow the square root of the loss above its lowest, so that one steep corner does not flatten the rest;
    what is not finite stands as high as the highest. The shade is in the colours, since TensorBoard's light has none.

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
    across, up = np.linspace(xs[0], xs[-1], SIDE), np.linspace(ys[0], ys[-1], SIDE)
    rows = np.stack([np.interp(across, xs, row) for row in share])
    height = np.stack([np.interp(up, ys, column) for column in rows.T], axis=1)
    east, north = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    slope_up, slope_across = np.gradient(HEIGHT * height, 2 / (SIDE - 1))
    normals = np.stack([-slope_across, -slope_up, np.ones_like(height)], -1)
    shade = 0.55 + 0.45 * np.clip(normals @ LIGHT / np.linalg.norm(normals, axis=-1) / np.linalg.norm(LIGHT), 0, 1)
    places = np.linspace(0, 1, len(STOPS))
    colours = np.stack([np.interp(height, places, [stop[k] for stop in STOPS]) for k in range(3)], -1)
    painted = _path(plane, across, up)[..., None]
    colours = (1 - painted) * (shade[..., None] * colours) + painted * PATH
    vertices = np.stack([east, north, HEIGHT * height], -1).reshape(-1, 3) @ _turned().T
    vertices = np.vstack([vertices, vertices.mean(0) * [1, 0, 1] + [0, vertices[:, 1].min() - BELOW, 0]])
    colours = np.vstack([colours.reshape(-1, 3), PATH])
    return vertices.astype(np.float32), colours.astype(np.uint8), _triangles()


def add_surface(writer: Any, plane: Plane, step: int, tag: str = "landscape/surface") -> None:
    """Write the plane as a mesh with a ``torch.utils.tensorboard.SummaryWriter``, such as ``logger.experiment``."""
    from torch import from_numpy

    vertices, colours, triangles = (from_numpy(part)[None] for part in surface_mesh(plane))
    look = {"material": {"cls": "MeshBasicMaterial", "color": 0xFFFFFF, "side": 2, "vertexColors": True}}
    writer.add_mesh(tag, vertices, colors=colours, faces=triangles, config_dict=look, global_step=step)


def _path(plane: Plane, across: NDArray[Any], up: NDArray[Any]) -> NDArray[np.float64]:
    """How much of each point of the grid (rows, columns) is on the way from one point of the run to the next."""
    sides = np.array([across[-1] - across[0], up[-1] - up[0]])
    points = np.array(list(plane.points.values())) / sides
    grid = np.stack(np.meshgrid(across, up), -1) / sides
    away = np.full(grid.shape[:2], np.inf)
    for start, end in pairwise(points):
        way = end - start
        along = np.clip((grid - start) @ way / max(float(way @ way), 1e-12), 0, 1)
        away = np.minimum(away, np.linalg.norm(grid - start - along[..., None] * way, axis=-1))
    painted: NDArray[np.float64] = np.clip((THICK / 2 - away) * (SIDE - 1) + 0.5, 0, 1)
    return painted


def _turned() -> NDArray[np.float64]:
    cos, sin = np.cos(TURN), np.sin(TURN)
    about = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    cos, sin = np.cos(TILT), np.sin(TILT)
    turned: NDArray[np.float64] = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ about
    return turned


def _triangles() -> NDArray[np.int32]:
    """Two for each cell of the grid."""
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).reshape(-1)
    lower = np.stack([corner, corner + 1, corner + SIDE], -1)
    upper = np.stack([corner + 1, corner + SIDE + 1, corner + SIDE], -1)
    return np.concatenate([lower, upper]).astype(np.int32)
