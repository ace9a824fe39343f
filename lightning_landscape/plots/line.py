"""The loss on straight lines from an anchor to the weights at several steps of the run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_landscape.evidence import Line
from lightning_landscape.plots.canvas import (
    BLUE,
    FAINT,
    INK,
    SOFT,
    VERMILION,
    add_texts,
    figure_style,
    new_axes,
    short_name,
    use_log_scale,
)

_CURVES = 12
_DRAWABLE = 1e100
"""loss above which matplotlib's arithmetic overflows"""
_LOG_RATIO = 50.0
"""ratio of the highest to the lowest loss above which the axis is logarithmic, since small losses would look equal"""
_OUTLIER = 30.0
"""distance from the median, in median absolute deviations, above which a loss does not determine the axis limits"""
_FLAT = 1e-4
"""smallest range of the loss axis, as a share of the loss, so that rounding errors are not magnified"""


@figure_style()
def line_figure(lines: Sequence[tuple[int, Line]]) -> Figure:
    """Draw the loss on the lines from one anchor (α = 0) to the weights at each step (α = 1), older lines fainter.

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
    figure, axes = new_axes()
    _draw_older(axes, drawn[:-1])
    notes = _draw_newest(axes, step, newest)
    notes += _scale_losses(axes, [_losses(line) for _, line in drawn])
    _shade_beyond(axes, max((alpha for _, line in drawn for alpha in line.alphas), default=1.0))
    if len(drawn) < len(ordered):
        notes.append(f"{len(drawn)} of {len(ordered)} curves drawn")
    anchor = short_name(newest.anchor, 28)
    axes.set_xlabel(f"α   (0: {anchor}, 1: weights at step {step:,})")
    axes.set_ylabel("training loss, the same batches all along")
    axes.grid(visible=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best")
    add_texts(figure, f"Loss on the straight line from {anchor} to now", _numbers(step, newest), notes)
    return figure


def _evenly_spaced(length: int, limit: int) -> list[int]:
    """Return at most `limit` evenly spaced indices of a sequence, with its first and its last."""
    return sorted({round(i) for i in np.linspace(0, length - 1, min(length, limit))})


def _losses(line: Line) -> NDArray[np.float64]:
    """Return the losses with NaN, which leaves a gap in the curve, for those that cannot be drawn."""
    losses = np.asarray(line.losses, dtype=np.float64)
    return np.where(np.abs(losses) < _DRAWABLE, losses, np.nan)


def _draw_older(axes: Axes, older: Sequence[tuple[int, Line]]) -> None:
    for age, (step, line) in enumerate(older):
        strength = 0.25 + 0.45 * age / max(len(older) - 1, 1)
        named = age in {0, len(older) - 1}
        axes.plot(
            line.alphas,
            _losses(line),
            color="#5B7C99",
            alpha=strength,
            linewidth=1.1,
            marker=".",
            markersize=2.5,
            label=f"step {step:,}" if named else "_",
        )


def _draw_newest(axes: Axes, step: int, line: Line) -> list[str]:
    """Draw the newest line with its barrier and its losses that are not finite, and return a note about the latter."""
    losses = _losses(line)
    axes.plot(
        line.alphas, losses, color=BLUE, linewidth=2.4, marker="o", markersize=4, zorder=4, label=f"step {step:,} (now)"
    )
    top = _top_of_barrier(line)
    if top is not None:
        alpha, chord, loss = top
        between = np.linspace(0, 1, 41)  # a straight line is a curve on a logarithmic axis
        axes.plot(
            between,
            (1 - between) * _end(line, 0.0) + between * _end(line, 1.0),
            color=INK,
            linewidth=0.9,
            linestyle=(0, (4, 3)),
            zorder=3,
        )
        axes.plot(
            [alpha, alpha], [chord, loss], color=VERMILION, linewidth=2, marker="_", markersize=9, zorder=5,
            label=f"barrier {line.barrier:.3g}",
        )  # fmt: skip
    gaps = [alpha for alpha, loss in zip(line.alphas, losses, strict=True) if math.isnan(loss)]
    if not gaps:
        return []
    axes.plot(
        gaps, [0.02] * len(gaps), linestyle="none", marker="x", color=VERMILION, markersize=6, markeredgewidth=1.6,
        transform=axes.get_xaxis_transform(), zorder=6, clip_on=False, label="not finite",
    )  # fmt: skip
    return [f"the newest loss is not finite at {len(gaps)} of {len(losses)} points"]


def _end(line: Line, alpha: float) -> float:
    """Return the loss at α = 0 or 1; NaN where the line has no such point."""
    return next((loss for a, loss in zip(line.alphas, _losses(line), strict=True) if a == alpha), math.nan)


def _top_of_barrier(line: Line) -> tuple[float, float, float] | None:
    """Return α, the height of the chord and the loss at the top of the barrier; None where there is no visible rise."""
    start, end = _end(line, 0.0), _end(line, 1.0)
    rises = [
        (loss - chord, alpha, chord, loss)
        for alpha, loss in zip(line.alphas, _losses(line), strict=True)
        if 0 <= alpha <= 1 and math.isfinite(loss - (chord := (1 - alpha) * start + alpha * end))
    ]
    if not rises or not line.barrier > 1e-6 * max(abs(start), abs(end)):
        return None
    return max(rises)[1:]


def _numbers(step: int, line: Line) -> list[str]:
    losses = _losses(line)
    top = _top_of_barrier(line)
    if not np.isfinite([_end(line, 0.0), _end(line, 1.0)]).all():
        shape = "no barrier can be measured: an end is missing or not finite"
    elif top is not None:
        share = line.relative_barrier
        relative = f", {share:.0%} of the higher end" if share < 10 else ""
        shape = f"barrier {line.barrier:.3g} at α = {top[0]:.2g}{relative}"
    elif np.isnan(losses[[0 <= alpha <= 1 for alpha in line.alphas]]).any():
        shape = "not finite on the way"
    elif np.ptp(losses[np.isfinite(losses)]) <= _FLAT * np.nanmax(np.abs(losses)):
        shape = f"flat to within {_FLAT:.2%}"
    else:
        shape = "the loss never rises" if line.monotone else "no barrier"
    return [f"step {step:,}", shape, *([f"{line.samples:,} samples"] if line.samples else [])]


def _scale_losses(axes: Axes, curves: Sequence[NDArray[np.float64]]) -> list[str]:
    """Choose the limits and the scale of the loss axis, and return a note about losses outside the limits."""
    losses = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    if not losses.size:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no finite loss on this line", transform=axes.transAxes, ha="center", color=VERMILION)
        return []
    low, high = float(losses.min()), float(losses.max())
    if low > 0 and high > _LOG_RATIO * low:
        use_log_scale(axes, low, high)
        axes.set_ylim(low / (high / low) ** 0.06, high * (high / low) ** 0.14)
        return []
    distance = np.abs(losses - float(np.median(losses)))
    typical = losses[distance <= _OUTLIER * np.median(distance)]
    notes = []
    if typical.size < losses.size and high - low > 4 * np.ptp(typical):
        low, high = float(typical.min()), float(typical.max())
        notes.append(f"{losses.size - typical.size} losses lie beyond the frame")
    span = max(high - low, _FLAT * max(abs(low), abs(high))) or 1.0
    axes.set_ylim((low + high - span) / 2 - 0.06 * span, (low + high + span) / 2 + 0.14 * span)
    return notes


def _shade_beyond(axes: Axes, last: float) -> None:
    """Shade the part of the axes beyond the present weights (α > 1)."""
    axes.set_xlim(-0.03, max(1.0, last) + 0.03)
    if last > 1:
        axes.axvspan(1, last + 0.03, color=FAINT, zorder=0)
        axes.text(
            (1 + last + 0.03) / 2, 0.98, "a step\nfurther", transform=axes.get_xaxis_transform(),
            ha="center", va="top", fontsize=7.5, color=SOFT,
        )  # fmt: skip
