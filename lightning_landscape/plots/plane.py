"""The loss on a plane, with the points of the run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from lightning_landscape.captions import is_lower, lowest_point, plane_caption
from lightning_landscape.evidence import Plane
from lightning_landscape.plots.canvas import INK, VERMILION, add_texts, figure_style, log_ticks, new_axes, short_name
from lightning_landscape.plots.limits import FLAT

FINER = 4
"""number of grid cells drawn for each cell that was measured, along each axis"""
TICK_DISTANCE = 0.13
"""smallest distance of two ticks of the colour bar, as a share of its length"""
ENOUGH_TICKS = 4
"""number of ticks of the colour bar from which on no less round ones are added"""


@figure_style()
def plane_figure(plane: Plane, step: int | None = None) -> Figure:
    """Draw the loss on the plane as filled contours, white where it is not finite, and the path through the points.

    One unit of distance is equally long along both axes. A star marks the lowest measured point, if it is lower than
    the present weights.

    Args:
        plane: the losses and the points.
        step: optimizer step of the present weights, for their name; None where it is unknown.
    """
    losses = np.ma.masked_invalid(np.array(plane.losses))
    figure, axes = new_axes(_height(plane))
    if losses.count():
        levels, scale, ticks = _levels(losses.compressed())
        smooth = _smooth(plane.xs, plane.ys, losses)
        contours = axes.contourf(*smooth, levels=levels, norm=scale, cmap="viridis", extend="neither")
        axes.contour(*smooth, levels=levels, colors="white", linewidths=0.3, alpha=0.6)
        bar = figure.colorbar(contours, cax=axes.inset_axes((1.03, 0.0, 0.045, 1.0)), label="loss", ticks=ticks)
        bar.ax.minorticks_off()
        bar.ax.set_yticks(ticks, tick_labels(ticks))
    else:
        axes.text(0.5, 0.5, "no finite loss on this plane", transform=axes.transAxes, ha="center", color=VERMILION)
    axes.set_aspect("equal", adjustable="box", anchor="W")
    _draw_path(axes, [(_at_step(name, step), place) for name, place in plane.points.items()])
    caption = plane_caption(plane)
    lowest = lowest_point(plane)
    if lowest is not None and is_lower(plane):
        axes.plot(
            *lowest[:2],
            "*",
            color="white",
            markersize=13,
            markeredgecolor=INK,
            markeredgewidth=0.9,
            zorder=7,
            clip_on=False,
        )
    axes.set_xlabel(f"{plane.x_name} (distance)")
    axes.set_ylabel(f"{plane.y_name} (distance)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    notes = [f"{len(plane.xs)} × {len(plane.ys)} points", *(["star: the best point"] if is_lower(plane) else [])]
    if missing := losses.size - losses.count():
        notes.append(f"not finite at {missing} points")
    if plane.off_plane > 0.01:
        notes.append(f"{plane.off_plane:.0%} of the distance to the path's points lies off the plane")
    add_texts(figure, caption.title, [*([] if step is None else [f"step {step:,}"]), *caption.details], notes)
    return figure


def _at_step(name: str, step: int | None) -> str:
    """Return the name of a point, or of several at the same place, with the step in place of "now"."""
    return ", ".join(f"step {step:,}" if part == "now" and step is not None else part for part in name.split(", "))


def _height(plane: Plane) -> float:
    """Return the height of the figure in inches, so that equal distances fill its width where that is possible."""
    width, height = plane.xs[-1] - plane.xs[0], plane.ys[-1] - plane.ys[0]
    ratio = height / width if width > 0 and height > 0 else 1.0
    return 1.25 + min(max(4.5 * ratio, 2.4), 4.5)


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


def _levels(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], Normalize, list[float]]:
    """Return the levels of the contours, their colour scale, which is finer at low losses, and round ticks for it.

    The levels are logarithmic if the losses are positive and differ by a factor above 30, and otherwise grow as
    squares. With equal distances, one steep corner would leave the rest of the plane in one colour.
    """
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > 30 * low:
        ticks = [float(tick) for tick in log_ticks(low, high).tick_values(low, high) if low <= tick <= high]
        return np.geomspace(low, high, 21), LogNorm(low, high), ticks
    if high - low <= FLAT * max(abs(low), abs(high), 1e-300):
        middle, pad = (low + high) / 2, 0.5 * FLAT * max(abs(low), abs(high), 1.0)
        return (
            np.linspace(middle - pad, middle + pad, 8),
            Normalize(middle - pad, middle + pad),
            [float(f"{middle:.4g}")],
        )
    scale = PowerNorm(0.5, low, high)
    return low + (high - low) * np.linspace(0, 1, 15) ** 2, scale, round_ticks(low, high, scale)


def round_ticks(low: float, high: float, scale: Normalize) -> list[float]:
    """Return round numbers between two losses, each at some distance from the next on the colour bar.

    They are taken from coarse to fine grids of round numbers, so that the roundest are among them.
    """
    ticks: list[float] = []
    exponent = math.floor(math.log10(high - low))
    for step in (factor * 10.0**power for power in (exponent, exponent - 1, exponent - 2) for factor in (5, 2, 1)):
        if len(ticks) >= ENOUGH_TICKS:
            break
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        for multiple in range(first, min(last, first + 100) + 1):
            places = max(0, 2 - math.floor(math.log10(step)))
            tick = round(multiple * step, places)
            position = float(scale(tick))
            if low <= tick <= high and all(abs(position - float(scale(other))) >= TICK_DISTANCE for other in ticks):
                ticks.append(tick)
    return sorted(ticks)


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Return the ticks with as many digits as they need to differ, and no more.

    >>> tick_labels([2.302, 2.3025, 2.31]), tick_labels([0.1, 20.0, 3000.0])
    (['2.302', '2.3025', '2.31'], ['0.1', '20', '3,000'])
    """
    return [f"{tick:.7g}" if abs(tick) < 1000 or abs(tick) >= 1e6 else f"{tick:,.0f}" for tick in ticks]
