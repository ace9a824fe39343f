"""The loss of a log, with a band of the stretches in which it stood still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from lightning_landscape.plots.canvas import add_texts, figure_style, new_axes
from lightning_landscape.plots.limits import drawable
from lightning_landscape.plots.verdicts import draw_timeline

POINTS = 400
"""most points of the curve; more values are drawn as the means of as many groups, within their ranges"""


@figure_style()
def logged_loss_figure(
    steps: Sequence[float],
    losses: Sequence[float],
    stretches: Sequence[tuple[float, float, bool]],
    title: str,
    numbers: Sequence[str],
) -> Figure:
    """Draw the loss above a band of its states.

    Args:
        steps: shape (n,), ascending.
        losses: shape (n,); a loss that is not finite leaves a gap.
        stretches: first step, last step and whether the run was stuck, of each stretch in which the loss stood still.
        title: what the loss does, in one line.
        numbers: short texts for the line below it.
    """
    figure, axes = new_axes(height=3.4)
    groups = np.array_split(np.arange(len(steps)), min(POINTS, len(steps)))
    values = drawable(losses)
    places = [int(steps[group[-1]]) for group in groups]
    means = [float(values[group].mean()) for group in groups]
    ranges = [[float(pick(values[group])) for group in groups] for pick in (np.min, np.max)]
    averaged = len(groups) < len(steps)
    beyond = draw_timeline(axes, places, means, _segments(stretches, places), (), ranges if averaged else ())
    axes.set_ylabel("loss")
    axes.set_xlabel("step")
    missing = int(np.isnan(values).sum())
    notes = [f"means of {len(steps) / len(groups):.3g} values; light area: lowest to highest"] if averaged else []
    notes += [f"not finite at {missing:,} of {len(steps):,} values"] if missing else []
    add_texts(figure, title.rstrip("."), [text.rstrip(".") for text in numbers], [*notes, *beyond])
    return figure


def _segments(stretches: Sequence[tuple[float, float, bool]], places: Sequence[int]) -> list[tuple[int, str]]:
    """Return the first step and the state of each segment of the band."""
    segments = [(min(0, places[0]), "learning")]
    for since, until, stuck in stretches:
        segments += [(int(since), "stuck" if stuck else "stalled"), (int(until), "learning")]
    last = places[-1]
    return [segment for i, segment in enumerate(segments) if i == 0 or segment[0] < last]
