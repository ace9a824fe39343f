"""Callbacks that evaluate the loss surface of a run, for the tests that no callback changes the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback
from torch import Tensor

from lightning_landscape.callbacks import (
    CurvatureMonitor,
    GradientNormMonitor,
    LandscapeMonitor,
    LossInterpolationMonitor,
    PlateauMonitor,
)
from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import module_surface
from lightning_landscape.module_surface.weights import snapshot
from lightning_landscape.surface import LossSurface


class Prober(Callback):
    """Open a surface every third batch and at the end of each epoch, and apply `probe` to it."""

    def __init__(self, probe: Callable[[LossSurface], Any], batches: int = 2, **settings: Any) -> None:
        self.probe, self.settings = probe, settings
        self.probe_set = ProbeSet(batches)
        self.readings: list[Any] = []
        self.refusals: list[str] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.initial = snapshot(pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.probe_set.capture(pl_module, batch, batch_idx)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.probe_set.capture_drawn(batch, batch_idx)
        if batch_idx % 3 == 1:
            self.examine(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.examine(trainer, pl_module)

    def examine(self, trainer: Any, pl_module: Any) -> None:
        anchors = {"initial": self.initial}
        try:
            with module_surface(trainer, pl_module, self.probe_set, anchors=anchors, **self.settings) as surface:
                self.readings.append(self.probe(surface))
        except SurfaceError as error:
            self.refusals.append(str(error))


def leaves(point: Any) -> dict[str, Tensor]:
    return {name: weight.detach().clone().requires_grad_() for name, weight in point.items()}


def midpoint(surface: LossSurface) -> dict[str, Tensor]:
    start = surface.anchors["initial"]
    return {name: torch.lerp(start[name], surface.here[name], 0.5) for name in start}


def everything(surface: LossSurface) -> dict[str, Any]:
    """Return the loss on a line, at the present weights twice and on the held-out batches, and its derivatives."""
    start = surface.anchors["initial"]
    line = [
        float(surface.loss({name: torch.lerp(start[name], surface.here[name], share) for name in start}))
        for share in (0.0, 0.5, 1.0)
    ]
    point = leaves(surface.here)
    loss = surface.loss(point)
    gradient = torch.autograd.grad(loss, list(point.values()))
    reading = {
        "line": line,
        "loss": float(loss.detach()),
        "gradient": gradient,
        "again": float(surface.loss(surface.here)),
    }
    if surface.held_out is not None:
        reading["held_out"] = float(surface.held_out(surface.here))
    try:
        slopes = torch.autograd.grad(surface.loss(point), list(point.values()), create_graph=True)
        product = torch.autograd.grad(sum((slope * slope.detach()).sum() for slope in slopes), list(point.values()))
        reading["product"] = product
    except SurfaceError as error:
        reading["no_product"] = str(error)
    return reading


OBSERVERS: dict[str, Callable[[], Callback]] = {
    "surface": lambda: Prober(everything),
    "surface in eval mode": lambda: Prober(everything, mode="eval"),
    "LandscapeMonitor": lambda: LandscapeMonitor(every_n_steps=3, num_points=3, norm_every_n_steps=1),
    "LossInterpolationMonitor": lambda: LossInterpolationMonitor(every_n_steps=3, num_points=3),
    "GradientNormMonitor": GradientNormMonitor,
    "PlateauMonitor": PlateauMonitor,
    "CurvatureMonitor": lambda: CurvatureMonitor(every_n_steps=6, iterations=3, max_batches=2),
}
"""all monitors, by name, and direct uses of the surface"""

IN_FULL = ("surface", "LandscapeMonitor")
"""the observers to test on every specimen: all others use the surface, and do a part of what LandscapeMonitor does"""
