"""The outputs of a module's activation layers, seen by forward hooks that are there for one evaluation only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.probes.activity import BOUNDS, RECTIFIERS
from lightning_landscape.surface import Activation, Params


def watch_activations(
    module: nn.Module, loss: Callable[[Params], Tensor], params: Params, max_values: int = 2**20
) -> dict[str, Activation]:
    """What every activation layer puts out while `loss` is evaluated at `params`.

    Args:
        module: whose layers to watch; functional activations (``torch.relu``) cannot be seen.
        loss: evaluates the module.
        params: where.
        max_values: how many values of one layer to keep, the first ones of each call.
    """
    seen: dict[str, list[Tensor]] = {}
    kinds: dict[str, str] = {}
    handles = []
    try:
        for name, layer in module.named_modules():
            kind = type(layer).__name__
            if kind in RECTIFIERS or kind in BOUNDS:
                kinds[name] = kind
                handles.append(layer.register_forward_hook(partial(_keep, seen, name, max_values)))
        if kinds:
            with torch.no_grad():
                loss(params)
    finally:
        for handle in handles:
            handle.remove()
    return {name: Activation(kinds[name], torch.cat(_of_one_width(values))) for name, values in seen.items()}


def _keep(seen: dict[str, list[Tensor]], name: str, most: int, layer: nn.Module, inputs: Any, output: Any) -> None:
    if isinstance(output, Tensor) and output.ndim >= 1:
        # The units of a sample: everything behind the first dimension, so that a channel counts once per position.
        rows = output.detach().reshape(len(output), -1) if output.ndim > 1 else output.detach().reshape(1, -1)
        seen.setdefault(name, []).append(rows[: max(1, most // max(1, rows.shape[1]))].clone())


def _of_one_width(values: list[Tensor]) -> list[Tensor]:
    """Sequences of changing length give rows of changing width; those like the first are enough."""
    return [rows for rows in values if rows.shape[1] == values[0].shape[1]]
