"""The loss of a whole run, with a band of its states and lines at its verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_landscape.captions import STATES, run_caption
from lightning_landscape.evidence import TONES, Verdict
from lightning_landscape.plots.canvas import (
    BLUE,
    INK,
    SOFT,
    VERMILION,
    add_texts,
    figure_style,
    format_steps,
    new_axes,
)
from lightning_landscape.plots.limits import drawable, set_loss_limits

_COLORS = {"good": "#BFE3D7", "unsure": "#F3DFB0", "quiet": "#C9DCEB", "alarm": "#F6C9B0"}
_LETTER = 0.062
"""width of a letter of the band, in inches"""


@figure_style()
def timeline_figure(
    steps: Sequence[int],
    losses: Sequence[float | None],
    segments: Sequence[Sequence[Any]],
    verdicts: Sequence[Verdict] = (),
    ranges: Sequence[Sequence[float | None]] = (),
) -> Figure:
    """Draw the training loss above a band with the states of the run, and a dotted line at each verdict.

    Args:
        steps: shape (n,), optimizer steps, ascending.
        losses: shape (n,); a loss that is None or not finite leaves a gap.
        segments: (first step, state) pairs; a state is "learning", "stalled", "not_judged" or the value of a `Cause`.
        verdicts: all verdicts of the run.
        ranges: the lowest and the highest losses, each of shape (n,), between which the area is shaded; empty for none.

    Raises:
        ValueError: if there are no steps, or if `steps` and `losses` differ in length.
    """
    if not steps or len(steps) != len(losses):
        raise ValueError(f"steps and losses must have the same length, at least 1, got {len(steps)}, {len(losses)}")
    figure, axes = new_axes(height=3.4)
    beyond = draw_timeline(axes, steps, losses, segments, verdicts, ranges)
    missing = int(np.isnan(drawable(losses)).sum())
    shaded = ["light area: lowest to highest loss"] if ranges else []
    notes = [*shaded, *([f"not finite at {missing} of {len(steps)} points"] if missing else []), *beyond]
    caption = run_caption(segments[-1][1] if segments else "learning", verdicts, steps, losses)
    add_texts(figure, caption.title, [*caption.details, *(["dotted line: a verdict"] if verdicts else [])], notes)
    return figure


def draw_timeline(
    axes: Axes,
    steps: Sequence[int],
    losses: Sequence[float | None],
    segments: Sequence[Sequence[Any]],
    verdicts: Sequence[Verdict],
    ranges: Sequence[Sequence[float | None]] = (),
) -> list[str]:
    """Draw the loss, the band of states and the lines of `timeline_figure`, and return notes on what lies beyond."""
    values, places = drawable(losses), np.array(steps, dtype=np.float64)
    axes.plot(steps, values, color=BLUE, linewidth=1.8, marker="." if len(steps) < 3 else None)
    bounds = [drawable(losses) for losses in ranges]
    if bounds:
        axes.fill_between(places, bounds[0], bounds[1], color=BLUE, alpha=0.18, linewidth=0)
    beyond = set_loss_limits(axes, [(places, curve) for curve in (values, *bounds)], log_ratio=30)
    axes.set_xlim(min(0, steps[0]), max(1, steps[-1]))
    for verdict in verdicts:
        axes.axvline(verdict.step, color=VERMILION if verdict.stuck else SOFT, linewidth=1, linestyle=(0, (1, 2)))
    _draw_band(axes, segments, steps[-1])
    axes.set_ylabel("training loss")
    axes.set_xlabel("optimizer step")
    axes.tick_params(axis="x", pad=22)
    axes.grid(visible=True, axis="y")
    format_steps(axes)
    return list(beyond)


def _draw_band(axes: Axes, segments: Sequence[Sequence[Any]], last: int) -> None:
    """Draw the states of the run below the axes, with the name of each state that has enough room for it."""
    left, right = axes.get_xlim()
    letter = _LETTER * axes.figure.dpi / axes.bbox.width
    ends = [*(first for first, _ in segments[1:]), last]
    for (first, state), end in zip(segments, ends, strict=True):
        color = _COLORS[TONES.get(state, "alarm")]
        axes.axvspan(first, max(end, first), -0.125, -0.03, facecolor=color, edgecolor="white", clip_on=False)
        words = STATES.get(state, state.replace("_", " "))
        if (end - first) / (right - left) > letter * (len(words) + 2):
            axes.text(
                (first + end) / 2, -0.079, words, transform=axes.get_xaxis_transform(),
                ha="center", va="center", fontsize=8, color=INK,
            )  # fmt: skip
