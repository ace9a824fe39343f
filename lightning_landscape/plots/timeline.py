"""The loss of runs over their steps, with what happened on the way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lightning_landscape.plots.canvas import (
    BLUE,
    INK,
    VERMILION,
    count_steps,
    frame,
    in_our_look,
    label,
    new_axes,
    on_log_scale,
)

_RUNS = (BLUE, "#7A7F85", "#56B4E9", "#E69F00")
_MARKS = (VERMILION, "#009E73", "#CC79A7", INK)  # Okabe and Ito's, as the others
_DRAWABLE = 1e100
_STRETCHES = 60
"""means that make up a curve"""


@in_our_look
def loss_figure(runs: Mapping[str, Sequence[tuple[int, float]]], marks: Sequence[tuple[int, str]] = ()) -> Figure:
    """The losses of each run: every step faint, means over short stretches strong; and a line at each step of `marks`.

    Args:
        runs: (optimizer step, loss) pairs by the name of the run; what is not finite leaves a gap.
        marks: (optimizer step, what happened there) pairs, such as a verdict, a remedy, an escape.

    Raises:
        ValueError: if there is no run, or one has no losses.
    """
    if not runs or not all(runs.values()):
        raise ValueError(f"every run must have at least one (step, loss) pair, got {list(runs)}")
    figure, axes = new_axes()
    drawn, numbers = [], []
    for (name, losses), colour in zip(runs.items(), cycle(_RUNS), strict=False):
        steps = np.array([step for step, _ in losses], dtype=np.float64)
        values = np.array([loss if abs(loss) < _DRAWABLE else math.nan for _, loss in losses], dtype=np.float64)
        means = _means(values)
        axes.plot(steps, values, color=colour, alpha=0.22, linewidth=0.7)
        axes.plot(_means(steps), means, color=colour, linewidth=2.2, label=label(name, 40), zorder=4)
        numbers.append(f"{label(name, 24)}: {means[0]:.3g} to {means[-1]:.3g}")
        drawn.append(values[np.isfinite(values)])
    for (step, text), colour in zip(_merged(marks).items(), cycle(_MARKS), strict=False):
        what = f"step {step:,}: {label(text, 60)}"
        axes.axvline(step, color=colour, linewidth=1.4, linestyle=(0, (4, 2)), label=what)
    losses_drawn = np.concatenate(drawn)
    if losses_drawn.size and losses_drawn.min() > 0 and losses_drawn.max() > 20 * losses_drawn.min():
        on_log_scale(axes, losses_drawn.min(), losses_drawn.max())
    axes.set_ylabel("training loss")
    axes.set_xlabel("optimizer step")
    count_steps(axes)
    axes.grid(visible=True, axis="y")
    axes.margins(x=0.01)
    axes.legend(loc="best")
    missing = sum(map(len, runs.values())) - losses_drawn.size
    frame(figure, "Training loss", numbers, [f"not finite at {missing:,} steps"] if missing else [])
    return figure


def _means(values: NDArray[np.float64]) -> list[float]:
    """Means over stretches of equal numbers of steps."""
    return [float(part.mean()) for part in np.array_split(values, min(_STRETCHES, len(values)))]


def _merged(marks: Sequence[tuple[int, str]]) -> dict[int, str]:
    """What happened at each step, in order: two lines at one step would hide each other."""
    steps = sorted({step for step, _ in marks})
    return {step: ", ".join(text for at, text in marks if at == step) for step in steps}
