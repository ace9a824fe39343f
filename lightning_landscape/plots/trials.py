"""What was tried on a copy of the weights, as bars beside going on as it is."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_landscape.captions import GOING_ON, TrialChart, TrialGroup
from lightning_landscape.plots.canvas import (
    BLUE,
    INK,
    SOFT,
    VERMILION,
    add_texts,
    figure_style,
    new_axes,
    short_name,
)

_BASELINE = "#8A9096"
_WORST = -0.5
"""largest rise of the loss that is drawn to scale; the bar of a larger one ends there"""
_TICKS = {-0.5: "50% higher", 0.0: "unchanged", 0.5: "50% lower", 1.0: "100% lower"}


@figure_style()
def trials_figure(chart: TrialChart) -> Figure:
    """Draw how much each trial lowers or raises the loss, with a dashed line at what going on as it is does.

    Trials of equally many steps form a group, the largest gain first. The result of each trial stands beside its bar in
    words, so that a bar that is cut off does not mislead.
    """
    rows = sum(len(group.bars) + 1 for group in chart.groups) + 0.5 * (len(chart.groups) - 1)
    figure, axes = new_axes(1.35 + 0.25 * rows)
    row, names = 0.0, []
    for group in chart.groups:
        axes.text(
            -0.015, row, group.heading, transform=axes.get_yaxis_transform(), ha="right", va="center",
            fontsize=8, fontweight="bold", color=SOFT,
        )  # fmt: skip
        _draw_group(axes, group, row + 1)
        names += [(row + 1 + k, bar.name) for k, bar in enumerate(group.bars)]
        row += len(group.bars) + 1.5
    axes.set_yticks([at for at, _ in names], [short_name(name, 44) for _, name in names])
    axes.set_ylim(row - 0.9, -0.6)
    raised = any(bar.gain < -0.1 for group in chart.groups for bar in group.bars)
    axes.set_xlim(_WORST - 0.02 if raised else -0.1, 1.02)
    ticks = {place: text for place, text in _TICKS.items() if place >= axes.get_xlim()[0]}
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.set_xlabel("loss after the trial, compared with the present one")
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(visible=True, axis="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    notes = [f"dashed line: {GOING_ON}"] if any(group.going_on is not None for group in chart.groups) else []
    add_texts(figure, chart.caption.title, [*chart.caption.details], notes)
    return figure


def _draw_group(axes: Axes, group: TrialGroup, first: float) -> None:
    """Draw the bars of a group from this row on, and the dashed line of going on as it is."""
    for row, bar in enumerate(group.bars, start=int(first)):
        at, length = row + first % 1, _length(bar.gain)
        colour = _BASELINE if bar.name == GOING_ON else BLUE if bar.gain > 0 else VERMILION
        axes.barh(at, length, 0.7, color=colour)
        axes.text(max(length, _length(group.baseline)) + 0.012, at, bar.result, ha="left", va="center", fontsize=8)
    if group.going_on is not None:
        x, rows = _length(group.going_on), (first - 0.5, first + len(group.bars) - 0.5)
        axes.plot([x, x], rows, color=INK, linewidth=1.1, linestyle=(0, (4, 3)), zorder=4)


def _length(gain: float) -> float:
    """Return the length of the bar of this gain, which is never longer than the axis."""
    return max(_WORST, min(1.0, gain)) if math.isfinite(gain) else _WORST
