"""What is recorded of optimizer steps, most of it still on the device, until one transfer brings it to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

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
    movement: Movement | None = None


@dataclass(slots=True)
class Row:
    """One optimizer step: what the host knows of it, and tensors that nobody has waited for."""

    step: int
    held: Held
    learning_rate: float | Tensor = 0.0
    evaluations: int = 0
    stepped: bool = False
    moving: bool = False
    loss: Tensor | None = None
    parts: int = 1
    """by which Lightning has divided the loss"""
    with_gradient: list[int] | None = None
    """indices of the parameters whose norms are in `norms`"""
    missing: float = 0.0
    measured: dict[str, Tensor] = field(default_factory=dict)
    """norms, clipped, movement, predicted, skipped"""


def fetched(rows: Sequence[Row], groups: int) -> list[StepRecord]:
    """The rows as plain numbers, in order.

    Args:
        rows: of finished steps.
        groups: how many groups of parameters there are.
    """
    waiting = [value for row in rows for value in _tensors(row)]
    values = iter(waiting if all(value.is_cpu for value in waiting) else _transferred(waiting))
    records = []
    for row in rows:
        loss = None if row.loss is None else next(values).item() * row.parts
        rate = next(values).item() if isinstance(row.learning_rate, Tensor) else row.learning_rate
        record = StepRecord(row.step, row.held.index, loss, rate, row.moving)
        if row.measured:
            record = _completed(record, row, {name: next(values).tolist() for name in row.measured}, groups)
        records.append(record)
    return records


def _tensors(row: Row) -> list[Tensor]:
    first = [value for value in (row.loss, row.learning_rate) if isinstance(value, Tensor)]
    return [*first, *row.measured.values()] if row.measured else first


def _transferred(values: Sequence[Tensor]) -> Sequence[Tensor]:
    device = values[0].device
    together = joined([value if value.device == device else value.to(device) for value in values]).cpu()
    parts = together.split([value.numel() for value in values])
    return [part.reshape(value.shape) for part, value in zip(parts, values, strict=True)]


def _completed(record: StepRecord, row: Row, measured: dict[str, Any], groups: int) -> StepRecord:
    """The record with what was measured at this step in particular."""
    known: dict[str, Any] = {"stepped": row.moving and not measured.get("skipped")}
    if row.with_gradient is not None:
        norms = measured["norms"]
        norm = math.hypot(*norms)
        clipped = math.hypot(*measured["clipped"]) if "clipped" in measured else norm
        known |= {"grad_norm": norm, "grad_norm_clipped": clipped, "missing": row.missing}
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
