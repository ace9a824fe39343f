"""The outputs of a module's activation layers, seen by forward hooks that are there for one evaluation only."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.surface import BOUNDS, RECTIFIERS, Activation, Params


def watch_activations(measured: MeanLoss, point: Params, max_values: int = 2**20) -> dict[str, Activation]:
    """What every activation layer puts out while the loss is evaluated at `point`.

    Args:
        measured: the loss; functional activations (``torch.relu``) in its module cannot be seen.
        point: where.
        max_values: how many values of one layer to keep, the first ones of each call.
    """
    modules = measured.evaluator.isolation.modules
    kinds = {name: type(layer).__name__ for name, layer in modules.items()}
    watched = [name for name, kind in kinds.items() if kind in RECTIFIERS or kind in BOUNDS]
    seen: dict[str, list[Tensor]] = {}
    if watched:
        with measured.evaluator.watching({name: partial(_keep, seen, name, max_values) for name in watched}):
            measured.value(point)
    return {name: Activation(kinds[name], torch.cat(_of_one_width(values))) for name, values in seen.items()}


def _keep(seen: dict[str, list[Tensor]], name: str, most: int, layer: nn.Module, inputs: Any, output: Any) -> None:
    if isinstance(output, Tensor) and output.ndim >= 1:
        # The units of a sample: everything behind the first dimension, so that a channel counts once per position.
        rows = output.detach().reshape(len(output), -1) if output.ndim > 1 else output.detach().reshape(1, -1)
        seen.setdefault(name, []).append(rows[: max(1, most // max(1, rows.shape[1]))].clone())


def _of_one_width(values: list[Tensor]) -> list[Tensor]:
    """Sequences of changing length give rows of changing width; those like the first are enough."""
    return [rows for rows in values if rows.shape[1] == values[0].shape[1]]
