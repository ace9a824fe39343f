"""The validation loss and the declared metrics of a run beside its training loss, with their best steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from lightning_landscape.captions import FAR, TRAINING, MetricChart, MetricCurve, Panel, best_words, since_words
from lightning_landscape.plots.canvas import (
    BLUE,
    INK,
    SOFT,
    add_texts,
    figure_style,
    format_steps,
    new_figure,
    short_name,
    use_log_scale,
)
from lightning_landscape.plots.limits import Curve, drawable, set_loss_limits

COLOURS = ("#8A6200", "#B0468A", "#00795A", "#6A5ACD")
"""colours of the metrics, which differ from the blue of the training loss for every kind of colour vision"""
FIRST, OTHERS = 2.1, 1.15
"""heights of the first panel and of each other one, in inches"""
LABEL = 0.21
"""height of a label, in inches"""
FEW = 40
"""points up to which each is marked"""


@figure_style()
def metrics_figure(chart: MetricChart, steps: Sequence[int], losses: Sequence[float | None]) -> Figure:
    """Draw each metric with its best point, and shade the steps since which it has not improved.

    A loss on the scale of the training loss shares its panel; each other metric has a panel below, over the same steps.

    Args:
        chart: the metrics.
        steps: shape (n,), optimizer steps of the training loss.
        losses: shape (n,), the training losses there; one that is None or not finite leaves a gap.
    """
    heights = [FIRST, *[OTHERS] * (len(chart.panels) - 1)]
    figure = new_figure(1.35 + sum(heights) + 0.2 * len(heights))
    column: list[Axes] = list(figure.subplots(len(heights), sharex=True, height_ratios=heights, squeeze=False)[:, 0])
    last = max([*steps[-1:], *(curve.steps[-1] for curve in chart.curves), 1])
    training = np.array(steps, dtype=np.float64), drawable(losses)
    colours, notes = iter(COLOURS), []
    for axes, panel, height in zip(column, chart.panels, heights, strict=True):
        notes += _draw_panel(_Panel(axes, panel, height, last, [next(colours) for _ in panel.curves]), training)
    column[-1].set_xlim(0, last)
    column[-1].set_xlabel("optimizer step")
    format_steps(column[-1])
    if any(curve.since is not None for curve in chart.curves):
        notes = ["shaded: not clearly better", *notes]
    if chart.omitted:
        notes.append(f"{chart.omitted} more metric{'s' * (chart.omitted > 1)} not drawn")
    add_texts(figure, chart.caption.title, [*chart.caption.details], notes)
    return figure


@dataclass(frozen=True)
class _Panel:
    """Where a panel is drawn."""

    axes: Axes
    panel: Panel
    height: float
    """in inches"""
    last: int
    """the last step of the picture"""
    colours: Sequence[str]
    """one for each metric"""


def _draw_panel(place: _Panel, training: tuple[Curve, Curve]) -> list[str]:
    """Draw the curves of a panel, and return notes on what lies beyond its frame."""
    axes, panel = place.axes, place.panel
    curves = [training] if panel.training else []
    if panel.training:
        axes.plot(*training, color=BLUE, linewidth=1.5, marker="." if len(training[0]) < 3 else None)
    for curve, colour in zip(panel.curves, place.colours, strict=True):
        steps, values = np.array(curve.steps, dtype=np.float64), drawable(curve.values)
        axes.plot(
            steps,
            values,
            color=colour,
            linewidth=1.8,
            marker="o" if len(steps) <= FEW else None,
            markersize=4,
            zorder=4,
        )
        curves.append((steps, values))
    notes = _set_limits(axes, panel, curves)
    _make_room(place)
    colour = BLUE if not panel.curves else INK if panel.training else place.colours[0]
    axes.set_title(short_name(panel.axis, 60), loc="left", fontsize=9, color=colour, pad=4)
    axes.grid(visible=True, axis="y")
    for curve, colour in zip(panel.curves, place.colours, strict=True):
        _mark(place, curve, colour)
    if panel.training and panel.curves:
        _name_ends(place, training)
    return notes


def _set_limits(axes: Axes, panel: Panel, curves: Sequence[tuple[Curve, Curve]]) -> list[str]:
    """Set the range and the scale of the axis, and return notes on what lies beyond."""
    if panel.frame is None:
        return set_loss_limits(axes, curves, log_ratio=FAR)
    low, high = panel.frame
    if low > 0 and high > FAR * low:
        use_log_scale(axes, low, high)
        axes.set_ylim(low * (low / high) ** 0.05, high * (high / low) ** 0.05)
    else:
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    if panel.beyond:
        axes.set_title(panel.beyond, loc="right", fontsize=8, color=SOFT, pad=4)
    return []


def _make_room(place: _Panel) -> None:
    """Add room for the labels below and above all curves, on any scale."""
    scale = place.axes.yaxis.get_transform()
    low, high = scale.transform(np.array(place.axes.get_ylim()))
    room = LABEL / place.height * (high - low)
    modes = {curve.mode for curve in place.panel.curves if curve.best}
    stopped = {curve.mode for curve in place.panel.curves if curve.since is not None}
    below = room * ("min" in modes or "max" in stopped)
    above = room * ("max" in modes or "min" in stopped) * (place.panel.frame is not None)
    place.axes.set_ylim(*scale.inverted().transform(np.array([low - below, high + above])))


def _mark(place: _Panel, curve: MetricCurve, colour: str) -> None:
    """Mark the best point of a curve, and shade the steps since which it has not clearly improved."""
    axes, low = place.axes, curve.mode == "min"
    since, best = since_words(curve), best_words(curve)
    if curve.since is not None and since is not None:
        axes.axvspan(curve.since, place.last, color=colour, alpha=0.09, linewidth=0)
        axes.axvline(curve.since, color=colour, linewidth=1, linestyle=(0, (3, 2)))
        left = curve.since > 0.55 * place.last
        line = 0.03 + 0.7 * LABEL / place.height * place.panel.curves.index(curve)
        at = curve.since, 1 - line if low else line
        text = axes.annotate(
            since, at, xycoords=axes.get_xaxis_transform(), xytext=(-4 if left else 4, 0), textcoords="offset points",
            ha="right" if left else "left", va="top" if low else "bottom", fontsize=8, color=colour, zorder=6,
        )  # fmt: skip
        _outline(text)
    if curve.best is not None and best is not None:
        share = curve.best[0] / place.last
        axes.plot(*curve.best, "o", color=colour, markersize=6, markeredgecolor="white", zorder=7)
        text = axes.annotate(
            best, curve.best, xytext=(0, -6 if low else 6), textcoords="offset points", fontsize=8, color=colour,
            ha="left" if share < 0.2 else "right" if share > 0.8 else "center", va="top" if low else "bottom", zorder=6,
        )  # fmt: skip
        _outline(text)


def _outline(text: Text) -> None:
    """Draw a white outline around the text, so that it can be read on a curve."""
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])


def _name_ends(place: _Panel, training: tuple[Curve, Curve]) -> None:
    """Write the name of each curve beside its end, without overlap."""
    axes = place.axes
    finite = training[1][np.isfinite(training[1])]
    ends = [(TRAINING, float(finite[-1]), BLUE)] if finite.size else []
    for curve, colour in zip(place.panel.curves, place.colours, strict=True):
        if curve.last is not None:
            ends.append((short_name(curve.name, 20), curve.last[1], colour))
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(np.array(axes.get_ylim()))
    heights = [float((scale.transform(np.array([value]))[0] - low) / (high - low)) for _, value, _ in ends]
    for at, (name, _, colour) in zip(_spread(heights, 0.75 * LABEL / place.height), ends, strict=True):
        axes.text(1.012, at, name, color=colour, fontsize=8, va="center", transform=axes.transAxes)


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights in [0, 1] that are at least `gap` apart, in the order of those given."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed, least, most = [0.0] * len(heights), 0.0, 1.0
    for i in order:
        placed[i] = max(heights[i], least)
        least = placed[i] + gap
    for i in reversed(order):
        placed[i] = min(placed[i], most)
        most = placed[i] - gap
    return placed
