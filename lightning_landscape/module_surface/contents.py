"""The tensors in the captured batches, and what the first layer of the model receives of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.entries import MAX_KEY_PATHS, KeyPath, children, has_samples
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.roles import layers_with_weights
from lightning_landscape.observations import Activation
from lightning_landscape.surface import Params


def entries_of(measured: Sequence[ProbeBatch], held_out: Sequence[ProbeBatch]) -> tuple[dict[KeyPath, Tensor], ...]:
    """Return the tensors of each batch by their paths, in the order in which the batches were captured.

    Complex, sparse, nested and 0-dim tensors are left out, and all beyond the first 64 in a batch.

    Args:
        measured: every second of the captured batches, beginning with the first.
        held_out: the others.
    """
    in_order = [batch for pair in zip_longest(measured, held_out) for batch in pair if batch is not None]
    return tuple(_tensors(batch.batch) for batch in in_order)


def _tensors(batch: Any) -> dict[KeyPath, Tensor]:
    found: dict[KeyPath, Tensor] = {}
    pending: list[tuple[KeyPath, Any]] = [((), batch)]
    seen: set[int] = set()
    while pending and len(found) < MAX_KEY_PATHS:
        path, value = pending.pop(0)
        if isinstance(value, Tensor):
            if has_samples(value) and not value.is_complex() and value.numel():
                found[path] = value
        elif id(value) not in seen:  # a batch may contain itself
            seen.add(id(value))
            pending += [((*path, key), item) for key, item in children(value).items()]
    return found


def first_layer_input(measured: MeanLoss, point: Params, max_values: int = 2**20) -> tuple[str, Activation] | None:
    """Evaluate the loss of the first batch, and return the name of the first layer with weights and what it receives.

    Args:
        measured: the loss, of whose batches the first is used.
        point: the weights.
        max_values: largest number of values to keep; the first samples are kept.

    Returns:
        the name, and the input in shape (samples, units); None if no layer with weights is called, or if the first one
        receives no real numbers, as an embedding
    """
    seen: list[tuple[str, Activation | None]] = []
    names = layers_with_weights(measured.evaluator)
    if names:
        hooks = {name: functools.partial(_keep, seen, name, max_values) for name in names}
        with measured.evaluator.forward_hooks(hooks):
            replace(measured, batches=measured.batches[:1]).value(point)
    if not seen or seen[0][1] is None:
        return None
    return seen[0][0], seen[0][1]


def _keep(
    seen: list[tuple[str, Activation | None]], name: str, max_values: int, layer: nn.Module, inputs: Any, output: Any
) -> None:
    """Keep the input of the layer if it is the first that is called."""
    if seen:
        return
    received = inputs[0] if isinstance(inputs, tuple) and inputs else None
    if not isinstance(received, Tensor) or not received.is_floating_point() or not has_samples(received):
        seen.append((name, None))
        return
    rows = received.detach().reshape(len(received), -1) if received.numel() else torch.zeros(1, 1)
    rows = rows[: max(1, max_values // max(1, rows.shape[1]))].clone()
    seen.append((name, Activation(type(layer).__name__, rows)))
