"""The loss on a plane, with the points of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_landscape.evidence import Plane
from lightning_landscape.plots.canvas import INK, VERMILION, add_texts, figure_style, new_axes, short_name

FINER = 4
"""number of grid cells drawn for each cell that was measured, along each axis"""


@figure_style()
def plane_figure(plane: Plane) -> Figure:
    """Draw the loss on the plane as filled contours, white where it is not finite, and the path through the points."""
    losses = np.ma.masked_invalid(np.array(plane.losses))
    figure, axes = new_axes(4.6)
    if losses.count():
        levels, scale = _levels(losses.compressed())
        smooth = _smooth(plane.xs, plane.ys, losses)
        contours = axes.contourf(*smooth, levels=levels, norm=scale, cmap="viridis", extend="neither")
        axes.contour(*smooth, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
        bar = figure.colorbar(contours, ax=axes, label="loss", format="%.3g")
        bar.set_ticks([float(level) for level in levels[:: max(1, len(levels) // 8)]])
        bar.ax.minorticks_off()
    else:
        axes.text(0.5, 0.5, "no finite loss on this plane", transform=axes.transAxes, ha="center", color=VERMILION)
    _draw_path(axes, list(plane.points.items()))
    axes.set_xlabel(f"{plane.x_name} (distance)")
    axes.set_ylabel(f"{plane.y_name} (distance)")
    numbers = [f"{len(plane.xs)} × {len(plane.ys)} points"]
    if losses.count():
        numbers.append(f"loss from {losses.min():.3g} to {losses.max():.3g}")
    if plane.samples:
        numbers.append(f"{plane.samples:,} samples")
    notes = []
    if missing := losses.size - losses.count():
        notes.append(f"not finite at {missing} points")
    if plane.off_plane > 0.01:
        notes.append(f"{plane.off_plane:.0%} of the distance to the path's points lies off the plane")
    add_texts(figure, "Loss on a plane through the present weights", numbers, notes)
    return figure


def _draw_path(axes: Axes, points: Sequence[tuple[str, tuple[float, float]]]) -> None:
    xs, ys = [place[0] for _, place in points], [place[1] for _, place in points]
    axes.plot(xs, ys, "-", color="white", linewidth=2.5, zorder=3)
    axes.plot(xs, ys, "-", color=VERMILION, linewidth=1.2, zorder=4)
    axes.scatter(xs, ys, s=18, color=VERMILION, edgecolors="white", linewidths=0.8, zorder=5)
    named = points if len(points) <= 4 else [points[0], points[-1]]
    for name, place in named:
        k = points.index((name, place))
        beside = points[k + 1 if k + 1 < len(points) else k - 1][1]
        note = axes.annotate(  # on the side away from the path
            short_name(name, 24),
            place,
            xytext=(0, 8 if place[1] >= beside[1] else -8),
            textcoords="offset points",
            ha="right" if place[0] > beside[0] else "left",
            va="bottom" if place[1] >= beside[1] else "top",
            color=INK,
            fontsize=8,
            zorder=6,
        )
        note.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5})


def _smooth(
    xs: Sequence[float], ys: Sequence[float], losses: np.ma.MaskedArray[Any, Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64], np.ma.MaskedArray[Any, Any]]:
    """Return a finer grid and a smooth surface through the losses and within their range.

    Where a loss is not finite, it returns the grid and the losses unchanged.
    """
    if losses.mask.any() or min(losses.shape) < 2:
        return np.array(xs), np.array(ys), losses
    values = np.asarray(losses)
    rows, columns = (_cubic(count) for count in values.shape)
    smooth = np.clip(rows @ values @ columns.T, values.min(), values.max())
    return _finer(xs), _finer(ys), np.ma.masked_invalid(smooth)


def _finer(coordinates: Sequence[float]) -> NDArray[np.float64]:
    indices = np.arange(len(coordinates))
    return np.interp(np.linspace(0, indices[-1], FINER * indices[-1] + 1), indices, coordinates)


def _cubic(count: int) -> NDArray[np.float64]:
    """Return the matrix that turns `count` equally spaced values into a Catmull-Rom spline, `FINER` times as fine."""
    matrix = np.zeros((FINER * (count - 1) + 1, count))
    for row in range(len(matrix)):
        cell = min(row // FINER, count - 2)
        t = row / FINER - cell
        weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)
        for k, weight in enumerate(weights):
            matrix[row, min(max(cell - 1 + k, 0), count - 1)] += weight / 2
    return matrix


def _levels(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Normalize]:
    """Return the levels of the contours and their colour scale, finer at low losses.

    They are logarithmic if the losses are positive and differ by a factor above 30, and otherwise grow as squares. With
    equal distances, one steep corner would leave the rest of the plane in one colour.
    """
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 30 * low:
        return np.geomspace(low, high, 21), LogNorm(low, high)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        pad = max(abs(low), 1.0) * 1e-3
        return np.linspace(low - pad, high + pad, 3), Normalize(low - pad, high + pad)
    return low + (high - low) * np.linspace(0, 1, 15) ** 2, PowerNorm(0.5, low, high)
