"""The parameters of an optimizer, and the numbers of a step of it that has not been transferred to the CPU yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lightning_landscape.functional.norms import group_names, tensor_norms
from lightning_landscape.recording.intervals import Intervals
from lightning_landscape.recording.updates import UpdateMeasurement, buckets_of, bytes_copied
from lightning_landscape.trainer._compat import full_tensor
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizers import count_parameters, parameters_of

MANY_PARAMETERS = 100_000
"""elements above which copying the parameters is the largest part of the monitor's cost"""


@dataclass
class OptimizerRecord:
    """The parameters of one optimizer, each once, and its step that is under way."""

    index: int
    parameters: list[Tensor]
    groups: list[int]
    """index of the group of each parameter"""
    buckets: list[slice]
    """slices of `parameters` that are copied as one vector"""
    parameter_count: int
    """number of tensors in the optimizer's parameter groups when they were read"""
    updates_every: int
    """steps between two measured updates"""
    steps: int = 0
    """number of steps so far"""
    pending_step: PendingStep | None = None
    """the step that is under way"""
    update: UpdateMeasurement | None = None
    """the weights before the step that is under way, where its update is measured"""
    in_pieces: bool = False
    """whether each rank holds a piece of every parameter as a plain tensor, which may be empty (FSDP1); updates are not
    measured then, and all ranks have to measure the gradients together"""

    @torch.no_grad()
    def copy_weights(self, max_bytes: int, *, clips: bool) -> None:
        """Copy the weights before a step, and the gradients if they will be clipped; nothing above `max_bytes`."""
        if not self.in_pieces and bytes_copied(self.parameters) <= max_bytes:
            gradients = [p.grad for p in self.parameters] if clips else None
            self.update = UpdateMeasurement(self.parameters, self.buckets, gradients)


@dataclass(slots=True)
class PendingStep:
    """One optimizer step, with tensors that may still be on the device."""

    step: int
    """the loggers' x of this step"""
    optimizer_record: OptimizerRecord
    learning_rate: float | Tensor | None
    measured: bool = False
    """whether the norms of the gradients are measured at this step"""
    evaluations: int = 0
    """number of gradients that this step has used: several for LBFGS"""
    has_gradient: bool = False
    """whether any parameter had a gradient"""
    loss: Tensor | None = None
    loss_divisor: int = 1
    """the number by which Lightning has divided the loss"""
    with_gradient: list[int] | None = None
    """indices of the parameters whose gradient norms were measured"""
    no_grad_share: float | None = None
    """share of the parameters that require a gradient and have none; None where it was not measured"""
    measurements: dict[str, Tensor] = field(default_factory=dict)
    """"grad_norms" and "clipped_grad_norms", shape (n,), the results of `UpdateMeasurement.measured`, and "skipped",
    which is above 0 where a GradScaler has skipped the step"""

    def __post_init__(self) -> None:
        # A rank with empty pieces only has no gradient, but has to measure with the others.
        self.has_gradient = self.has_gradient or self.optimizer_record.in_pieces

    def measure_gradients(self) -> None:
        """Measure the norm of each gradient before clipping, and the share of parameters without a gradient."""
        parameters = self.optimizer_record.parameters
        if self.optimizer_record.in_pieces:
            self.with_gradient, self.measurements["grad_norms"] = (
                [*range(len(parameters))],
                _norms_of_pieces(parameters),
            )
            return
        with_gradient = [i for i, p in enumerate(parameters) if p.grad is not None]
        if with_gradient:
            self.with_gradient, self.measurements["grad_norms"] = with_gradient, _grad_norms(parameters)
        self.no_grad_share = 0.0
        if len(with_gradient) < len(parameters):
            without = sum(p.numel() for p in parameters if p.requires_grad and p.grad is None)
            self.no_grad_share = without / max(1, without + sum(parameters[i].numel() for i in with_gradient))

    @torch.no_grad()
    def measure_update(self, *, clips: bool) -> None:
        """Measure, after the step, the gradients that it used, if they are clipped, and the change of the weights."""
        optimizer_record = self.optimizer_record
        if self.measured and self.with_gradient is None:
            self.measure_gradients()
        elif self.measured and clips:
            norms = _norms_of_pieces if optimizer_record.in_pieces else _grad_norms
            self.measurements["clipped_grad_norms"] = norms(optimizer_record.parameters)
        if optimizer_record.update is not None:
            self.measurements |= optimizer_record.update.measured()
            optimizer_record.update = None  # the optimizer may take further steps in this batch
            if self.evaluations > 1:  # no single gradient of LBFGS has made the update
                self.measurements.pop("predicted", None)


@torch.no_grad()
def _grad_norms(parameters: Sequence[Tensor]) -> Tensor:
    return full_tensor(tensor_norms([p.grad for p in parameters if p.grad is not None]))


@torch.no_grad()
def _norms_of_pieces(parameters: Sequence[Tensor]) -> Tensor:
    """Return the norm of each whole gradient, shape (n,); 0 where no rank has one."""
    norms = tensor_norms([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]).square()
    torch.distributed.all_reduce(norms)
    return norms.sqrt()


NO_OPTIMIZER = OptimizerRecord(0, [], [], [], parameter_count=0, updates_every=1)
"""the record of steps that cannot be observed"""


def read_optimizers(
    host: Host, intervals: Intervals, updates_every: int | None, step_counts: Sequence[int]
) -> tuple[tuple[str, ...], dict[int, OptimizerRecord]]:
    """Return the names of the groups of parameters, and a record of each optimizer by its `id`.

    Args:
        host: the run.
        intervals: of the run.
        updates_every: steps between two measured updates; None for the interval of the run.
        step_counts: number of steps of each optimizer so far; optimizers beyond the end of the list have taken none.
    """
    names = {id(p): name for name, p in host.module.named_parameters()}
    members = [parameters_of(optimizer) for optimizer in host.optimizers]
    labels = group_names([names.get(id(p), f"optimizer.{i}") for i, ps in enumerate(members) for p in ps])
    groups = tuple(dict.fromkeys(labels))
    label = iter(labels)
    records = {}
    for i, (optimizer, parameters) in enumerate(zip(host.optimizers, members, strict=True)):
        blocks = 2 if sum(p.numel() for p in parameters) > MANY_PARAMETERS else 1
        records[id(optimizer)] = OptimizerRecord(
            index=i,
            parameters=parameters,
            groups=[groups.index(next(label)) for _ in parameters],
            buckets=buckets_of(parameters),
            parameter_count=count_parameters(optimizer),
            updates_every=updates_every or intervals.updates_every(blocks),
            steps=step_counts[i] if i < len(step_counts) else 0,
            in_pieces=host.world_size > 1 and "FSDPStrategy" in host.strategy_names,
        )
    return groups, records
