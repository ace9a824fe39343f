"""What is recorded of optimizer steps, most of it still on the device, until one transfer brings it to the host."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.functional.norms import tensor_norms
from lightning_landscape.recording.updates import UpdateMeasurement
from lightning_landscape.tracking.progress import StepRecord
from lightning_landscape.trainer._compat import joined, whole
from lightning_landscape.trainer.host import Host


@dataclass
class OptimizerRecord:
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
    row: PendingStep | None = None
    """of the step that is under way"""
    movement: UpdateMeasurement | None = None


@dataclass(slots=True)
class PendingStep:
    """One optimizer step: what the host knows of it, and tensors that nobody has waited for."""

    step: int
    held: OptimizerRecord
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
    no_grad_share: float | None = None
    """share of the parameters that wait for a gradient and have none, where it was measured"""
    numbers: dict[str, Tensor] = field(default_factory=dict)
    """norms, clipped, movement, predicted, skipped"""

    def measure(self) -> None:
        """Before the step: the norm of each gradient, and which parameters have none."""
        parameters = self.held.parameters
        with_gradient = [i for i, p in enumerate(parameters) if p.grad is not None]
        if with_gradient:
            self.with_gradient, self.numbers["norms"] = with_gradient, _norms(parameters)
        self.no_grad_share = 0.0
        if len(with_gradient) < len(parameters):
            idle = sum(p.numel() for p in parameters if p.requires_grad and p.grad is None)
            self.no_grad_share = idle / max(1, idle + sum(parameters[i].numel() for i in with_gradient))

    @torch.no_grad()
    def compare(self, *, clips: bool) -> None:
        """After the step: what it has made of the gradients, where they are clipped, and of the weights."""
        held = self.held
        if self.measured and self.with_gradient is None:
            self.measure()
        elif self.measured and clips:
            self.numbers["clipped"] = _norms(held.parameters)
        if held.movement is not None:
            self.numbers |= held.movement.measured()
            if self.evaluations > 1:  # LBFGS: no single gradient is the one that made the update
                self.numbers.pop("predicted", None)


@torch.no_grad()
def _norms(parameters: Sequence[Tensor]) -> Tensor:
    return whole(tensor_norms([p.grad for p in parameters if p.grad is not None]))


def fetched(rows: Sequence[PendingStep | Tensor | None], groups: int, last: StepRecord | None) -> list[StepRecord]:
    """The records of these steps, in order.

    Args:
        rows: of finished steps; a bare loss stands for a step that is like the one before it.
        groups: how many groups of parameters there are.
        last: the record before these.
    """
    if any(loss is not None and not loss.is_cpu for loss in map(_loss_of, rows)):
        rows = _transferred(rows)
    records = []
    for row in rows:
        if not isinstance(row, PendingStep):
            assert last is not None  # a bare loss always follows a row
            loss = None if row is None else row.item()
            last = StepRecord(last.step + 1, last.optimizer, loss, last.learning_rate, stepped=row is not None)
        else:
            last = _recorded(row, groups)
        records.append(last)
    return records


def _loss_of(row: PendingStep | Tensor | None) -> Tensor | None:
    return row.loss if isinstance(row, PendingStep) else row


def _recorded(row: PendingStep, groups: int) -> StepRecord:
    rate, loss = row.learning_rate, row.loss
    record = StepRecord(
        row.step,
        row.held.index,
        None if loss is None else loss.item() * row.parts,
        rate.item() if isinstance(rate, Tensor) else rate,
        row.moving,
    )
    # A step without a loss has no gradient either, and tells nothing of the parameters.
    measured = row.numbers or (row.no_grad_share is not None and loss is not None)
    return _completed(record, row, groups) if measured else record


def _transferred(rows: Sequence[PendingStep | Tensor | None]) -> list[PendingStep | Tensor | None]:
    """The same with what they hold on the host, brought there in one piece."""
    here = list(rows)
    places: list[tuple[int, str, Tensor]] = []
    for i, row in enumerate(rows):
        fields: Any = (("loss", row),)
        if isinstance(row, PendingStep):
            fields = (("loss", row.loss), ("learning_rate", row.learning_rate), *row.numbers.items())
        places += [(i, name, value) for name, value in fields if isinstance(value, Tensor)]
    device = places[0][2].device
    together = joined([value if value.device == device else value.to(device) for _, _, value in places]).cpu()
    parts = torch.split(together, [value.numel() for _, _, value in places])
    for (i, name, value), part in zip(places, parts, strict=True):
        row, part = here[i], part.reshape(value.shape)
        if not isinstance(row, PendingStep):
            here[i] = part
        elif name in row.numbers:
            row.numbers[name] = part
        else:
            setattr(row, name, part)
    return here


def _completed(record: StepRecord, row: PendingStep, groups: int) -> StepRecord:
    """The record with what was measured at this step in particular."""
    measured = {name: value.tolist() for name, value in row.numbers.items()}
    known: dict[str, Any] = {"stepped": row.moving and not measured.get("skipped"), "no_grad_share": row.no_grad_share}
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


def _by_group(row: PendingStep, norms: Sequence[float], groups: int) -> tuple[float | None, ...]:
    members: list[list[float]] = [[] for _ in range(groups)]
    for i, norm in zip(row.with_gradient or (), norms, strict=True):
        members[row.held.groups[i]].append(norm)
    return tuple(math.hypot(*norms) if norms else None for norms in members)


def averaged_over_ranks(host: Host, records: list[StepRecord], overhead: float) -> tuple[list[StepRecord], float]:
    """Return the records with their losses averaged over the ranks, and the mean overhead: every rank decides alike."""
    if host.world_size == 1:
        return records, overhead
    local = [math.nan if record.loss is None else record.loss for record in records]
    *losses, overhead = host.mean_over_ranks([*local, overhead])
    pairs = zip(records, losses, strict=True)
    return [r._replace(loss=None if r.loss is None else loss) for r, loss in pairs], overhead
