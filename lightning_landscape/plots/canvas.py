"""The look of every figure, the words on it, and its way to an array or a file."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from lightning_landscape._files import write_atomically
from lightning_landscape._text import shortened

P = ParamSpec("P")

# Okabe and Ito's palette, which every kind of colour vision tells apart.
BLUE, VERMILION, INK, SOFT, FAINT = "#0072B2", "#D55E00", "#333333", "#6B7278", "#EEF0F2"

_LOOK: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": "figure",
    "font.size": 9,
    "axes.axisbelow": True,
    "axes.edgecolor": "#9AA0A6",
    "axes.formatter.useoffset": False,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.color": "#E3E6E8",
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def our_look() -> Iterator[None]:
    """Our look while a figure is made or drawn; the user's own settings come back after."""
    with style.context(["default", _LOOK]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box in the picture says it well enough
        yield


@contextmanager
def uncollected() -> Iterator[None]:
    """Python looks for no garbage inside: figures are many small objects, and set off a search of the whole process.

    In a process that has imported torch and trains, one such search takes as long as four pictures.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def in_our_look(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """A drawing function whose figures have our look."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with our_look():
            return draw(*args, **kwargs)

    return drawn


def new_axes(height: float = 4.0) -> tuple[Figure, Axes]:
    """A figure of one pair of axes, 640 pixels wide: the size at which TensorBoard shows it without scaling."""
    figure = Figure(figsize=(6.4, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def frame(figure: Figure, title: str, numbers: list[str], notes: list[str], marks: Sequence[Patch] = ()) -> None:
    """Write around the axes: what is shown and its numbers above, what is left out and the key to `marks` below."""
    height = figure.get_figheight()
    bottom = 0.25 / height if notes or marks else 0.0
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, bottom, 1, 1 - 0.47 / height - bottom))
    figure.text(0.012, 1 - 0.08 / height, title, va="top", fontsize=11, fontweight="bold")
    figure.text(0.012, 1 - 0.29 / height, " · ".join(numbers), va="top")
    figure.text(0.012, 0.08 / height, " · ".join(notes), fontsize=8, color=SOFT)
    if marks:
        figure.legend(handles=marks, loc="lower right", ncols=len(marks), borderaxespad=0.1)


def count_steps(axes: Axes) -> None:
    """Whole optimizer steps on the x-axis, with thousands set apart."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def marks_between(low: float, high: float) -> LogLocator:
    """Where a logarithmic scale is marked: at 1, 2 and 5 where it is short, else at powers of ten.

    There are no minor ticks: to place them takes a third of the time of a picture.
    """
    return LogLocator(subs=(1, 2, 5) if high < 150 * low else (1,))


def on_log_scale(axes: Axes, low: float, high: float) -> None:
    """Show losses from `low` to `high`, both above zero, by their logarithm."""
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.yaxis.set_major_locator(marks_between(low, high))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))


def label(name: str, length: int) -> str:
    """Return a name on one line of at most `length` characters, escaped so that matplotlib reads no mathematics in it.

    >>> label("encoder.layers.11.attention", 16)
    'encoder…ttention'
    """
    return shortened(name or "(unnamed)", length).replace("$", r"\$")


def render(figure: Figure) -> NDArray[np.uint8]:
    """The figure as colours, (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    with our_look():
        canvas.draw()  # type: ignore[no-untyped-call]
    colours = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(colours[..., :3], dtype=np.uint8)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure in the format of the path's suffix; the file appears whole or not at all."""
    target = Path(path)
    with our_look():
        write_atomically(target, lambda draft: figure.savefig(draft, format=target.suffix[1:] or "png"))
