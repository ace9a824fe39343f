"""Reproduce published properties of the loss landscapes of small networks on scikit-learn's digits.

``python -m benchmarks.phenomena docs/images`` writes the figures of docs/curvature.md and prints their numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call

from lightning_landscape.functional import hessian_extremes, lanczos
from lightning_landscape.functional.hessian.extremes import largest
from lightning_landscape.functional.hessian.operator import Problem
from lightning_landscape.functional.hessian.products import exact_hessian
from lightning_landscape.plots import descent_figure, plane_figure, save, spectrum_figure
from lightning_landscape.probes.curvature import HessianExtremes, HessianSpectrum, losses_along
from lightning_landscape.probes.path import PathPlane
from lightning_landscape.surface import LossSurface, RunContext

Weights = dict[str, Tensor]


def digits(count: int) -> tuple[Tensor, Tensor]:
    """Return the first images of load_digits, shape (count, 64) with pixels from 0 to 1, and labels, shape (count,)."""
    pixels, labels = load_digits(return_X_y=True)
    return torch.tensor(pixels[:count] / 16, dtype=torch.float32), torch.tensor(labels[:count])


def tanh_net(*widths: int, seed: int) -> nn.Sequential:
    """Return a fully connected network with tanh between the layers."""
    torch.manual_seed(seed)
    layers = [layer for n, m in pairwise(widths) for layer in (nn.Linear(n, m), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def copied(net: nn.Module) -> Weights:
    """Return a copy of the weights."""
    return {name: tensor.detach().clone() for name, tensor in net.named_parameters()}


def loss_of(net: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Callable:
    """Return the loss as a function of the weights."""
    return lambda params: criterion(functional_call(net, dict(params), (x,)), y)


@dataclass(frozen=True)
class EdgeOfStability:
    """The largest curvature λ_max (sharpness) during gradient descent at one learning rate."""

    learning_rate: float
    steps: tuple[int, ...]
    sharpness: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def settled(self) -> float:
        """Mean of λ_max over the last quarter of the run."""
        last = self.sharpness[-len(self.sharpness) // 4 :]
        return sum(last) / len(last)


def edge_of_stability(learning_rate: float, steps: int, every: int) -> EdgeOfStability:
    """Run full-batch gradient descent on a squared error, where λ_max rises to 2/η and stays there [Cohen21]_.

    .. [Cohen21] Gradient descent on neural networks typically occurs at the edge of stability, arXiv:2103.00065.
    """
    x, labels = digits(500)
    y = F.one_hot(labels, 10).float()
    net = tanh_net(64, 32, 32, 10, seed=0)
    loss = loss_of(net, F.mse_loss, x, y)
    weights = copied(net)
    rows: list[tuple[int, float, float]] = []
    for step in range(steps + 1):
        if step % every == 0:
            extremes = hessian_extremes(loss, weights, stop=largest(1, 1e-2))
            rows.append((step, extremes.lambda_max, extremes.loss))
        leaves = {name: tensor.requires_grad_() for name, tensor in weights.items()}
        gradient = torch.autograd.grad(loss(leaves), list(leaves.values()))
        weights = {
            name: (tensor - learning_rate * part).detach()
            for (name, tensor), part in zip(leaves.items(), gradient, strict=True)
        }
    return EdgeOfStability(learning_rate, *map(tuple, zip(*rows, strict=True)))


def index_along_training(measured_steps: Sequence[int]) -> list[tuple[float, float, float]]:
    """Return the loss, the share of negative eigenvalues and λ_min/λ_max at these steps of a run [Dauphin14]_.

    .. [Dauphin14] Identifying and attacking the saddle point problem, arXiv:1406.2572.
    """
    pooled, labels = digits(300)
    x = F.avg_pool2d(pooled.view(-1, 1, 8, 8), 2).flatten(1)
    net = tanh_net(16, 12, 10, seed=0).double()
    x = x.double()
    loss = loss_of(net, F.cross_entropy, x, labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    rows = []
    for step in range(max(measured_steps) + 1):
        if step in measured_steps:
            operator = exact_hessian(Problem.of(loss, copied(net)))
            start = torch.randn(operator.layout.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            values = lanczos(operator, start, operator.layout.size).values
            negative = float((values < -1e-6).double().mean())
            rows.append((operator.loss, negative, float(values[0] / values[-1])))
        optimizer.zero_grad()
        F.cross_entropy(net(x), labels).backward()
        optimizer.step()
    return rows


@dataclass(frozen=True)
class Trained:
    """The network of a run, and its weights from the first step to the last."""

    net: nn.Module
    snapshots: list[Weights]


def trained(seed: int, steps: int, snapshots: int) -> Trained:
    """Train a network on the digits with Adam, and copy its weights `snapshots` times besides the initial ones."""
    x, y = digits(1200)
    net = tanh_net(64, 32, 10, seed=seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(seed)
    weights = [copied(net)]
    for step in range(1, steps + 1):
        rows = torch.randint(0, len(x), (64,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
        if step % (steps // snapshots) == 0:
            weights.append(copied(net))
    return Trained(net, weights)


def line(run: Trained, start: Weights, end: Weights, points: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return equally spaced positions α on the line from `start` to `end`, and the training loss at each."""
    x, y = digits(1200)
    surface = LossSurface(loss_of(run.net, F.cross_entropy, x, y), start)
    step = {name: end[name] - tensor for name, tensor in start.items()}
    path = losses_along(surface, step, [index / (points - 1) for index in range(points)])
    return path.distances, path.losses


