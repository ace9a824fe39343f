"""The losses of one or several runs by optimizer step, with marked events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_landscape.plots.canvas import (
    BLUE,
    INK,
    VERMILION,
    add_texts,
    figure_style,
    format_steps,
    new_axes,
    short_name,
)
from lightning_landscape.plots.limits import drawable, set_loss_limits

_RUN_COLOURS = (BLUE, "#7A7F85", "#56B4E9", "#E69F00")
_MARK_COLOURS = (VERMILION, "#009E73", "#CC79A7", INK)
_BLOCKS = 60
"""number of blocks of steps whose mean losses make up the strong curve of a run"""


@figure_style()
def loss_figure(runs: Mapping[str, Sequence[tuple[int, float]]], marks: Sequence[tuple[int, str]] = ()) -> Figure:
    """Draw the losses of each run, faint for single steps and strong for means over blocks of steps.

    Args:
        runs: (optimizer step, loss) pairs by the name of the run; a loss that is not finite leaves a gap.
        marks: (optimizer step, text) pairs; each is a vertical line with its text in the legend.

    Raises:
        ValueError: if there is no run, or if a run has no losses.
    """
    if not runs or not all(runs.values()):
        raise ValueError(f"every run must have at least one (step, loss) pair, got {list(runs)}")
    figure, axes = new_axes()
    curves, numbers = [], []
    for (name, losses), colour in zip(runs.items(), cycle(_RUN_COLOURS), strict=False):
        steps = np.array([step for step, _ in losses], dtype=np.float64)
        values = drawable([loss for _, loss in losses])
        means = _means(values)
        axes.plot(steps, values, color=colour, alpha=0.22, linewidth=0.7)
        axes.plot(_means(steps), means, color=colour, linewidth=2.2, label=short_name(name, 40), zorder=4)
        numbers.append(f"{short_name(name, 24)}: {means[0]:.3g} to {means[-1]:.3g}")
        curves.append((steps, values))
    for (step, text), colour in zip(_merged(marks).items(), cycle(_MARK_COLOURS), strict=False):
        entry = f"step {step:,}: {short_name(text, 60)}"
        axes.axvline(step, color=colour, linewidth=1.4, linestyle=(0, (4, 2)), label=entry)
    notes = set_loss_limits(axes, curves, log_ratio=20)
    axes.set_ylabel("training loss")
    axes.set_xlabel("optimizer step")
    format_steps(axes)
    axes.grid(visible=True, axis="y")
    axes.margins(x=0.01)
    axes.legend(loc="best")
    missing = sum(int(np.isnan(values).sum()) for _, values in curves)
    notes = [*([f"not finite at {missing:,} steps"] if missing else []), *notes]
    add_texts(figure, "Training loss", numbers, notes)
    return figure


def _means(values: NDArray[np.float64]) -> list[float]:
    """Return the means of at most 60 blocks of equally many values."""
    return [float(block.mean()) for block in np.array_split(values, min(_BLOCKS, len(values)))]


def _merged(marks: Sequence[tuple[int, str]]) -> dict[int, str]:
    """Return one text for each marked step, in order, since two lines at the same step would hide each other."""
    steps = sorted({step for step, _ in marks})
    return {step: ", ".join(text for marked, text in marks if marked == step) for step in steps}
