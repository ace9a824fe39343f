"""The loss of a run over its steps, with what happened on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure

from lightning_landscape.plots.canvas import (
    BLUE,
    INK,
    SOFT,
    VERMILION,
    count_steps,
    frame,
    in_our_look,
    label,
    new_axes,
)

_COLOURS = (VERMILION, "#009E73", "#CC79A7", INK)  # Okabe and Ito's, as the others
_DRAWABLE = 1e100
_BINS = 60


@in_our_look
def loss_figure(losses: Sequence[tuple[int, float]], marks: Sequence[tuple[int, str]] = ()) -> Figure:
    """The loss of every step, faint, its mean over short stretches, strong, and a line at each step of `marks`.

    Args:
        losses: (optimizer step, loss) pairs; what is not finite leaves a gap.
        marks: (optimizer step, what happened there) pairs, such as a verdict, a remedy, an escape.

    Raises:
        ValueError: if there is no loss.
    """
    if not losses:
        raise ValueError("losses must hold at least one (step, loss) pair, got none")
    steps = np.array([step for step, _ in losses])
    values = np.array([loss if abs(loss) < _DRAWABLE else math.nan for _, loss in losses], dtype=np.float64)
    figure, axes = new_axes()
    axes.plot(steps, values, color=BLUE, alpha=0.25, linewidth=0.8)
    axes.plot(*_means(steps, values), color=BLUE, linewidth=2, label="training loss")
    for (step, text), colour in zip(marks, cycle(_COLOURS), strict=False):
        axes.axvline(
            step, color=colour, linewidth=1.4, linestyle=(0, (4, 2)), label=f"step {step:,}: {label(text, 60)}"
        )
    finite = values[np.isfinite(values)]
    if finite.size and finite.min() > 0 and finite.max() > 20 * finite.min():
        axes.set_yscale("log")
    axes.set_ylabel("training loss")
    axes.set_xlabel("optimizer step", color=SOFT)
    count_steps(axes)
    axes.grid(visible=True, axis="y")
    axes.margins(x=0.01)
    axes.legend(loc="best")
    ends = [f"{float(finite[0]):.3g} to {float(finite[-1]):.3g}"] if finite.size else ["never finite"]
    missing = [f"not finite at {len(values) - finite.size:,} steps"] if finite.size < len(values) else []
    frame(figure, "Training loss", [f"{len(values):,} steps", *ends, *missing], [])
    return figure


def _means(steps: np.ndarray, values: np.ndarray) -> tuple[list[float], list[float]]:
    """Means over at most sixty stretches of equal numbers of steps."""
    parts = [part for part in np.array_split(np.arange(len(steps)), min(_BINS, len(steps))) if part.size]
    return [float(steps[part].mean()) for part in parts], [float(values[part].mean()) for part in parts]
