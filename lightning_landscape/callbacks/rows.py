"""What is recorded of optimizer steps, most of it still on the device, until one transfer brings it to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.callbacks._compat import joined
from lightning_landscape.callbacks.movement import Movement
from lightning_landscape.progress import StepRecord


@dataclass
class Held:
    """One optimizer's parameters, each once, and the movement of the step that is being measured."""

    index: int
    parameters: list[Tensor]
    groups: list[int]
    """index of the group of each parameter"""
    runs: list[slice]
    """parameters that are treated as one vector"""
    size: int
    """parameters of the optimizer when it was read"""
    every: int
    """steps from one measured movement to the next"""
    seen: int = 0
    """steps so far"""
    row: Row | None = None
    """of the step that is under way"""
    movement: Movement | None = None


@dataclass(slots=True)
class Row:
    """One optimizer step: what the host knows of it, and tensors that nobody has waited for."""

    step: int
    held: Held
    learning_rate: float | Tensor
    measured: bool = False
    """whether the norms of the gradients are measured at this step"""
    evaluations: int = 0
    moving: bool = False
    loss: Tensor | None = None
    parts: int = 1
    """by which Lightning has divided the loss"""
    with_gradient: list[int] | None = None
    """indices of the parameters whose norms were measured"""
    missing: float | None = None
    """share of the parameters that wait for a gradient and have none, where it was measured"""
    numbers: dict[str, Tensor] = field(default_factory=dict)
    """norms, clipped, movement, predicted, skipped"""


def fetched(rows: Sequence[Row], groups: int) -> list[StepRecord]:
    """The rows as plain numbers, in order.

    Args:
        rows: of finished steps.
        groups: how many groups of parameters there are.
    """
    if any(row.loss is not None and not row.loss.is_cpu for row in rows):
        _transfer(rows)
    records = []
    for row in rows:
        rate, loss = row.learning_rate, row.loss
        record = StepRecord(
            row.step,
            row.held.index,
            None if loss is None else loss.item() * row.parts,
            rate.item() if isinstance(rate, Tensor) else rate,
            row.moving,
        )
        # A step without a loss has no gradient either, and tells nothing of the parameters.
        measured = row.numbers or (row.missing is not None and loss is not None)
        records.append(_completed(record, row, groups) if measured else record)
    return records


def _transfer(rows: Sequence[Row]) -> None:
    """Bring what the rows hold to the host in one piece."""
    places: list[tuple[Row, str, Tensor]] = []
    for row in rows:
        fields = (("loss", row.loss), ("learning_rate", row.learning_rate), *row.numbers.items())
        places += [(row, name, value) for name, value in fields if isinstance(value, Tensor)]
    device = places[0][2].device
    together = joined([value if value.device == device else value.to(device) for _, _, value in places]).cpu()
    parts = torch.split(together, [value.numel() for _, _, value in places])
    for (row, name, value), part in zip(places, parts, strict=True):
        here = part.reshape(value.shape)
        if name in row.numbers:
            row.numbers[name] = here
        else:
            setattr(row, name, here)


def _completed(record: StepRecord, row: Row, groups: int) -> StepRecord:
    """The record with what was measured at this step in particular."""
    measured = {name: value.tolist() for name, value in row.numbers.items()}
    known: dict[str, Any] = {"stepped": row.moving and not measured.get("skipped"), "missing": row.missing}
    if row.with_gradient is not None:
        norms = measured["norms"]
        norm = math.hypot(*norms)
        clipped = math.hypot(*measured["clipped"]) if "clipped" in measured else norm
        known |= {"grad_norm": norm, "grad_norm_clipped": clipped}
        known["group_norms"] = _by_group(row, norms, groups)
    if "movement" in measured:
        weights, changes = measured["movement"]
        known |= {"weight_norm": math.hypot(*weights), "update_norm": math.hypot(*changes)}
    if "predicted" in measured:
        known["predicted"] = abs(sum(measured["predicted"]))
    return record._replace(**known)


def _by_group(row: Row, norms: Sequence[float], groups: int) -> tuple[float | None, ...]:
    members: list[list[float]] = [[] for _ in range(groups)]
    for i, norm in zip(row.with_gradient or (), norms, strict=True):
        members[row.held.groups[i]].append(norm)
    return tuple(math.hypot(*norms) if norms else None for norms in members)
