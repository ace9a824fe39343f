"""Runs side by side: the barriers between every two of them as a heat map."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from lightning_landscape.evidence import RunComparison
from lightning_landscape.plots.canvas import FAINT, INK, SOFT, VERMILION, frame, in_our_look, label, new_axes

_NAMED = 10
"""runs up to which every cell shows its number"""
_WIDE = 50.0
"""ratio of barriers from which on the scale is logarithmic"""


@in_our_look
def barrier_figure(comparison: RunComparison) -> Figure:
    """The largest rise of the loss on the straight line between two runs, for each pair.

    Runs of one basin stand side by side in a frame.
    """
    order = [comparison.runs.index(run) for basin in comparison.basins for run in basin]
    cells = np.array(comparison.barriers, dtype=np.float64)[np.ix_(order, order)]
    runs = range(len(order))
    figure, axes = new_axes(max(4.0, min(1.8 + 0.4 * len(order), 9.0)))
    axes.set_facecolor(FAINT)
    _colour(figure, axes, cells)
    start = 0
    for basin in comparison.basins:
        if len(basin) > 1:
            corner, size = (start - 0.5, start - 0.5), len(basin)
            axes.add_patch(Rectangle(corner, size, size, edgecolor=INK, facecolor="none", linewidth=2.2, zorder=4))
        start += len(basin)
    names = [f"{label(comparison.runs[i], 24)}  {k}" for k, i in enumerate(order, 1)]
    losses = [f"loss {comparison.losses[i]:.3g}" for i in order]
    axes.set_yticks(runs, [f"{name}\n{loss}" for name, loss in zip(names, losses, strict=True)])
    axes.set_xticks(runs, [str(k + 1) for k in runs])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    shared = any(len(basin) > 1 for basin in comparison.basins)
    marks = [Patch(facecolor="none", edgecolor=INK, linewidth=2, label="one basin")] if shared else []
    if not np.isfinite(cells).all():
        marks.append(Patch(color=VERMILION, label="not finite"))
    frame(figure, "Barriers between runs", _numbers(comparison), ["hidden units are not aligned"], marks)
    return figure


def _colour(figure: Figure, axes: Axes, cells: NDArray[np.float64]) -> None:
    """Fill the cells, and write the barriers into them where there is room."""
    pairs = ~np.eye(len(cells), dtype=bool)
    finite = pairs & np.isfinite(cells)
    # Drawn even where nothing is finite: it sets the frame.
    scale = _scale(cells[finite])
    clipped = np.where(finite, np.maximum(cells, scale.vmin or 0.0), 0.0)
    drawn = axes.imshow(np.ma.masked_where(~finite, clipped), norm=scale, cmap="cividis", aspect="auto")
    if finite.any():
        bar = figure.colorbar(drawn, ax=axes, pad=0.02, aspect=28, format="%.3g")
        bar.set_label("barrier, in units of the loss")
        bar.outline.set_visible(False)
    for i, j in zip(*np.nonzero(pairs & ~finite), strict=True):
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=VERMILION, linewidth=0))
    if len(cells) > _NAMED:
        return
    for i, j in zip(*np.nonzero(pairs), strict=True):
        dark = not finite[i, j] or float(scale(clipped[i, j])) < 0.55
        axes.text(j, i, f"{cells[i, j]:.3g}", ha="center", va="center", color="white" if dark else INK)
    for i in range(len(cells)):
        axes.text(i, i, "–", ha="center", va="center", color=SOFT)


def _scale(values: NDArray[np.float64]) -> Normalize:
    high = float(values.max(initial=0.0)) or 1.0
    low = float(values[values > 0].min(initial=high))
    return LogNorm(max(low, high * 1e-4), high) if high > _WIDE * low else Normalize(0.0, high)


def _numbers(comparison: RunComparison) -> list[str]:
    seen = [f"{comparison.samples:,} samples"] if comparison.samples else []
    basins = f"{len(comparison.basins)} basin{'s' * (len(comparison.basins) > 1)} of {len(comparison.runs)} runs"
    finite = [loss for loss in comparison.losses if math.isfinite(loss)]
    lowest = [f"lowest loss {min(finite):.3g}"] if finite else []
    return [basins, f"tolerance {comparison.tolerance:.0%} of the higher end", *lowest, *seen]
