"""Curvature readings as figures: the spectrum, the way down, the plane with the run's path."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lightning_landscape.evidence import Curvature, Plane, Spectrum

INK, ACCENT, ALARM = "#333333", "#0072B2", "#D55E00"


def spectrum_figure(spectrum: Spectrum) -> Figure:
    """The density of curvatures on a logarithmic scale, with the bulk and the few that stand out."""
    figure, axes = _blank()
    low, high = spectrum.nodes[0], spectrum.nodes[-1]
    spread = max(high - low, 1e-12)
    grid = np.linspace(low - 0.05 * spread, high + 0.05 * spread, 1000)
    width = spread / 150
    nodes, weights = np.array(spectrum.nodes), np.array(spectrum.weights)
    density = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) @ weights / (width * math.sqrt(2 * math.pi))
    floor = 0.3 * density.max() / max(spectrum.parameters, 10)
    axes.fill_between(grid, floor, np.maximum(density, floor), color=ACCENT, alpha=0.25, lw=0)
    axes.plot(grid, np.maximum(density, floor), color=ACCENT, lw=1.2)
    axes.fill_between(grid, floor, np.maximum(density, floor), where=list(grid < 0), color=ALARM, alpha=0.35, lw=0)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yscale("log")
    axes.set_ylim(bottom=floor)
    axes.set_xlabel("curvature (eigenvalue of the Hessian)")
    axes.set_ylabel("density of directions")
    trace = f"trace {spectrum.trace:.3g} ± {spectrum.trace_error:.1g}"
    axes.set_title(f"{100 * spectrum.share_negative:.0f}% of {spectrum.parameters:,} directions bend down · {trace}")
    return figure


def descent_figure(curvature: Curvature) -> Figure:
    """How the loss changes along the smallest curvature, on the batches that found the direction and on others.

    Raises:
        ValueError: if the reading has no such path, since nothing bends down.
    """
    descent = curvature.descent
    if descent is None:
        raise ValueError(f"there is no direction down to draw, λ_min is {curvature.lambda_min:.3g}")
    figure, axes = _blank()
    nearest = min(abs(distance) for distance in descent.distances if distance)
    axes.set_xscale("symlog", linthresh=nearest)
    axes.set_xticks(descent.distances[1::2], [f"{distance:.2g}" for distance in descent.distances[1::2]], minor=False)
    axes.minorticks_off()
    axes.axvline(0, color=INK, lw=0.8)
    axes.axhline(0, color=INK, lw=0.8)
    here = descent.distances.index(0.0)
    for name, losses, look, colour in (
        ("batches it was found on", descent.losses, "o-", ACCENT),
        ("other batches", descent.held_out, "s--", ALARM),
    ):
        if losses is not None:
            change = [loss - losses[here] for loss in losses]
            label = f"{name}, {losses[here]:.4g} here"
            axes.plot(descent.distances, change, look, color=colour, ms=4, label=label)
    axes.set_xlabel("distance from the present weights")
    axes.set_ylabel("change of the loss")
    axes.set_title(f"along the smallest curvature, λ_min = {curvature.lambda_min:.3g} ± {curvature.residual_min:.1g}")
    axes.legend(frameon=False)
    return figure


def plane_figure(plane: Plane) -> Figure:
    """The loss on the plane as levels, and the points of the run in their order; what is not finite stays white."""
    figure, axes = _blank()
    losses = np.ma.masked_invalid(np.array(plane.losses))
    axes.set_facecolor("white")
    if losses.count():
        levels, scale = _levels(losses.compressed())
        drawn = axes.contourf(plane.xs, plane.ys, losses, levels=levels, norm=scale, cmap="viridis", extend="both")
        axes.contour(plane.xs, plane.ys, losses, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
        bar = figure.colorbar(drawn, ax=axes, label="loss", format="%.3g")
        bar.set_ticks([float(level) for level in levels[:: max(1, len(levels) // 8)]])
    _draw_path(axes, list(plane.points.items()))
    axes.set_xlabel(plane.x_name)
    axes.set_ylabel(plane.y_name)
    if plane.off_plane > 0.01:
        axes.set_title(f"{100 * plane.off_plane:.0f}% of the distance to these points lies off the plane")
    return figure


def _draw_path(axes: Axes, points: Sequence[tuple[str, tuple[float, float]]]) -> None:
    xs, ys = [place[0] for _, place in points], [place[1] for _, place in points]
    axes.plot(xs, ys, "-", color="white", lw=2.5, zorder=3)
    axes.plot(xs, ys, "-", color=ALARM, lw=1.2, zorder=4)
    axes.scatter(xs, ys, s=18, color=ALARM, edgecolors="white", linewidths=0.8, zorder=5)
    named = points if len(points) <= 4 else [points[0], points[-1]]
    for name, place in named:
        label = axes.annotate(name, place, xytext=(5, 5), textcoords="offset points", color=INK, fontsize=8, zorder=6)
        label.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1.5})


def _levels(values: np.ndarray) -> tuple[np.ndarray, str]:
    """Twenty levels: logarithmic where the losses are positive and span a factor of five."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 5 * low:
        return np.geomspace(low, high, 21), "log"
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-300):
        pad = max(abs(low), 1.0) * 1e-3
        return np.linspace(low - pad, high + pad, 3), "linear"
    return np.linspace(low, high, 21), "linear"


def _blank() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.title.set_fontsize(10)
    return figure, axes
