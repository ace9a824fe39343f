"""What all figures share: style, title, notes, axes, and the conversion to an array or a file."""

from __future__ import annotations

import gc
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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

# From the palette of Okabe and Ito, whose colours can be distinguished with every kind of colour vision.
BLUE, VERMILION, INK, SOFT, FAINT = "#0072B2", "#D55E00", "#333333", "#6B7278", "#EEF0F2"

LETTERS_OF_TITLE, LETTERS_OF_NUMBERS, LETTERS_OF_NOTES = 70, 98, 112
"""letters for which a figure is wide enough, in the usual size"""

_STYLE: dict[str, Any] = {
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
def figure_style() -> Iterator[None]:
    """Apply the style of this package while a figure is made or drawn, then restore the user's settings."""
    with style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # matplotlib draws a box in its place
        yield


@contextmanager
def uncollected() -> Iterator[None]:
    """Suspend Python's cyclic garbage collection inside a `with` block.

    A figure consists of many small objects, whose creation triggers a collection of the whole process. In a process
    that has imported torch, one collection takes as long as drawing four figures.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def new_axes(height: float = 4.0) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes, 640 pixels wide, which TensorBoard shows without scaling.

    Args:
        height: in inches of 100 pixels.
    """
    figure = new_figure(height)
    return figure, figure.add_subplot()


def new_figure(height: float) -> Figure:
    """Return an empty figure of this height in inches, 640 pixels wide."""
    figure = Figure(figsize=(6.4, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def add_texts(figure: Figure, title: str, numbers: list[str], notes: list[str], key: Sequence[Patch] = ()) -> None:
    """Write the title and the most important numbers above the axes, and notes and a legend of colours below them.

    Args:
        figure: a figure of `new_axes`.
        title: one line.
        numbers: short texts for the line below the title.
        notes: short texts about what the figure does not show.
        key: legend entries.
    """
    height = figure.get_figheight()
    bottom = 0.25 / height if notes or key else 0.0
    layout = figure.get_layout_engine()
    if isinstance(layout, ConstrainedLayoutEngine):
        layout.set(rect=(0, bottom, 1, 1 - 0.47 / height - bottom))
    _write(figure, 1 - 0.08 / height, title, 11, LETTERS_OF_TITLE, va="top", fontweight="bold")
    _write(figure, 1 - 0.29 / height, " · ".join(numbers), 9, LETTERS_OF_NUMBERS, va="top")
    _write(
        figure, 0.08 / height, " · ".join(notes), 8, LETTERS_OF_NOTES if not key else LETTERS_OF_NOTES // 2, color=SOFT
    )
    if key:
        figure.legend(handles=key, loc="lower right", ncols=len(key), borderaxespad=0.1)


def _write(figure: Figure, y: float, text: str, size: float, letters: int, **style: Any) -> None:
    """Write a line of text at the left edge; one of more letters than this is written smaller."""
    plain = re.sub(r"(?<!\\)\$", r"\\$", text)  # matplotlib would parse what stands between two dollar signs
    figure.text(0.012, y, plain, fontsize=size * min(1.0, letters / max(1, len(text))), **style)


def format_steps(axes: Axes) -> None:
    """Label the x-axis with whole optimizer steps, with a comma between thousands."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def log_ticks(low: float, high: float) -> LogLocator:
    """Return ticks of a logarithmic scale: at 1, 2 and 5 times powers of ten on a short scale, else at powers of ten.

    There are no minor ticks, since placing them takes a third of the time of drawing a figure.
    """
    return LogLocator(subs=(1, 2, 5) if high < 150 * low else (1,))


def use_log_scale(axes: Axes, low: float, high: float) -> None:
    """Make the y-axis logarithmic, for losses from `low` to `high`, both above zero."""
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.yaxis.set_major_locator(log_ticks(low, high))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))


def short_name(name: str, length: int) -> str:
    """Return a name on one line of at most `length` characters, with dollar signs escaped from matplotlib's mathtext.

    >>> short_name("encoder.layers.11.attention", 16)
    'encoder…ttention'
    """
    return shortened(name or "(unnamed)", length).replace("$", r"\$")


def render(figure: Figure) -> NDArray[np.uint8]:
    """Return the figure as an array of colours, shape (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    with figure_style():
        canvas.draw()  # type: ignore[no-untyped-call]
    colours = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return np.ascontiguousarray(colours[..., :3], dtype=np.uint8)


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure in the format of the path's suffix. A failed write leaves an existing file as it was."""
    target = Path(path)
    with figure_style():
        write_atomically(target, lambda draft: figure.savefig(draft, format=target.suffix[1:] or "png"))
