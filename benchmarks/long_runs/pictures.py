"""The learning curve of each run, with the states that the monitor saw, its verdicts, and the step of the mistake."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.long_runs.runs import RUNS
from benchmarks.long_runs.watching import Result
from lightning_landscape.plots import draw_timeline
from lightning_landscape.plots.canvas import BLUE, INK, SOFT, VERMILION, figure_style, render

COLOURS = 32
"""colours of a picture, so that its file is small"""


def draw(axes: Axes, result: Result) -> None:
    """Draw the learning curve of a run."""
    curve = result.curve
    draw_timeline(axes, curve.steps, curve.mean, result.segments, result.verdicts)
    known = [place for place, mean in enumerate(curve.mean) if mean is not None]
    low, high = ([values[place] for place in known] for values in (curve.low, curve.high))
    shown = axes.get_ylim()
    axes.fill_between([curve.steps[place] for place in known], low, high, color=BLUE, alpha=0.18, linewidth=0)
    axes.set_ylim(shown[0] - 0.05 * (shown[1] - shown[0]) if axes.get_yscale() == "linear" else shown[0], shown[1])
    if result.mistake_from is not None:
        axes.axvline(result.mistake_from, color=INK, linewidth=1.2, linestyle=(0, (5, 3)))
        _label(axes, result.mistake_from, result.steps, 0.9, "the mistake acts", INK)
    for place, verdict in enumerate(result.verdicts):
        colour = VERMILION if verdict.stuck else SOFT
        _label(axes, verdict.step, result.steps, 0.78 - 0.11 * (place % 6), verdict.title, colour)
    axes.set_title(RUNS[result.name].title, loc="left", fontsize=10, fontweight="bold")


def _label(axes: Axes, step: int, steps: int, height: float, text: str, colour: str) -> None:
    """Write a text beside the line at a step, on the side where there is more room."""
    left = step > 0.55 * steps
    axes.annotate(
        text, (step, height), xycoords=("data", "axes fraction"), xytext=(-4 if left else 4, 0),
        textcoords="offset points", ha="right" if left else "left", va="center", fontsize=8, color=colour,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6}, zorder=5,
    )  # fmt: skip


def write(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG file of few colours."""
    image = Image.fromarray(render(figure)).quantize(COLOURS)
    content = io.BytesIO()
    image.save(content, "PNG", optimize=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.getvalue())


@figure_style()
def pictures(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write a picture of each run, and ``all.png`` with all of them, and return their files."""
    results = [result for result in results if result.curve.steps]
    files = [folder / f"{result.name}.png" for result in results]
    for result, file in zip(results, files, strict=True):
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot(), result)
        write(figure, file)
    if not results:
        return files
    rows = (len(results) + 1) // 2
    figure = Figure(figsize=(10, 2.7 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, result in enumerate(results):
        draw(figure.add_subplot(rows, 2, place + 1), result)
    write(figure, folder / "all.png")
    return [*files, folder / "all.png"]
