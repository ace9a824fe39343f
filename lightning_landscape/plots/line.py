"""The loss on straight lines from one earlier point of the run to the weights at several steps."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_landscape.captions import SMALL_RISE, end_name, line_caption, rise_of, start_name
from lightning_landscape.evidence import Line
from lightning_landscape.plots.canvas import (
    BLUE,
    FAINT,
    INK,
    VERMILION,
    add_texts,
    figure_style,
    new_axes,
    short_name,
)
from lightning_landscape.plots.limits import FLAT, Curve, drawable, set_loss_limits

_CURVES = 12
_SPIKE_RATIO = 20.0
"""range of all losses over that without spikes above which spikes lie beyond the frame: of the few points on a line,
one is a spike only if the others would be a flat line beside it"""


@figure_style()
def line_figure(lines: Sequence[tuple[int, Line]]) -> Figure:
    """Draw how the loss changes from one anchor (α = 0) to the weights at each step (α = 1), older lines fainter.

    Each line is measured on the latest batches of its own step. Their losses at α = 0 therefore differ even if the
    weights there are the same, so the change from α = 0 is drawn.

    Args:
        lines: (optimizer step, line) pairs, all from the same anchor; at most twelve of them are drawn.

    Raises:
        ValueError: if there is no line, or if the anchors differ.
    """
    if not lines:
        raise ValueError("lines must hold at least one line, got none")
    anchors = sorted({line.anchor for _, line in lines})
    if len(anchors) > 1:
        raise ValueError(f"lines must come from one anchor, got {anchors}")
    ordered = sorted(lines, key=lambda pair: pair[0])
    drawn = [ordered[i] for i in _evenly_spaced(len(ordered), _CURVES)]
    step, newest = drawn[-1]
    relative = math.isfinite(_start(newest))
    older = [(step, line) for step, line in drawn[:-1] if relative and math.isfinite(_start(line))]
    figure, axes = new_axes()
    _draw_older(axes, older)
    notes = _draw_newest(axes, step, newest, relative=relative)
    notes += _set_limits(axes, [_curve_of(line, relative=relative) for _, line in (*older, (step, newest))], newest)
    notes += _shade_beyond(axes, step, max(alpha for _, line in drawn for alpha in line.alphas))
    if len(older) + 1 < len(ordered):
        notes.append(f"{len(older) + 1} of {len(ordered)} lines drawn")
    start = short_name(start_name(newest), 28)
    axes.set_xlabel(f"α, the position on the straight line   (0: {start}, 1: {end_name(step)})")
    axes.set_ylabel("change of the loss from α = 0" if relative else "loss")
    axes.grid(visible=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")
    caption = line_caption(newest, step)
    add_texts(figure, caption.title, [*caption.details], notes)
    return figure


def _set_limits(axes: Axes, curves: Sequence[tuple[Curve, Curve]], newest: Line) -> list[str]:
    """Set the limits of the losses such that the newest curve, the last one, is well seen; return notes."""
    *older, last = curves
    if not np.isfinite(last[1]).any():
        axes.text(0.5, 0.5, "no finite loss on this line", transform=axes.transAxes, ha="center", color=VERMILION)
        axes.set_yticks([])
        return []
    level = abs(_start(newest)) if math.isfinite(_start(newest)) else 0.0
    reach = _SPIKE_RATIO * max(np.nanmax(last[1]) - np.nanmin(last[1]), FLAT * level)
    near = [curve for curve in older if np.nanmax(np.abs(curve[1])) <= reach]
    notes = set_loss_limits(axes, [*near, last], spike_ratio=_SPIKE_RATIO, neighbours=1, ends="compared", level=level)
    if far := len(older) - len(near):
        notes.append(f"{far} older line{'s leave' if far > 1 else ' leaves'} the frame")
    return notes


def _evenly_spaced(length: int, limit: int) -> list[int]:
    """Return at most `limit` evenly spaced indices of a sequence, with its first and its last."""
    return sorted({round(i) for i in np.linspace(0, length - 1, min(length, limit))})


def _start(line: Line) -> float:
    """Return the loss at α = 0; NaN if it cannot be drawn."""
    return float(drawable([line.loss_at(0.0)])[0])


def _curve(line: Line, *, relative: bool) -> Curve:
    """Return the change of the loss from α = 0, or the loss itself, with NaN for what cannot be drawn."""
    return drawable(line.losses) - (_start(line) if relative else 0.0)


def _curve_of(line: Line, *, relative: bool) -> tuple[Curve, Curve]:
    return np.array(line.alphas), _curve(line, relative=relative)


def _draw_older(axes: Axes, older: Sequence[tuple[int, Line]]) -> None:
    for age, (step, line) in enumerate(older):
        strength = 0.25 + 0.45 * age / max(len(older) - 1, 1)
        named = age in {0, len(older) - 1}
        axes.plot(
            line.alphas,
            _curve(line, relative=True),
            color="#5B7C99",
            alpha=strength,
            linewidth=1.1,
            marker=".",
            markersize=2.5,
            label=f"line to step {step:,}" if named else "_",
        )


def _draw_newest(axes: Axes, step: int, line: Line, *, relative: bool) -> list[str]:
    """Draw the newest line, its largest rise and its gaps, and return a note about the gaps."""
    losses = _curve(line, relative=relative)
    axes.plot(
        line.alphas,
        losses,
        color=BLUE,
        linewidth=2.4,
        marker="o",
        markersize=4,
        zorder=4,
        label=f"line to step {step:,}",
    )
    rise = rise_of(line, SMALL_RISE)
    if rise is not None and relative:
        low, top = rise.low - _start(line), rise.top - _start(line)
        axes.plot(
            [rise.low_alpha, rise.alpha], [low, low], color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=3,
            label="lowest loss before the rise",
        )  # fmt: skip
        axes.plot(
            [rise.alpha, rise.alpha], [low, top], color=VERMILION, linewidth=2, marker="_", markersize=9, zorder=5,
            label=rise.words,
        )  # fmt: skip
    gaps = [alpha for alpha, loss in zip(line.alphas, losses, strict=True) if math.isnan(loss)]
    if not gaps:
        return []
    axes.plot(
        gaps, [0.02] * len(gaps), linestyle="none", marker="x", color=VERMILION, markersize=6, markeredgewidth=1.6,
        transform=axes.get_xaxis_transform(), zorder=6, clip_on=False, label="not finite",
    )  # fmt: skip
    return [f"the newest loss is not finite at {len(gaps)} of {len(losses)} points"]


def _shade_beyond(axes: Axes, step: int, last: float) -> list[str]:
    """Shade the part of the axes beyond the weights at this step (α > 1), and return a note about it."""
    axes.set_xlim(-0.03, max(1.0, last) + 0.03)
    if last <= 1:
        return []
    axes.axvspan(1, last + 0.03, color=FAINT, zorder=0)
    return [f"grey: straight on beyond {end_name(step)}"]
