"""Record the outputs of a module's activation layers with forward hooks that last for one evaluation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.surface import BOUNDS, RECTIFIERS, Activation, Params


def watch_activations(measured: MeanLoss, point: Params, max_values: int = 2**20) -> dict[str, Activation]:
    """Return the outputs of each activation layer during one evaluation of the loss, by the layer's name.

    Activation functions that are not layers, such as ``torch.relu``, are not seen.

    Args:
        measured: the loss that is evaluated.
        point: the weights at which it is evaluated.
        max_values: largest number of values to keep of each call of a layer; the first samples are kept.
    """
    modules = measured.evaluator.isolation.modules
    kinds = {name: type(layer).__name__ for name, layer in modules.items()}
    watched = [name for name, kind in kinds.items() if kind in RECTIFIERS or kind in BOUNDS]
    outputs: dict[str, list[Tensor]] = {}
    if watched:
        with measured.evaluator.forward_hooks({name: partial(_keep, outputs, name, max_values) for name in watched}):
            measured.value(point)
    return {name: Activation(kinds[name], torch.cat(_of_first_width(calls))) for name, calls in outputs.items()}


def _keep(
    outputs: dict[str, list[Tensor]], name: str, max_values: int, layer: nn.Module, inputs: Any, output: Any
) -> None:
    if isinstance(output, Tensor) and output.ndim >= 1:
        # Each sample is a row. All other dimensions are units, so that a channel counts once per position.
        rows = output.detach().reshape(len(output), -1) if output.ndim > 1 else output.detach().reshape(1, -1)
        outputs.setdefault(name, []).append(rows[: max(1, max_values // max(1, rows.shape[1]))].clone())


def _of_first_width(calls: list[Tensor]) -> list[Tensor]:
    """Return the calls with as many units as the first one; sequences of varying length give varying widths."""
    return [rows for rows in calls if rows.shape[1] == calls[0].shape[1]]
