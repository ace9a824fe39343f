"""The spectrum of the Hessian, and the loss along the direction of smallest curvature."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_landscape.captions import descent_caption, spectrum_caption
from lightning_landscape.evidence import Curvature, Descent, Spectrum
from lightning_landscape.plots.canvas import BLUE, INK, VERMILION, add_texts, figure_style, new_axes


@figure_style()
def spectrum_figure(spectrum: Spectrum) -> Figure:
    """Draw the density of the Hessian's eigenvalues on a logarithmic scale; negative eigenvalues in another colour."""
    low, high = spectrum.nodes[0], spectrum.nodes[-1]
    spread = max(high - low, 1e-12)
    width = spread / 150
    grid = np.linspace(low - 0.05 * spread, high + 0.05 * spread, 1000)
    nodes, weights = np.array(spectrum.nodes), np.array(spectrum.weights)
    density = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) @ weights / (width * math.sqrt(2 * math.pi))
    floor = 0.3 * float(density.max()) / max(spectrum.parameters, 10)
    shown = np.maximum(density, floor)
    figure, axes = new_axes()
    axes.fill_between(grid, floor, shown, color=BLUE, alpha=0.2, linewidth=0)
    axes.fill_between(grid, floor, shown, where=list(grid < 0), color=VERMILION, alpha=0.4, linewidth=0)
    axes.plot(grid, shown, color=BLUE, linewidth=1.2)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(bottom=floor)
    axes.set_xlabel("curvature (eigenvalue of the Hessian)")
    axes.set_ylabel("density of directions")
    caption = spectrum_caption(spectrum)
    add_texts(figure, caption.title, [*caption.details], _method_note(spectrum.reason, spectrum.method))
    return figure


@figure_style()
def descent_figure(curvature: Curvature) -> Figure:
    """Draw the change of the loss along the direction of smallest curvature, on the measured and the held-out batches.

    Raises:
        ValueError: if `curvature` has no `descent`, since no curvature is negative.
    """
    descent = curvature.descent
    if descent is None:
        raise ValueError(
            f"there is no direction of negative curvature to draw: the smallest is {curvature.lambda_min:.3g}"
        )
    figure, axes = new_axes()
    _draw_changes(axes, descent)
    axes.set_xlabel("distance from the present weights along the direction of smallest curvature")
    axes.set_ylabel("change of the loss")
    axes.grid(visible=True)
    axes.legend(loc="best")
    caption = descent_caption(curvature, descent)
    add_texts(figure, caption.title, [*caption.details], _method_note(curvature.reason, curvature.method))
    return figure


def _draw_changes(axes: Axes, descent: Descent) -> None:
    distances, here = descent.distances, descent.distances.index(0.0)
    axes.set_xscale("symlog", linthresh=min(abs(distance) for distance in distances if distance))
    sizes = [abs(distance) for distance in distances if distance]
    powers = range(math.ceil(math.log10(min(sizes))), math.floor(math.log10(max(sizes))) + 1)
    ticks = sorted({0.0, *(sign * 10.0**power for power in powers for sign in (-1, 1))})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.axhline(0, color=INK, linewidth=0.8)
    for name, losses, marker, colour in (
        ("batches it was found on", descent.losses, "o-", BLUE),
        ("other batches", descent.held_out, "s--", VERMILION),
    ):
        if losses is not None:
            change = np.array(losses, dtype=np.float64) - losses[here]
            label = f"{name}, loss {losses[here]:.4g}"
            axes.plot(distances, np.where(np.isfinite(change), change, np.nan), marker, color=colour, ms=4, label=label)


def _method_note(reason: str | None, method: str) -> list[str]:
    """Return the method as a note, where it is not the most precise one."""
    return [] if reason is None else [method]
