"""A heat map of the gradient norm by group of parameters and optimizer step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, takewhile

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from lightning_landscape._thinning import merge_columns
from lightning_landscape.captions import gradient_caption
from lightning_landscape.plots.canvas import (
    VERMILION,
    add_texts,
    figure_style,
    format_steps,
    log_ticks,
    new_axes,
    short_name,
)

_COLUMNS = 200
_ROWS = 32
_DECADES = 6
"""decades of the colour scale on each side of the median, so that one extreme norm does not hide all differences"""
_ZERO = "#C9CED3"

Norms = NDArray[np.float64]


@figure_style()
def gradient_norm_figure(steps: Sequence[int], groups: Sequence[str], norms: Sequence[Sequence[float]]) -> Figure:
    """Draw a heat map of gradient norms: a row for each group of parameters, a column for each optimizer step.

    Beyond 200 steps, adjacent steps share a column, which shows the largest norm of each group. Beyond 32 groups,
    adjacent groups share a row, which shows the norm of their union. Norms that are zero or not finite have colours of
    their own.

    Args:
        steps: shape (n,), optimizer steps; of a step that occurs twice, as in a resumed run, the later norms are drawn.
        groups: shape (m,), names of the groups from input to output.
        norms: shape (n, m).

    Raises:
        ValueError: if `norms` is empty or has another shape.
    """
    values = np.asarray(norms, dtype=np.float64)
    if values.shape != (len(steps), len(groups)) or values.size == 0:
        raise ValueError(
            f"norms must have one row per step and one column per group, at least one of each: "
            f"got shape {values.shape} for {len(steps)} steps and {len(groups)} groups"
        )
    edges, columns = _columns(np.asarray(steps, dtype=np.int64), values)
    names, cells = _rows(groups, columns.T)
    figure, axes = new_axes(height=4.0 + 0.1 * max(0, len(names) - 16))
    key = _draw_cells(axes, edges, cells)
    axes.set_yticks(range(len(names)), names, fontsize=8 if len(names) <= 20 else 7)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("optimizer step")
    format_steps(axes)
    axes.tick_params(axis="y", length=0)
    caption = gradient_caption(steps, groups, _in_order(steps, values))
    add_texts(figure, short_name(caption.title, 90), [*caption.details], _notes(steps, groups, cells), key)
    return figure


def _columns(steps: NDArray[np.int64], norms: Norms) -> tuple[Norms, Norms]:
    """Return the edges of the columns in steps, shape (k + 1,), and their norms, shape (k, m); k is at most 200."""
    last = {step: i for i, step in enumerate(steps.tolist())}
    order = [last[step] for step in sorted(last)]
    steps, norms = steps[order], norms[order]
    bins = np.array_split(np.arange(len(steps)), min(len(steps), _COLUMNS))
    inner = [(steps[left[-1]] + steps[right[0]]) / 2 for left, right in pairwise(bins)]
    first = steps[0] - (inner[0] - steps[bins[0][-1]] if inner else 0.5)
    end = steps[-1] + (steps[bins[-1][0]] - inner[-1] if inner else 0.5)
    return np.array([first, *inner, end]), np.array([merge_columns(norms[chosen].tolist()) for chosen in bins])


def _rows(groups: Sequence[str], norms: Norms) -> tuple[list[str], Norms]:
    """Return the labels and the norms of at most 32 rows; groups that share a row are replaced by their union.

    Args:
        groups: shape (m,).
        norms: shape (m, k).
    """
    shared = np.array_split(np.arange(len(groups)), min(len(groups), _ROWS))
    if len(shared) == len(groups):
        return _labels(groups, 26), norms
    firsts_and_lasts = [name for row in shared for name in (groups[row[0]], groups[row[-1]])]
    labels = _labels(firsts_and_lasts, 13)
    names = [" – ".join(dict.fromkeys(pair)) for pair in zip(labels[::2], labels[1::2], strict=True)]
    largest = np.stack([norms[row].max(axis=0) for row in shared])
    unit = np.where(largest > 0, largest, 1.0)  # so that squares do not overflow
    squares = [np.square(norms[row] / scale).sum(axis=0) for row, scale in zip(shared, unit, strict=True)]
    return names, unit * np.sqrt(np.stack(squares))


def _labels(groups: Sequence[str], length: int) -> list[str]:
    """Return short names; of names that are too long, the module path that all of them share is cut first."""
    if len(groups) > 1 and max(map(len, groups)) > length:
        paths = [group.split(".") for group in groups]
        levels = zip(*(path[:-1] for path in paths), strict=False)
        shared = len(list(takewhile(lambda level: len(set(level)) == 1, levels)))
        groups = ["…" * (shared > 0) + ".".join(path[shared:]) for path in paths]
    return [short_name(group, length) for group in groups]


def _draw_cells(axes: Axes, edges: Norms, cells: Norms) -> list[Patch]:
    """Colour the cells, and return legend entries for the colours that the colour bar does not show."""
    rows = np.arange(len(cells) + 1) - 0.5
    finite = np.isfinite(cells)
    on_scale = finite & (cells > 0)
    if on_scale.any():
        low, high, beyond = _range(cells[on_scale])
        mesh = axes.pcolormesh(
            edges, rows, np.ma.masked_where(~on_scale, cells), norm=LogNorm(low, high), cmap="viridis"
        )
        ticks = log_ticks(low, high)
        bar = axes.figure.colorbar(mesh, ax=axes, extend=beyond, ticks=ticks, format="{x:.3g}", pad=0.02, aspect=28)
        bar.ax.minorticks_off()
        bar.set_label("gradient norm before clipping")
        bar.outline.set_visible(False)
    axes.pcolormesh(
        edges,
        rows,
        np.ma.masked_where(on_scale, np.where(finite, 0.0, 1.0)),
        vmin=0,
        vmax=1,
        cmap=ListedColormap([_ZERO, VERMILION]),
    )
    kinds = [(cells == 0, _ZERO, "exactly zero"), (~finite, VERMILION, "not finite")]
    return [Patch(color=color, label=name) for affected, color, name in kinds if affected.any()]


def _range(positive: Norms) -> tuple[float, float, str]:
    """Return the lowest and the highest norm of the colour scale, and on which sides norms lie beyond it.

    The two are at least a decade apart; the sides are named as in the argument `extend` of matplotlib's colour bars.
    """
    logs = np.log10(positive).clip(-250, 250)  # matplotlib fails to invert smaller and larger powers
    middle = float(np.median(logs))
    low, high = max(float(logs.min()), middle - _DECADES), min(float(logs.max()), middle + _DECADES)
    beyond = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    widen = max(0.0, 1 - (high - low)) / 2
    return 10 ** (low - widen), 10 ** (high + widen), beyond[bool(logs.min() < low), bool(logs.max() > high)]


def _in_order(steps: Sequence[int], norms: Norms) -> list[list[float]]:
    """Return the norms by ascending steps."""
    rows: list[list[float]] = norms[np.argsort(np.asarray(steps), kind="stable")].tolist()
    return rows


def _notes(steps: Sequence[int], groups: Sequence[str], cells: Norms) -> list[str]:
    notes = []
    if not_finite := int((~np.isfinite(cells)).any(axis=0).sum()):
        notes.append(f"not finite in {not_finite} of {cells.shape[1]} columns")
    if cells.shape[0] < len(groups):
        notes.append(f"{len(groups):,} groups in {cells.shape[0]} rows")
    if cells.shape[1] < len(set(steps)):
        notes.append(f"{cells.shape[1]} columns, largest norms")
    return notes
