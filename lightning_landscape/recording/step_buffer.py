"""The transfer of recorded optimizer steps from the device to the CPU, many steps at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.recording.optimizer_record import PendingStep
from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.trainer._compat import flattened
from lightning_landscape.trainer.host import Host


def to_records(
    steps: Sequence[PendingStep | Tensor | None], group_count: int, last: StepRecord | None
) -> list[StepRecord]:
    """Return the records of finished steps, in order.

    Args:
        steps: the finished steps; one of which only the loss is known is that loss, or None if it had none.
        group_count: number of groups of parameters.
        last: the record of the step before these, which a step with only a loss continues; None before the first.
    """
    if any(loss is not None and not loss.is_cpu for loss in map(_loss_of, steps)):
        steps = _on_cpu(steps)
    records = []
    for step in steps:
        if not isinstance(step, PendingStep):
            assert last is not None  # the first step of a run is a PendingStep
            loss = None if step is None else step.item()
            last = StepRecord(last.step + 1, last.optimizer, loss, last.learning_rate, stepped=step is not None)
        else:
            last = _record_of(step, group_count)
        records.append(last)
    return records


def _loss_of(step: PendingStep | Tensor | None) -> Tensor | None:
    return step.loss if isinstance(step, PendingStep) else step


def _on_cpu(steps: Sequence[PendingStep | Tensor | None]) -> list[PendingStep | Tensor | None]:
    """Return the steps with all their tensors on the CPU, after one transfer; a `PendingStep` is changed in place."""
    moved = list(steps)
    places: list[tuple[int, str, Tensor]] = []
    for i, step in enumerate(steps):
        fields: list[tuple[str, Tensor | float | None]] = [("loss", _loss_of(step))]
        if isinstance(step, PendingStep):
            fields += [("learning_rate", step.learning_rate), *step.measurements.items()]
        places += [(i, name, value) for name, value in fields if isinstance(value, Tensor)]
    device = places[0][2].device
    vector = flattened([value if value.device == device else value.to(device) for _, _, value in places]).cpu()
    pieces = torch.split(vector, [value.numel() for _, _, value in places])
    for (i, name, value), piece in zip(places, pieces, strict=True):
        step, on_cpu = moved[i], piece.reshape(value.shape)
        if not isinstance(step, PendingStep):
            moved[i] = on_cpu
        elif name in step.measurements:
            step.measurements[name] = on_cpu
        else:
            setattr(step, name, on_cpu)
    return moved


def _record_of(step: PendingStep, group_count: int) -> StepRecord:
    rate, loss = step.learning_rate, step.loss
    record = StepRecord(
        step.step,
        step.optimizer_record.index,
        None if loss is None else loss.item() * step.loss_divisor,
        rate.item() if isinstance(rate, Tensor) else rate,
        step.has_gradient,
    )
    # A step without a loss has no gradients either, which does not mean that the parameters are left out of training.
    measured = step.measurements or (step.no_grad_share is not None and loss is not None)
    return _with_measurements(record, step, group_count) if measured else record


def _with_measurements(record: StepRecord, step: PendingStep, group_count: int) -> StepRecord:
    """Return the record with the measurements of this step."""
    measured = {name: value.tolist() for name, value in step.measurements.items()}
    stepped = step.has_gradient and not measured.get("skipped")
    fields: dict[str, Any] = {"stepped": stepped, "no_grad_share": step.no_grad_share}
    if step.with_gradient is not None:
        norms = measured["grad_norms"]
        norm = math.hypot(*norms)
        clipped = math.hypot(*measured["clipped_grad_norms"]) if "clipped_grad_norms" in measured else norm
        fields |= {"grad_norm": norm, "grad_norm_clipped": clipped}
        fields["group_norms"] = _group_norms(step, norms, group_count)
    if "weight_and_update_norms" in measured:
        weights, updates = measured["weight_and_update_norms"]
        fields |= {"weight_norm": math.hypot(*weights), "update_norm": math.hypot(*updates)}
    if "predicted" in measured:
        fields["predicted"] = abs(sum(measured["predicted"]))
    return record._replace(**fields)


def _group_norms(step: PendingStep, norms: Sequence[float], group_count: int) -> tuple[float | None, ...]:
    members: list[list[float]] = [[] for _ in range(group_count)]
    for i, norm in zip(step.with_gradient or (), norms, strict=True):
        members[step.optimizer_record.groups[i]].append(norm)
    return tuple(math.hypot(*norms) if norms else None for norms in members)


def averaged_over_ranks(
    host: Host, records: list[StepRecord], overhead: float, of_first_rank: float = 0.0
) -> tuple[list[StepRecord], float, float]:
    """Return the records with their losses averaged over the ranks, and two numbers, so that all ranks agree.

    Args:
        host: the run.
        records: of the same steps on all ranks.
        overhead: a number of which the mean over the ranks is returned.
        of_first_rank: a number that is 0 on all ranks but rank 0; that of rank 0 is returned.
    """
    if host.world_size == 1:
        return records, overhead, of_first_rank
    local = [math.nan if record.loss is None else record.loss for record in records]
    *losses, overhead, share = host.mean_over_ranks([*local, overhead, of_first_rank])
    pairs = zip(records, losses, strict=True)
    averaged = [r._replace(loss=None if r.loss is None else loss) for r, loss in pairs]
    return averaged, overhead, share * host.world_size
