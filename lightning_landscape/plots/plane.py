"""The loss on a plane, with the path of the run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_landscape.evidence import Plane
from lightning_landscape.plots.canvas import INK, VERMILION, frame, label, new_axes, our_look


def plane_figure(plane: Plane) -> Figure:
    """The loss on the plane as levels, and the points of the run in their order; what is not finite stays white."""
    losses = np.ma.masked_invalid(np.array(plane.losses))
    with our_look():
        figure, axes = new_axes(4.6)
        if losses.count():
            levels, scale = _levels(losses.compressed())
            drawn = axes.contourf(plane.xs, plane.ys, losses, levels=levels, norm=scale, cmap="viridis", extend="both")
            axes.contour(plane.xs, plane.ys, losses, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
            bar = figure.colorbar(drawn, ax=axes, label="loss", format="%.3g")
            bar.set_ticks([float(level) for level in levels[:: max(1, len(levels) // 8)]])
            bar.ax.minorticks_off()
        else:
            axes.text(0.5, 0.5, "no finite loss on this plane", transform=axes.transAxes, ha="center", color=VERMILION)
        _draw_path(axes, list(plane.points.items()))
        axes.set_xlabel(plane.x_name)
        axes.set_ylabel(plane.y_name)
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
        frame(figure, "Loss on a plane through the present weights", numbers, notes)
    return figure


def _draw_path(axes: Axes, points: Sequence[tuple[str, tuple[float, float]]]) -> None:
    xs, ys = [place[0] for _, place in points], [place[1] for _, place in points]
    axes.plot(xs, ys, "-", color="white", linewidth=2.5, zorder=3)
    axes.plot(xs, ys, "-", color=VERMILION, linewidth=1.2, zorder=4)
    axes.scatter(xs, ys, s=18, color=VERMILION, edgecolors="white", linewidths=0.8, zorder=5)
    named = points if len(points) <= 4 else [points[0], points[-1]]
    for name, place in named:
        note = axes.annotate(
            label(name, 24), place, xytext=(5, 5), textcoords="offset points", color=INK, fontsize=8, zorder=6
        )
        note.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5})


def _levels(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Twenty levels: logarithmic where the losses are positive and span a factor of five."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 5 * low:
        return np.geomspace(low, high, 21), "log"
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        pad = max(abs(low), 1.0) * 1e-3
        return np.linspace(low - pad, high + pad, 3), "linear"
    return np.linspace(low, high, 21), "linear"
