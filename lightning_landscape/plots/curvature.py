"""The spectrum of the Hessian, and the loss along its lowest direction."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lightning_landscape.evidence import Curvature, Descent, Spectrum
from lightning_landscape.plots.canvas import BLUE, INK, VERMILION, frame, new_axes, our_look


def spectrum_figure(spectrum: Spectrum) -> Figure:
    """The density of curvatures on a logarithmic scale: the bulk, the few that stand out, and what bends down."""
    low, high = spectrum.nodes[0], spectrum.nodes[-1]
    spread = max(high - low, 1e-12)
    width = spread / 150
    grid = np.linspace(low - 0.05 * spread, high + 0.05 * spread, 1000)
    nodes, weights = np.array(spectrum.nodes), np.array(spectrum.weights)
    density = np.exp(-0.5 * ((grid[:, None] - nodes) / width) ** 2) @ weights / (width * math.sqrt(2 * math.pi))
    floor = 0.3 * float(density.max()) / max(spectrum.parameters, 10)
    shown = np.maximum(density, floor)
    with our_look():
        figure, axes = new_axes()
        axes.fill_between(grid, floor, shown, color=BLUE, alpha=0.2, linewidth=0)
        axes.fill_between(grid, floor, shown, where=list(grid < 0), color=VERMILION, alpha=0.4, linewidth=0)
        axes.plot(grid, shown, color=BLUE, linewidth=1.2)
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.set_yscale("log")
        axes.set_ylim(bottom=floor)
        axes.set_xlabel("curvature (eigenvalue of the Hessian)")
        axes.set_ylabel("density of directions")
        numbers = [
            f"{spectrum.share_negative:.0%} of {spectrum.parameters:,} directions bend down",
            f"trace {spectrum.trace:.3g} ± {spectrum.trace_error:.1g}",
            *([f"{spectrum.samples:,} samples"] if spectrum.samples else []),
        ]
        frame(figure, "Curvatures of the loss", numbers, _about(spectrum.reason, spectrum.method))
    return figure


def descent_figure(curvature: Curvature) -> Figure:
    """How the loss changes along the smallest curvature, on the batches that found the direction and on others.

    Raises:
        ValueError: if the reading has no such path, since nothing bends down.
    """
    descent = curvature.descent
    if descent is None:
        raise ValueError(f"there is no direction down to draw, λ_min is {curvature.lambda_min:.3g}")
    with our_look():
        figure, axes = new_axes()
        _draw_changes(axes, descent)
        axes.set_xlabel("distance from the present weights")
        axes.set_ylabel("change of the loss")
        axes.grid(visible=True)
        axes.legend(loc="best")
        numbers = [
            f"λ_min = {curvature.lambda_min:.3g} ± {curvature.residual_min:.1g}",
            f"λ_max = {curvature.lambda_max:.3g}",
            f"falls by {descent.drop:.3g} at {descent.distance:.2g}",
        ]
        if descent.held_out_drop is not None:
            numbers.append(f"on other batches by {descent.held_out_drop:.3g}")
        notes = _about(curvature.reason, curvature.method)
        frame(figure, "Loss along the direction of smallest curvature", numbers, notes)
    return figure


def _draw_changes(axes: Axes, descent: Descent) -> None:
    distances, here = descent.distances, descent.distances.index(0.0)
    axes.set_xscale("symlog", linthresh=min(abs(distance) for distance in distances if distance))
    axes.set_xticks(distances[1::2], [f"{distance:.2g}" for distance in distances[1::2]])
    axes.minorticks_off()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.axhline(0, color=INK, linewidth=0.8)
    for name, losses, look, colour in (
        ("batches it was found on", descent.losses, "o-", BLUE),
        ("other batches", descent.held_out, "s--", VERMILION),
    ):
        if losses is not None:
            change = np.array(losses, dtype=np.float64) - losses[here]
            label = f"{name}, loss {losses[here]:.4g}"
            axes.plot(distances, np.where(np.isfinite(change), change, np.nan), look, color=colour, ms=4, label=label)


def _about(reason: str | None, method: str) -> list[str]:
    """Below the picture: how it was measured, where that was not the best way."""
    return [] if reason is None else [method]
