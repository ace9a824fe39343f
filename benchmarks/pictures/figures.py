"""The figures of a run as PNG files, as a logger gets them, and those that no run of a single monitor has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch.nn import functional as F

from benchmarks import phenomena
from lightning_landscape import LandscapeMonitor
from lightning_landscape.comparison import compare_points
from lightning_landscape.plots import barrier_figure, save
from lightning_landscape.surface import LossSurface, RunContext


def write_figures(monitor: LandscapeMonitor, folder: Path, prefix: str) -> list[Path]:
    """Write each figure of the run, and return the files in the order in which a person should see them."""
    files = {folder / f"{prefix}{name}.png": figure for name, figure in monitor.figures().items()}
    for path, figure in files.items():
        save(figure, path)
    return [*files]


def write_chosen(monitor: LandscapeMonitor, folder: Path, chosen: Mapping[str, str]) -> None:
    """Write those figures of the run that are chosen: the names of the files by the names of the figures."""
    figures = monitor.figures()
    for name, file in chosen.items():
        save(figures[name], folder / file)


def write_barriers(folder: Path) -> None:
    """Write the barriers between the ends of two runs, and a point in the middle of the first."""
    runs = [phenomena.trained(seed, steps=600, snapshots=2) for seed in (0, 1)]
    points = {"seed 0": runs[0].snapshots[-1], "seed 0, halfway": runs[0].snapshots[1], "seed 1": runs[1].snapshots[-1]}
    inputs, labels = phenomena.digits(600)
    loss = phenomena.loss_of(runs[0].net, F.cross_entropy, inputs, labels)
    surface = LossSurface(loss, points["seed 0"], points, run=RunContext(samples=600))
    save(barrier_figure(compare_points(surface)), folder / "barriers.png")
