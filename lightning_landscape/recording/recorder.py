"""Watch every optimizer step on the device, and hand the numbers over many steps at a time.

Every so many steps are measured. The others leave a reference to their loss, which Lightning has copied anyway; where
one optimizer steps at every batch, they leave nothing else. Nothing waits for the device until `StepRecorder.drain`.
Where each number is read, and why there, is said at its method.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_landscape.functional.norms import group_names
from lightning_landscape.recording.intervals import Intervals
from lightning_landscape.recording.step_buffer import OptimizerRecord, PendingStep, fetched
from lightning_landscape.recording.updates import UpdateMeasurement, bytes_copied, runs_of, stacked
from lightning_landscape.tracking.progress import StepRecord
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizers import learning_rate_of, parameters_of, size_of

MANY = 100_000
"""parameters from which on copying them is what watching costs most"""


class StepRecorder:
    """One `StepRecord` per optimizer step.

    Args:
        norm_every_n_steps: steps between two measured gradient norms, besides the logged ones; None for the default.
        updates_every: measure the true update, which costs a copy of the weights, at every so many steps of an
            optimizer; None for once in a block of the history, and of more than `MANY` parameters in two.
        max_copy_bytes: updates are not measured where a copy of the weights, of large ones a sample, would take more.

    Raises:
        ValueError: if one of the intervals is below 1.
    """

    def __init__(
        self, *, norm_every_n_steps: int | None = 1, updates_every: int | None = None, max_copy_bytes: int = 2**30
    ) -> None:
        for name, value in (("norm_every_n_steps", norm_every_n_steps), ("updates_every", updates_every)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.norm_every_n_steps = norm_every_n_steps
        self.updates_every = updates_every
        self.max_copy_bytes = max_copy_bytes
        self.groups: tuple[str, ...] = ()
        self._records: list[StepRecord] = []
        self._last: StepRecord | None = None
        self._rows: list[PendingStep | Tensor | None] = []
        self._open: list[PendingStep] = []
        self._seen: list[int] = []
        self._held: dict[int, OptimizerRecord] = {}
        self._handles: list[RemovableHandle] = []
        self._losses: list[Tensor] = []
        self.met = False
        """whether an optimizer has come by; one whose steps a GradScaler skips has"""
        self._came, self._plain = False, 0  # in this batch; steps to come that leave only their loss
        self._failure: Exception | None = None
        self._host: Any = None
        self._scaler: Any = None

    def attach(self, host: Host, intervals: Intervals) -> None:
        """Learn the optimizers' parameters and start listening to their steps."""
        self.detach()
        self._came, self._plain = False, 0
        self._host, self._intervals = host, intervals
        self._norm_every_n_steps = self.norm_every_n_steps or intervals.norm_every_n_steps
        self._automatic = host.automatic_optimization
        self._clips = host.changes_gradients
        self._scaler = host.scaler
        self._learn()
        for optimizer in host.optimizers:
            if hasattr(optimizer, "register_step_post_hook"):
                self._handles.append(optimizer.register_step_post_hook(self._after_step))

    def detach(self) -> None:
        """Stop listening; what was recorded stays until it is drained."""
        for handle in self._handles:
            handle.remove()
        vars(self).update(self.__getstate__())

    def __getstate__(self) -> dict[str, Any]:
        """What was recorded, and how; of the run, nothing."""
        self._fetch()
        state = dict(vars(self), _seen=self._phases(), _host=None, _scaler=None, _failure=None)
        return state | {name: type(state[name])() for name in ("_handles", "_open", "_held", "_losses")}

    def forget(self) -> None:
        """Start as if nothing had been recorded."""
        self.detach()
        self._records.clear()
        self._seen, self.met, self._last = [], False, None

    @property
    def waiting(self) -> int:
        """How many rows the next `drain` will return."""
        return len(self._records) + len(self._rows)

    def before_backward(self, loss: Tensor) -> None:
        """Manual optimization says which loss an optimizer follows only by differentiating it."""
        if not self._automatic:
            with torch.no_grad():
                scale = 1.0 if self._scaler is None else self._scaler.scale(torch.ones_like(loss))
                self._losses.append(loss / scale)

    def before_step(self, optimizer: Optimizer) -> None:
        """Gradients are accumulated, unscaled and not yet clipped here; LBFGS comes by once per evaluation."""
        if self._plain or (held := self._held.get(id(optimizer))) is None:
            return
        self.met = True
        row = held.row or self._opened(held, optimizer)
        row.evaluations += 1
        # A fused optimizer unscales inside its own step: up to then the gradient carries the loss scale.
        if row.measured and not (self._scaler and getattr(optimizer, "_step_supports_amp_scaling", False)):
            row.measure()

    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Gradients are clipped and the weights have moved; a step that a GradScaler skips never comes here.

        What fails where torch calls, it fails again in `end_batch`, where the monitor guards the run.
        """
        try:
            held = self._held.get(id(optimizer))
            row = None if held is None else held.row
            if held is None or not (row or self._plain):
                return
            held.seen += 1
            if row is None:
                self._came = True
                return
            held.row = None
            for parameter in held.parameters:
                if parameter.grad is not None:
                    row.moving = True
                    break
            if self._scaler and isinstance(skipped := getattr(optimizer, "found_inf", None), Tensor):
                row.numbers["skipped"] = skipped.clone()
            if row.moving and (row.measured or held.movement is not None):
                row.compare(clips=self._clips)
        except Exception as error:
            self._failure = error

    def end_batch(self, outputs: Any) -> int:
        """Close this batch's rows, and say how many are waiting; what failed in the optimizer's hook fails here."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        loss = loss if isinstance(loss, Tensor) else None
        if self._automatic and loss is not None and loss.requires_grad:
            loss = loss.detach()  # Lightning's own copy, which nobody writes to
        came, self._came = self._came, False
        if came and self._plain:
            self._plain, parts = self._plain - 1, self._host.batches_per_step
            self._rows.append(loss if loss is None or parts == 1 else loss * parts)
        else:
            row = self._close(loss)
            self._plain = self._plain_after(row) if row else 0
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
        return len(self._records) + len(self._rows)

    def _plain_after(self, row: PendingStep) -> int:
        """How many steps are going to be like this one, but for their loss: up to the next that is measured."""
        return min(self._ahead(row.step + 1), -row.held.seen % row.held.every) if self._alone and row.moving else 0

    @property
    def _alone(self) -> bool:
        """Whether one optimizer steps at every batch."""
        single = self._automatic and len(self._held) == 1 and not self._scaler
        return single and self._host.batches_per_step == 1

    def _ahead(self, step: int) -> int:
        """Steps from this one to the next that is measured; in step with the loggers, which take 9, 19, 29 ..."""
        return min(-(step + 1) % n for n in (self._norm_every_n_steps, self._host.log_every_n_steps) if n > 0)

    def _close(self, loss: Tensor | None) -> PendingStep | None:
        """Close the batch's rows, and return the last; its loss is the mean over the batches that were accumulated."""
        if self._automatic and loss is not None:
            self._losses.append(loss)
        if self._unseen and not self._open:
            # Nobody steps where it can be seen: the loss of the batch is all there is.
            self._open.append(PendingStep(self._host.step, _NOBODY, learning_rate=0.0, moving=True))
        if not self._open:
            return None
        for row in self._open:
            if not self._automatic:
                if row.loss is None and loss is not None:
                    row.loss = loss.detach().clone()
            elif self._losses:
                row.loss = self._losses[0] if len(self._losses) == 1 else stacked(self._losses).mean()
                # Lightning has divided this loss by `accumulate_grad_batches`; undo it.
                row.parts = self._host.batches_per_step
            row.held.row = row.held.movement = None
        self._rows += self._open
        self._open.clear()
        if self._automatic:
            self._losses.clear()
        return row

    def drain(self) -> list[StepRecord]:
        """All finished rows since the last drain, in order: one transfer from the device."""
        self._fetch()
        records, self._records = self._records, []
        return records

    def state_dict(self) -> dict[str, Any]:
        """Rows that nobody has drained yet, and the phase of the sampling."""
        self._fetch()
        last = self._last and [self._last.step, self._last.learning_rate, self._plain]
        return {"pending": [list(record) for record in self._records], "seen": self._phases(), "last": last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; the settings are this recorder's own."""
        self._records = [
            StepRecord._make(tuple(value) if isinstance(value, list) else value for value in row)
            for row in state["pending"]
        ]
        step, rate, plain = state.get("last") or (0, 0.0, 0)
        self._last = StepRecord(int(step), 0, None, float(rate), stepped=True)
        self._plain = max(0, min(int(plain), self._ahead(int(step) + 1))) if self._alone else 0
        self._seen = [int(seen) for seen in state["seen"]]
        self.met = any(self._seen)
        for held, seen in zip(self._held.values(), self._seen, strict=False):
            held.seen = seen

    def _fetch(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            self._records += fetched(rows, len(self.groups), self._last)
            self._last = self._records[-1]

    def _phases(self) -> list[int]:
        return [held.seen for held in self._held.values()] or self._seen

    def _learn(self) -> None:
        """Which parameters each optimizer holds."""
        self._fetch()  # while the groups are those of its rows
        seen = self._phases()
        names = {id(p): name for name, p in self._host.module.named_parameters()}
        members = [parameters_of(optimizer) for optimizer in self._host.optimizers]
        labels = group_names([names.get(id(p), f"optimizer.{i}") for i, held in enumerate(members) for p in held])
        self.groups = tuple(dict.fromkeys(labels))
        label = iter(labels)
        self._held = {}
        for i, (optimizer, held) in enumerate(zip(self._host.optimizers, members, strict=True)):
            groups = [self.groups.index(next(label)) for _ in held]
            every = self.updates_every or self._intervals.updates_every(1 + (sum(p.numel() for p in held) > MANY))
            phase = seen[i] if i < len(seen) else 0
            self._held[id(optimizer)] = OptimizerRecord(
                i, held, groups, runs_of(held), size_of(optimizer), every, phase
            )
        self._unseen = not any(members)

    def _opened(self, held: OptimizerRecord, optimizer: Optimizer) -> PendingStep:
        measured = self._ahead(step := self._host.step) == 0
        if measured and held.size != size_of(optimizer) and not self._open:  # fine-tuning has added a parameter group
            self._learn()
            held = self._held[id(optimizer)]
        row = held.row = PendingStep(step, held, learning_rate_of(optimizer), measured)
        self._open.append(row)
        if self._losses and not self._automatic:
            row.loss = stacked(self._losses).sum()
            self._losses.clear()
        if held.seen % held.every == 0:
            self._follow(held)
        return row

    @torch.no_grad()
    def _follow(self, held: OptimizerRecord) -> None:
        """Copy the weights, and the gradients where clipping is going to change them."""
        if bytes_copied(held.parameters) <= self.max_copy_bytes:
            gradients = [p.grad for p in held.parameters] if self._clips else None
            held.movement = UpdateMeasurement(held.parameters, held.runs, gradients)


_NOBODY = OptimizerRecord(0, [], [], [], 0, 1)
