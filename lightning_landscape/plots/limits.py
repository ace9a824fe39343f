"""Limits of an axis of losses that one spike does not determine, and notes about what lies beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from lightning_landscape.plots.canvas import VERMILION, use_log_scale

Curve = NDArray[np.float64]

DRAWABLE = 1e100
"""loss above which matplotlib's arithmetic overflows"""
FLAT = 1e-4
"""smallest range of the axis, as a share of the loss, so that rounding errors are not magnified"""
BELOW, ABOVE = 0.06, 0.14
"""empty margins of the axis, as shares of its range; the legend needs the upper one"""


def drawable(losses: Sequence[float | None]) -> Curve:
    """Return the losses with NaN, which leaves a gap in the curve, for those that cannot be drawn."""
    values = np.array([np.nan if loss is None else loss for loss in losses], dtype=np.float64)
    return np.where(np.abs(values) < DRAWABLE, values, np.nan)


def set_loss_limits(
    axes: Axes,
    curves: Sequence[tuple[Curve, Curve]],
    *,
    log_ratio: float = np.inf,
    spike_ratio: float = 8.0,
    neighbours: int = 2,
    ends: Literal["kept", "compared"] = "kept",
    level: float = 0.0,
) -> list[str]:
    """Set the limits and the scale of the y-axis, mark what lies beyond them, and return notes about it.

    A value counts as a spike if it is far from the values beside it. Spikes lie beyond the limits only if they would
    squeeze all other values into a small part of the axis.

    Args:
        axes: the axes.
        curves: the coordinates x and y of each curve, NaN for gaps.
        log_ratio: ratio of the highest to the lowest loss, spikes apart, above which the axis is logarithmic.
        spike_ratio: range of all values over that without spikes above which the spikes lie beyond the limits.
        neighbours: number of values on each side with which a value is compared.
        ends: whether the first and the last value of a curve are never spikes, or are compared like all others.
        level: size of the losses, whose rounding errors are not magnified.
    """
    values = np.concatenate([y for _, y in curves])
    values = values[np.isfinite(values)]
    if not values.size:
        axes.set_yticks([])
        return []
    calm = np.concatenate([_without_spikes(y, neighbours, ends) for _, y in curves])
    calm = calm[np.isfinite(calm)]
    is_log = bool(values.min() > 0 and calm.max() > log_ratio * calm.min())
    low, high = _limits(np.log(values), np.log(calm), spike_ratio) if is_log else _limits(values, calm, spike_ratio)
    least = FLAT * max(abs(level), abs(low), abs(high)) if not is_log else 0.0
    span = max(high - low, least) or 1.0
    bottom, top = (low + high - span) / 2 - BELOW * span, (low + high + span) / 2 + ABOVE * span
    if is_log:
        use_log_scale(axes, float(np.exp(low)), float(np.exp(high)))
        bottom, top = np.exp(bottom), np.exp(top)
    axes.set_ylim(bottom, top)
    return _marked(axes, curves, (float(bottom), float(top)))


def _without_spikes(values: Curve, neighbours: int, ends: Literal["kept", "compared"]) -> Curve:
    """Return the median of each value and those beside it; ends that are kept stay as they are."""
    size, windows = len(values), []
    for i in range(size):
        width = min(i, size - 1 - i, neighbours) if ends == "kept" else neighbours
        first = max(0, min(i - width, size - 1 - 2 * width))
        windows.append(values[first : first + 2 * width + 1])
    finite = [window[np.isfinite(window)] for window in windows]
    return np.array([np.median(window) if window.size else np.nan for window in finite])


def _limits(values: Curve, calm: Curve, spike_ratio: float) -> tuple[float, float]:
    """Return the lowest and the highest value, without those far from all calm values if these make the range large."""
    reach = float(np.ptp(calm))
    if 0 < reach * spike_ratio < np.ptp(values):
        values = values[(values >= calm.min() - reach) & (values <= calm.max() + reach)]
    return float(values.min()), float(values.max())


def _marked(axes: Axes, curves: Sequence[tuple[Curve, Curve]], limits: tuple[float, float]) -> list[str]:
    """Mark values beyond the limits by triangles at the frame, and return a note for each side that has some."""
    notes = []
    bottom, top = limits
    for side, place, marker in (("above", 0.985, "^"), ("below", 0.015, "v")):
        beyond = [
            (x, y) for xs, ys in curves for x, y in zip(xs, ys, strict=True) if (y > top if place > 0.5 else y < bottom)
        ]
        if beyond:
            xs, ys = zip(*beyond, strict=True)
            axes.plot(
                xs, [place] * len(xs), marker, color=VERMILION, markersize=6, transform=axes.get_xaxis_transform(),
                zorder=7, clip_on=False, label="_",
            )  # fmt: skip
            furthest = max(ys) if side == "above" else min(ys)
            lie = "value lies" if len(beyond) == 1 else "values lie"
            notes.append(f"{len(beyond)} {lie} {side} the frame, up to {furthest:.3g}")
    return notes
