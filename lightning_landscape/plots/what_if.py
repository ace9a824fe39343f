"""The loss if a run goes on as it is, and if it goes on with other settings."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from lightning_landscape.evidence import WhatIf
from lightning_landscape.plots.canvas import BLUE, SOFT, add_texts, figure_style, format_steps, new_axes, short_name
from lightning_landscape.plots.limits import drawable

WORTH_A_SCALE = 30.0
"""ratio of the highest to the lowest loss above which the scale is logarithmic"""


@figure_style()
def what_if_figure(found: WhatIf) -> Figure:
    """Draw the held-out losses of both copies over the steps since the checkpoint."""
    figure, axes = new_axes()
    finite: list[float] = []
    for course, colour in ((found.as_it_is, SOFT), (found.changed, BLUE)):
        losses = drawable(course.losses)
        finite += [float(loss) for loss in losses if np.isfinite(loss)]
        axes.plot(course.steps, losses, color=colour, marker="o", markersize=4, linewidth=1.8, label=course.settings)
    if finite and min(finite) > 0 and max(finite) > WORTH_A_SCALE * min(finite):
        axes.set_yscale("log")
    format_steps(axes)
    axes.set_xlabel(f"optimizer steps after step {found.step:,}")
    axes.set_ylabel("loss on held-out batches")
    axes.grid(visible=True)
    axes.legend(loc="best")
    ends = [f"as it is {found.as_it_is.losses[-1]:.4g}", f"changed {found.changed.losses[-1]:.4g}"]
    batches = f"{len(found.changed.last)} batches, give or take {found.margin:.2g}"
    add_texts(figure, _title(found), [*ends, batches], ["both copies begin with the same weights"])
    return figure


def _title(found: WhatIf) -> str:
    change = short_name(found.changed.settings, 40)
    if not abs(found.advantage) > found.margin:
        return f"No clear difference: {change}"
    return f"{'Better' if found.advantage > 0 else 'Worse'}: {change}"
