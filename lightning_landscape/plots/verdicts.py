"""The loss of a whole run with what was said of it, step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_landscape.evidence import TONES, Verdict
from lightning_landscape.plots.canvas import (
    BLUE,
    INK,
    SOFT,
    VERMILION,
    count_steps,
    frame,
    new_axes,
    on_log_scale,
    our_look,
)

_COLORS = {"good": "#BFE3D7", "unsure": "#F3DFB0", "quiet": "#C9DCEB", "alarm": "#F6C9B0"}
_LETTER = 0.0125  # of the width of the axes


def timeline_figure(
    steps: Sequence[int],
    losses: Sequence[float | None],
    segments: Sequence[Sequence[Any]],
    verdicts: Sequence[Verdict] = (),
) -> Figure:
    """The training loss above a band that says what the run was doing; a dotted line where a verdict was reached.

    Args:
        steps: (n,) optimizer steps, ascending.
        losses: (n,) losses; None or not finite is a gap.
        segments: (first step, state) pairs: "learning", "stalled", "not_judged" or the value of a `Cause`.
        verdicts: in the order of the run.

    Raises:
        ValueError: where there is nothing to draw, or where the lengths differ.
    """
    if not steps or len(steps) != len(losses):
        raise ValueError(
            f"steps and losses must be as long as each other and not empty, got {len(steps)}, {len(losses)}"
        )
    values = np.array([np.nan if loss is None or not math.isfinite(loss) else loss for loss in losses])
    with our_look():
        figure, axes = new_axes(height=3.4)
        axes.plot(steps, values, color=BLUE, linewidth=1.8, marker="." if len(steps) < 3 else None)
        known = values[np.isfinite(values)]
        if known.size and known.min() > 0 and known.max() > 30 * known.min():
            on_log_scale(axes, known.min(), known.max())
        axes.set_xlim(min(0, steps[0]), max(1, steps[-1]))
        for verdict in verdicts:
            axes.axvline(verdict.step, color=VERMILION if verdict.stuck else SOFT, linewidth=1, linestyle=(0, (1, 2)))
        _band(axes, segments, steps[-1])
        axes.set_ylabel("training loss")
        axes.set_xlabel("optimizer step")
        axes.tick_params(axis="x", pad=22)
        axes.grid(visible=True, axis="y")
        count_steps(axes)
        alarms = sum(verdict.stuck for verdict in verdicts)
        quiet = "not judged" if any(state == "not_judged" for _, state in segments) else "no alarm"
        said = f"{alarms} alarm{'s' * (alarms != 1)}" if alarms else quiet
        missing = len(steps) - known.size
        notes = [f"not finite at {missing} of {len(steps)} points"] if missing else []
        frame(figure, "Training loss and verdicts", [f"to step {steps[-1]:,}", said], notes)
    return figure


def _band(axes: Axes, segments: Sequence[Sequence[Any]], last: int) -> None:
    """Below the axes, in words where there is room for them."""
    left, right = axes.get_xlim()
    ends = [*(first for first, _ in segments[1:]), last]
    for (first, state), end in zip(segments, ends, strict=True):
        color = _COLORS[TONES.get(state, "alarm")]
        axes.axvspan(first, max(end, first), -0.125, -0.03, facecolor=color, edgecolor="white", clip_on=False)
        words = state.replace("_", " ")
        if (end - first) / (right - left) > _LETTER * (len(words) + 2):
            axes.text(
                (first + end) / 2, -0.079, words, transform=axes.get_xaxis_transform(),
                ha="center", va="center", fontsize=8, color=INK,
            )  # fmt: skip
