"""A heat map of the barriers between any two of several runs."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from lightning_landscape.evidence import RunComparison
from lightning_landscape.plots.canvas import FAINT, INK, SOFT, VERMILION, add_texts, figure_style, new_axes, short_name

_MAX_NUMBERED = 10
"""largest number of runs for which every cell shows its barrier as a number"""
_LOG_RATIO = 50.0
"""ratio of the largest to the smallest barrier above which the colour scale is logarithmic"""


@figure_style()
def barrier_figure(comparison: RunComparison) -> Figure:
    """Draw a heat map of the barriers on the straight lines between the runs.

    Runs in the same basin are adjacent, with a frame around them.
    """
    order = [comparison.runs.index(run) for basin in comparison.basins for run in basin]
    cells = np.array(comparison.barriers, dtype=np.float64)[np.ix_(order, order)]
    runs = range(len(order))
    figure, axes = new_axes(max(4.0, min(1.8 + 0.4 * len(order), 9.0)))
    axes.set_facecolor(FAINT)
    _draw_cells(figure, axes, cells)
    start = 0
    for basin in comparison.basins:
        if len(basin) > 1:
            corner, size = (start - 0.5, start - 0.5), len(basin)
            axes.add_patch(Rectangle(corner, size, size, edgecolor=INK, facecolor="none", linewidth=2.2, zorder=4))
        start += len(basin)
    names = [f"{short_name(comparison.runs[i], 24)}  {k}" for k, i in enumerate(order, 1)]
    losses = [f"loss {comparison.losses[i]:.3g}" for i in order]
    axes.set_yticks(runs, [f"{name}\n{loss}" for name, loss in zip(names, losses, strict=True)])
    axes.set_xticks(runs, [str(k + 1) for k in runs])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    shared = any(len(basin) > 1 for basin in comparison.basins)
    key = [Patch(facecolor="none", edgecolor=INK, linewidth=2, label="one basin")] if shared else []
    if not np.isfinite(cells).all():
        key.append(Patch(color=VERMILION, label="not finite"))
    add_texts(figure, _title(comparison), _numbers(comparison), ["hidden units are not aligned"], key)
    return figure


def _draw_cells(figure: Figure, axes: Axes, cells: NDArray[np.float64]) -> None:
    """Colour each cell by its barrier, and write the barrier into it if there are few enough runs."""
    pairs = ~np.eye(len(cells), dtype=bool)
    finite = pairs & np.isfinite(cells)
    scale = _scale(cells[finite])
    clipped = np.where(finite, np.maximum(cells, scale.vmin or 0.0), 0.0)
    # Also without any finite barrier, since the image sets the limits of the axes.
    image = axes.imshow(np.ma.masked_where(~finite, clipped), norm=scale, cmap="cividis", aspect="auto")
    if finite.any():
        bar = figure.colorbar(image, ax=axes, pad=0.02, aspect=28, format="%.3g")
        bar.set_label("barrier, in units of the loss")
        bar.outline.set_visible(False)
    for i, j in zip(*np.nonzero(pairs & ~finite), strict=True):
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=VERMILION, linewidth=0))
    if len(cells) > _MAX_NUMBERED:
        return
    for i, j in zip(*np.nonzero(pairs), strict=True):
        dark = not finite[i, j] or float(scale(clipped[i, j])) < 0.55
        axes.text(j, i, f"{cells[i, j]:.3g}", ha="center", va="center", color="white" if dark else INK)
    for i in range(len(cells)):
        axes.text(i, i, "–", ha="center", va="center", color=SOFT)


def _scale(values: NDArray[np.float64]) -> Normalize:
    high = float(values.max(initial=0.0)) or 1.0
    low = float(values[values > 0].min(initial=high))
    return LogNorm(max(low, high * 1e-4), high) if high > _LOG_RATIO * low else Normalize(0.0, high)


def _title(comparison: RunComparison) -> str:
    if len(comparison.basins) == 1:
        return f"No barrier separates the {len(comparison.runs)} runs"
    return f"Barriers separate the {len(comparison.runs)} runs into {len(comparison.basins)} basins"


def _numbers(comparison: RunComparison) -> list[str]:
    samples = [f"{comparison.samples:,} samples"] if comparison.samples else []
    finite = [loss for loss in comparison.losses if math.isfinite(loss)]
    lowest = [f"lowest loss {min(finite):.3g}"] if finite else []
    return [f"tolerance {comparison.tolerance:.0%} of the higher end", *lowest, *samples]