def blank(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """Return a figure with one pair of axes, its title and labels."""
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.title.set_fontsize(10)
    return figure, axes


def draw_edge_of_stability(folder: Path) -> None:
    """Draw λ_max during training at two learning rates, and the edge of stability 2/η of each."""
    figure, axes = blank("sharpness rises to 2/η and stays there", "step of gradient descent", "λ_max")
    for rate, colour in ((0.5, "#0072B2"), (1.0, "#D55E00")):
        run = edge_of_stability(rate, 6000, 100)
        axes.plot(run.steps, run.sharpness, "o-", ms=2.5, lw=1, color=colour, label=f"η = {rate}")
        axes.axhline(2 / rate, color=colour, ls="--", lw=1)
        ratio = run.settled * rate / 2
        print(f"edge of stability: η = {rate}: λ_max {run.sharpness[0]:.2f} -> {run.settled:.3f}, {ratio:.3f} of 2/η")
    axes.legend(frameon=False)
    save(figure, folder / "edge_of_stability.png")


def draw_index(folder: Path) -> None:
    """Draw the loss against the share of negative eigenvalues."""
    rows = index_along_training([0, 3, 10, 20, 40, 80, 160, 320, 640, 1280])
    for loss, index, ratio in rows:
        print(f"index: loss {loss:.4f}: {index:.3f} of the eigenvalues are negative, λ_min/λ_max = {ratio:.3f}")
    figure, axes = blank("the lower the loss, the fewer directions bend down", "index α (share of λ < 0)", "loss")
    axes.plot([index for _, index, _ in rows], [loss for loss, _, _ in rows], "o-", color="#0072B2")
    axes.set_yscale("log")
    save(figure, folder / "index.png")


def draw_interpolation(folder: Path, run: Trained) -> None:
    """Draw the loss on the line from the initial to the trained weights, and on the line between two trained runs."""
    other = trained(seed=1, steps=1500, snapshots=30)
    shares, losses = line(run, run.snapshots[0], run.snapshots[-1], 51)
    _, between = line(run, other.snapshots[-1], run.snapshots[-1], 51)
    rise = max(max(0.0, after - before) for before, after in pairwise(losses))
    barrier = max(b - ((1 - a) * between[0] + a * between[-1]) for a, b in zip(shares, between, strict=True))
    print(
        f"interpolation: {losses[0]:.3f} -> {losses[-1]:.5f}, largest rise {rise:.1e}; "
        f"barrier between two runs {barrier:.3f}"
    )
    figure, axes = blank(
        "monotone from start to end, a barrier between two ends", "share of the way α", "training loss"
    )
    axes.plot(shares, losses, "o-", ms=3, color="#0072B2", label="initial to trained, one run")
    axes.plot(shares, between, "s--", ms=3, color="#D55E00", label="trained to trained, two runs")
    axes.legend(frameon=False)
    save(figure, folder / "monotone_interpolation.png")


def draw_readings(folder: Path, run: Trained) -> None:
    """Draw the figures of the library for one run: the spectrum, the descent and the plane."""
    x, y = digits(1200)
    loss, held_out = (loss_of(run.net, F.cross_entropy, x[rows], y[rows]) for rows in (slice(0, 600), slice(600, 1200)))
    early = LossSurface(loss, run.snapshots[1], held_out=held_out, run=RunContext(samples=600))
    spectrum, curvature = HessianSpectrum(runs=4, iterations=60)(early), HessianExtremes()(early)
    anchors = {f"step {50 * index}": point for index, point in enumerate(run.snapshots[:-1])}
    plane = PathPlane(resolution=31)(LossSurface(loss, run.snapshots[-1], anchors, run=RunContext(samples=600)))
    print(f"readings: {curvature}")
    print(f"readings: trace {spectrum.trace:.2f} ± {spectrum.trace_error:.2f}, negative {spectrum.share_negative:.3f}")
    print(f"readings: {plane.off_plane:.2f} of the distance lies off the plane")
    save(spectrum_figure(spectrum), folder / "spectrum.png")
    save(descent_figure(curvature), folder / "descent.png")
    save(plane_figure(plane), folder / "plane.png")


def draw_all(folder: Path) -> None:
    """Write all figures to this folder, and print their numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_index(folder)
    run = trained(seed=0, steps=1500, snapshots=30)
    draw_interpolation(folder, run)
    draw_readings(folder, run)
    draw_edge_of_stability(folder)


if __name__ == "__main__":
    torch.set_num_threads(1)
    draw_all(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))
