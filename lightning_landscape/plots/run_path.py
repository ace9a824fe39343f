"""The loss along the checkpoints of one run."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from lightning_landscape.evidence import RunPath
from lightning_landscape.plots.canvas import (
    BLUE,
    FAINT,
    VERMILION,
    add_texts,
    figure_style,
    format_steps,
    new_axes,
)
from lightning_landscape.plots.limits import drawable

WORTH_A_SCALE = 30.0
"""ratio of the highest to the lowest loss above which the scale is logarithmic"""


@figure_style()
def run_path_figure(path: RunPath) -> Figure:
    """Draw the loss along the straight lines between the checkpoints of a run, over the optimizer steps.

    Lines on which the loss rises are red; where training no longer paid, the ground is grey.
    """
    figure, axes = new_axes()
    finite = [loss for line in path.lines for loss in drawable(line) if np.isfinite(loss)]
    for i, line in enumerate(path.lines):
        places = np.linspace(path.steps[i], path.steps[i + 1], len(line))
        colour = BLUE if path.monotone[i] else VERMILION
        axes.plot(places, drawable(line), color=colour, linewidth=1.8, zorder=3)
    axes.plot(path.steps, drawable(path.losses), linestyle="none", marker="o", color=BLUE, markersize=5, zorder=4)
    axes.plot([], [], color=BLUE, marker="o", label="checkpoints, and the lines between them")
    if not all(path.monotone):
        axes.plot([], [], color=VERMILION, label="lines on which the loss rises")
    paid = path.paid_until
    if paid is not None and paid < len(path.steps) - 1:
        axes.axvspan(path.steps[paid], path.steps[-1], color=FAINT, zorder=0, label="the last 5% of the fall")
    if finite and min(finite) > 0 and max(finite) > WORTH_A_SCALE * min(finite):
        axes.set_yscale("log")
    format_steps(axes)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss on the same batches")
    axes.grid(visible=True)
    axes.legend(loc="best")
    samples = [f"{path.samples:,} samples"] if path.samples else []
    numbers = [f"{len(path.steps)} checkpoints", f"lowest loss {min(finite):.3g}"] if finite else []
    add_texts(
        figure,
        _title(path),
        [*numbers, *samples],
        ["the lines between checkpoints are straight"],
    )
    return figure


def _title(path: RunPath) -> str:
    paid = path.paid_until
    if paid is None:
        return "The loss did not fall along these checkpoints"
    if paid == len(path.steps) - 1:
        return "Training paid up to the last checkpoint"
    return f"Training stopped paying at step {path.steps[paid]:,}"
