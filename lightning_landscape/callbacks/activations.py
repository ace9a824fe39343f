"""The outputs of a module's activation layers, seen by forward hooks that are there for one evaluation only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

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
    watched = {
        id(layer): (name, type(layer).__name__)
        for name, layer in module.named_modules()
        if type(layer).__name__ in RECTIFIERS or type(layer).__name__ in BOUNDS
    }

    def keep(layer: nn.Module, inputs: Any, output: Any) -> None:
        if id(layer) in watched:
            _keep(seen, watched[id(layer)][0], max_values, output)

    if watched:
        # A surface gives the module its own hooks back for every evaluation; one that is registered for all modules
        # stays.
        handle = register_module_forward_hook(keep)
        try:
            with torch.no_grad():
                loss(params)
        finally:
            handle.remove()
    kinds = dict(watched.values())
    return {name: Activation(kinds[name], torch.cat(_of_one_width(values))) for name, values in seen.items()}


def _keep(seen: dict[str, list[Tensor]], name: str, most: int, output: Any) -> None:
    if isinstance(output, Tensor) and output.ndim >= 1:
        # The units of a sample: everything behind the first dimension, so that a channel counts once per position.
        rows = output.detach().reshape(len(output), -1) if output.ndim > 1 else output.detach().reshape(1, -1)
        seen.setdefault(name, []).append(rows[: max(1, most // max(1, rows.shape[1]))].clone())


def _of_one_width(values: list[Tensor]) -> list[Tensor]:
    """Sequences of changing length give rows of changing width; those like the first are enough."""
    return [rows for rows in values if rows.shape[1] == values[0].shape[1]]
