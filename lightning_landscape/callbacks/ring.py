"""A ring of rows on the device, one per optimizer step, that reaches the host with one transfer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_landscape.functional.norms import tensor_norms
from lightning_landscape.progress import StepRecord

LOSS, CLIPPED, UPDATE, WEIGHT, PREDICTED, RATE, SKIPPED, NORMS = range(8)
"""columns of the ring; from `NORMS` on stands one gradient norm per parameter tensor"""


@dataclass
class Held:
    """One optimizer's parameters, each once, and what is copied of them around a measured step."""

    index: int
    parameters: list[Tensor]
    groups: list[int]
    size: int
    seen: int = 0
    weights: list[Tensor] | None = None
    gradients: list[Tensor | None] | None = None


@dataclass
class Row:
    """The host's part of one row: what is known without asking the device, and which columns were written."""

    step: int
    held: Held
    position: int = 0
    learning_rate: float | None = None
    evaluations: int = 0
    stepped: bool = False
    moving: bool = False
    columns: set[int] = field(default_factory=set)
    with_gradient: list[int] | None = None
    missing: float = 0.0


class Ring:
    """Rows of device scalars. Rows are opened during a batch and closed together at its end.

    Args:
        capacity: rows before a transfer is forced.
        width: the largest number of parameter tensors that one optimizer holds.
        groups: how many groups of parameters there are.
        dtype: float64 where the parameters are, float32 otherwise.
        device: where the parameters are.
    """

    def __init__(self, capacity: int, width: int, groups: int, dtype: torch.dtype, device: torch.device) -> None:
        self._groups = groups
        self._values = torch.empty(max(1, capacity), NORMS + width, dtype=dtype, device=device)
        self._rows: list[Row] = []
        self.open_rows: list[Row] = []

    @property
    def finished(self) -> int:
        """Closed rows that have not been fetched."""
        return len(self._rows) - len(self.open_rows)

    @property
    def full(self) -> bool:
        """Whether the next row finds no place."""
        return len(self._rows) == len(self._values)

    def open(self, row: Row) -> Row:
        """Append a row; where one batch makes more steps than the ring has rows, the ring grows."""
        if self.full:
            self._values = torch.cat([self._values, torch.empty_like(self._values)])
        row.position = len(self._rows)
        self._rows.append(row)
        self.open_rows.append(row)
        return row

    def write(self, row: Row, column: int, value: Tensor) -> None:
        """Put a one-element tensor into a column, without waiting for the device."""
        self._values[row.position, column].copy_(value.reshape(()))
        row.columns.add(column)

    def write_norms(self, row: Row, gradients: list[tuple[int, Tensor]]) -> None:
        """Put the norm of each (index of the parameter, gradient) into the row."""
        row.with_gradient = [i for i, _ in gradients]
        if len(gradients) < len(row.held.parameters):
            idle = sum(p.numel() for p in row.held.parameters if p.requires_grad and p.grad is None)
            row.missing = idle / max(1, idle + sum(gradient.numel() for _, gradient in gradients))
        norms = tensor_norms([gradient for _, gradient in gradients])
        self._values[row.position, NORMS : NORMS + len(gradients)].copy_(norms)

    def fetch(self) -> list[StepRecord]:
        """Take the closed rows off the ring, in order; those of a running batch move to its front."""
        finished = self.finished
        if finished == 0:
            return []
        values = self._values[:finished].tolist()
        records = [self._record(row, numbers) for row, numbers in zip(self._rows[:finished], values, strict=True)]
        if self.open_rows:
            self._values[: len(self.open_rows)] = self._values[finished : len(self._rows)].clone()
        del self._rows[:finished]
        for position, row in enumerate(self._rows):
            row.position = position
        return records

    def _record(self, row: Row, values: list[float]) -> StepRecord:
        measured = {column: values[column] for column in row.columns}
        norm = groups = missing = None
        if row.with_gradient is not None:
            norms = values[NORMS : NORMS + len(row.with_gradient)]
            norm, groups = math.hypot(*norms), self._by_group(row, norms)
            missing = row.missing
        return StepRecord(
            step=row.step,
            optimizer=row.held.index,
            loss=measured.get(LOSS),
            learning_rate=measured[RATE] if row.learning_rate is None else row.learning_rate,
            stepped=row.moving and not measured.get(SKIPPED, 0.0),
            grad_norm=norm,
            grad_norm_clipped=measured.get(CLIPPED, norm),
            group_norms=groups,
            missing=missing,
            update_norm=measured.get(UPDATE),
            weight_norm=measured.get(WEIGHT),
            predicted=measured.get(PREDICTED),
        )

    def _by_group(self, row: Row, norms: list[float]) -> tuple[float | None, ...]:
        members: list[list[float]] = [[] for _ in range(self._groups)]
        for i, norm in zip(row.with_gradient or (), norms, strict=True):
            members[row.held.groups[i]].append(norm)
        return tuple(math.hypot(*norms) if norms else None for norms in members)
