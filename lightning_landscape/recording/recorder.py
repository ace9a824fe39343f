"""Record every optimizer step on the device, and transfer the numbers of many steps at a time.

Gradients and updates are measured at some steps. Where one optimizer steps at every batch, the others are plain steps,
of which only the loss is kept, as a reference to a tensor that Lightning has detached anyway. The recorder waits for
the device in `StepRecorder.drain` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_landscape.recording.intervals import Intervals
from lightning_landscape.recording.optimizer_record import NO_OPTIMIZER, OptimizerRecord, PendingStep, read_optimizers
from lightning_landscape.recording.step_buffer import to_records
from lightning_landscape.recording.updates import stacked
from lightning_landscape.recording.zeroing import Zeroing
from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.trainer._compat import unscales_gradients
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizers import count_parameters, learning_rate_of


class StepRecorder:
    """Makes a `StepRecord` of every optimizer step.

    Args:
        norm_every_n_steps: steps between two measured gradient norms; those of logged steps are measured as well. None
            for the interval of the run.
        updates_every: steps of an optimizer between two measured updates, each of which takes a copy of the weights;
            None for the interval of the run, which is longer for large models.
        max_copy_bytes: updates are not measured where that copy would be larger; large tensors are copied in part.

    Raises:
        ValueError: if one of the intervals is below 1.
    """

    _host: Host
    """the run; the recorder has this attribute while it is attached"""

    def __init__(
        self, *, norm_every_n_steps: int | None = 1, updates_every: int | None = None, max_copy_bytes: int = 2**30
    ) -> None:
        for name, value in {"norm_every_n_steps": norm_every_n_steps, "updates_every": updates_every}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.norm_every_n_steps, self.updates_every = norm_every_n_steps, updates_every
        self.max_copy_bytes, self.zeroing = max_copy_bytes, Zeroing()
        self.groups: tuple[str, ...] = ()
        """names of the groups of parameters"""
        self.groups_version = 0  # grows when the parameters are read again, or gradients are never zeroed
        self.saw_optimizer = False
        """whether an optimizer was about to step, even if a GradScaler skipped the step"""
        self._records: list[StepRecord] = []
        self._last_record: StepRecord | None = None
        self._finished_steps: list[PendingStep | Tensor | None] = []  # of a plain step, its loss
        self._steps_of_batch: list[PendingStep] = []
        self._step_counts: list[int] = []  # of each optimizer, while no run is attached
        self._optimizer_records: dict[int, OptimizerRecord] = {}
        self._handles: list[RemovableHandle] = []
        self._losses: list[Tensor] = []  # of the batches since the last step
        self._plain_steps, self._plain_step_taken = 0, False  # still to come; in this batch
        self._failure: Exception | None = None
        self._scaler: torch.amp.GradScaler | None = None

    def attach(self, host: Host, intervals: Intervals) -> None:
        """Read the optimizers' parameters, and observe the optimizers' steps from now on."""
        self.detach()
        self._host, self._intervals, self._plain_steps, self._plain_step_taken = host, intervals, 0, False
        self._norm_every_n_steps = self.norm_every_n_steps or intervals.norm_every_n_steps
        self._automatic, self._clips, self._scaler = host.automatic_optimization, host.changes_gradients, host.scaler
        self._read_optimizers()
        self.zeroing = Zeroing(host.optimizers)
        observable = [o for o in host.optimizers if hasattr(o, "register_step_post_hook")]
        self._handles = [optimizer.register_step_post_hook(self._after_step) for optimizer in observable]

    def detach(self) -> None:
        """Observe no more steps, and release the run; the records wait for `drain`."""
        for handle in self._handles:
            handle.remove()
        self.zeroing.stop()
        vars(self).pop("_host", None)
        vars(self).update(self.__getstate__())

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings and the records, without objects of the run."""
        self._fetch()
        state = {name: value for name, value in vars(self).items() if name != "_host"}
        state |= {"_step_counts": self._count_steps(), "_optimizer_records": {}, "_handles": [], "_losses": []}
        return state | {"_steps_of_batch": [], "_scaler": None, "_failure": None}

    def forget(self) -> None:
        """Detach from the run, and forget all that was recorded."""
        self.detach()
        self._records.clear()
        self._step_counts, self.saw_optimizer, self._last_record, self.zeroing = [], False, None, Zeroing()

    @property
    def waiting(self) -> int:
        """Number of records that `drain` would return."""
        return len(self._records) + len(self._finished_steps)

    def before_backward(self, loss: Tensor) -> None:
        """Keep a loss in manual optimization: that of a step is the sum of those differentiated before it."""
        if self.zeroing.before_backward() and self._host.world_size == 1:  # other ranks may not have found it
            self.groups_version += 1
        if not self._automatic:
            with torch.no_grad():
                scale = 1.0 if self._scaler is None else self._scaler.scale(torch.ones_like(loss))
                self._losses.append(loss / scale)

    def before_step(self, optimizer: Optimizer) -> None:
        """Measure the gradients, which are accumulated and unscaled, but not clipped yet.

        LBFGS causes one call for each of its evaluations.
        """
        if self._plain_steps or (optimizer_record := self._optimizer_records.get(id(optimizer))) is None:
            return
        self.saw_optimizer = True
        step = optimizer_record.pending_step or self._begin_step(optimizer_record, optimizer)
        step.evaluations += 1
        # Some fused optimizers unscale the gradients within their step, so these can only be measured after it.
        if step.measured and not (self._scaler and unscales_gradients(optimizer)):
            step.measure_gradients()

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Measure the clipped gradients and the update; torch makes no call for a step that a GradScaler skips.

        An error would end training here; it is raised in `end_batch` instead, where the monitor catches it.
        """
        try:
            optimizer_record = self._optimizer_records.get(id(optimizer))
            step = None if optimizer_record is None else optimizer_record.pending_step
            if optimizer_record is None or not (step or self._plain_steps):
                return
            optimizer_record.steps += 1
            if step is None:
                self._plain_step_taken = True
                return
            optimizer_record.pending_step = None
            for parameter in optimizer_record.parameters:
                if parameter.grad is not None:
                    step.has_gradient = True
                    break
            if self._scaler and isinstance(skipped := getattr(optimizer, "found_inf", None), Tensor):
                step.measurements["skipped"] = skipped.clone()
            if step.has_gradient and (step.measured or optimizer_record.update is not None):
                step.measure_update(clips=self._clips)
        except Exception as error:
            self._failure = error

    def end_batch(self, outputs: Tensor | Mapping[str, Any] | None) -> int:
        """Finish the steps of this batch and return how many records `drain` would return.

        An error of `_after_step` in this batch is raised here.
        """
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        loss = loss if isinstance(loss, Tensor) else None
        if self._automatic and loss is not None and loss.requires_grad:
            loss = loss.detach()  # shares its memory with Lightning's own copy, which is never overwritten
        plain, self._plain_step_taken = self._plain_step_taken, False
        if plain and self._plain_steps:
            self._plain_steps, divisor = self._plain_steps - 1, self._host.batches_per_step
            self._finished_steps.append(loss if loss is None or divisor == 1 else loss * divisor)
        else:
            step = self._finish_steps(loss)
            self._plain_steps = self._plain_steps_after(step) if step else 0
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
        return len(self._records) + len(self._finished_steps)

    def _plain_steps_after(self, step: PendingStep) -> int:
        """Return the number of plain steps between this step and the next at which anything is measured."""
        if not (self._steps_at_every_batch and step.has_gradient):
            return 0
        until_update = -step.optimizer_record.steps % step.optimizer_record.updates_every
        return min(self._steps_until_norm(step.step + 1), until_update)

    @property
    def _steps_at_every_batch(self) -> bool:
        """Whether there is one optimizer, and it steps at every batch."""
        single = self._automatic and len(self._optimizer_records) == 1 and not self._scaler
        return single and self._host.batches_per_step == 1

    def _steps_until_norm(self, step: int) -> int:
        """Return the steps from this one to the next measured gradient norm; loggers log the steps n-1, 2n-1, ..."""
        return min(-(step + 1) % n for n in (self._norm_every_n_steps, self._host.log_every_n_steps) if n > 0)

    def _finish_steps(self, loss: Tensor | None) -> PendingStep | None:
        """Set the loss of the steps of this batch, a mean over accumulated batches, and return the last step."""
        self._losses += [loss] if self._automatic and loss is not None else []
        if self._no_parameters and not self._steps_of_batch:
            # No optimizer step can be observed, so every batch counts as a step of which only the loss is known.
            self._steps_of_batch.append(PendingStep(self._host.step, NO_OPTIMIZER, None, has_gradient=True))
        if not self._steps_of_batch:
            return None
        for step in self._steps_of_batch:
            if not self._automatic:
                if step.loss is None and loss is not None:
                    step.loss = loss.detach().clone()
            elif self._losses:
                step.loss = self._losses[0] if len(self._losses) == 1 else stacked(self._losses).mean()
                step.loss_divisor = self._host.batches_per_step
            step.optimizer_record.pending_step = step.optimizer_record.update = None
        self._finished_steps += self._steps_of_batch
        self._steps_of_batch.clear()
        if self._automatic:
            self._losses.clear()
        return step

    def drain(self) -> list[StepRecord]:
        """Return the records of all steps that have finished since the last call, in order."""
        self._fetch()
        records, self._records = self._records, []
        return records

    def state_dict(self) -> dict[str, Any]:
        """Return the records that wait for `drain`, and the counters that decide when to measure, in builtins."""
        self._fetch()
        last = self._last_record and [self._last_record.step, self._last_record.learning_rate, self._plain_steps]
        return {"pending": [list(record) for record in self._records], "seen": self._count_steps(), "last": last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; the settings stay those of this recorder."""
        self._records = [
            StepRecord._make(tuple(value) if isinstance(value, list) else value for value in record)
            for record in state["pending"]
        ]
        step, rate, plain_steps = state.get("last") or (0, 0.0, 0)
        self._last_record = StepRecord(int(step), 0, None, None if rate is None else float(rate), stepped=True)
        self._plain_steps = self._steps_until_norm(int(step) + 1) if self._steps_at_every_batch else 0
        self._plain_steps = max(0, min(int(plain_steps), self._plain_steps))
        self._step_counts = [int(count) for count in state["seen"]]
        self.saw_optimizer = any(self._step_counts)
        for optimizer_record, count in zip(self._optimizer_records.values(), self._step_counts, strict=False):
            optimizer_record.steps = count

    def _fetch(self) -> None:
        """Transfer the finished steps to the CPU."""
        steps, self._finished_steps = self._finished_steps, []
        if steps:
            self._records += to_records(steps, len(self.groups), self._last_record)
            self._last_record = self._records[-1]

    def _count_steps(self) -> list[int]:
        """Return the number of steps of each optimizer so far."""
        return [optimizer_record.steps for optimizer_record in self._optimizer_records.values()] or self._step_counts

    def _read_optimizers(self) -> None:
        """Read the optimizers' parameters."""
        self._fetch()  # the finished steps belong to the present groups
        known = self._host, self._intervals, self.updates_every, self._count_steps()
        self.groups, self._optimizer_records = read_optimizers(*known)
        self.groups_version += 1
        self._no_parameters = not any(record.parameters for record in self._optimizer_records.values())

    def _begin_step(self, optimizer_record: OptimizerRecord, optimizer: Optimizer) -> PendingStep:
        """Return the record of a step that begins, and copy the weights if its update is measured."""
        updates = optimizer_record.steps % optimizer_record.updates_every == 0
        # One of several optimizers may step at every fifth batch only, and never where a norm would be measured.
        often = updates and len(self._optimizer_records) > 1
        measured = self._steps_until_norm(step := self._host.step) == 0 or often
        if measured and optimizer_record.parameter_count != count_parameters(optimizer) and not self._steps_of_batch:
            self._read_optimizers()  # the user has added a parameter group
            optimizer_record = self._optimizer_records[id(optimizer)]
        pending = PendingStep(step, optimizer_record, learning_rate_of(optimizer), measured)
        optimizer_record.pending_step = pending
        self._steps_of_batch.append(pending)
        if self._losses and not self._automatic:
            pending.loss = stacked(self._losses).sum()
            self._losses.clear()
        if updates:
            optimizer_record.copy_weights(self.max_copy_bytes, clips=self._clips)
        return pending
