"""Measure every optimizer step on the device, and hand the numbers over many steps at a time.

A step costs one `_foreach_norm` into a preallocated ring; nothing waits for the device until `StepRecorder.drain`.
Where each number is read, and why there, is said at the method that reads it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from lightning_landscape.callbacks._compat import logger_step, overrides
from lightning_landscape.callbacks.ring import CLIPPED, LOSS, PREDICTED, RATE, SKIPPED, UPDATE, WEIGHT, Held, Ring, Row
from lightning_landscape.functional.norms import global_norm, group_names, inner_product
from lightning_landscape.progress import StepRecord

WITHOUT_STEPS = 20
"""batches without any optimizer step after which a trainer is said to take none that can be seen"""
NO_STEPS = (
    "[LL101] this Trainer has taken no optimizer step that can be seen (does the optimizer step inside the backward "
    "pass?), so gradient norms and updates are not watched; the trend of the loss is watched by batches instead."
)


class StepRecorder:
    """One `StepRecord` per optimizer step.

    Args:
        norms_every: measure gradient norms at every so many steps of an optimizer, and at those that are logged.
        updates_every: measure the true update, which costs a copy of the weights, at every so many steps.
        max_copy_bytes: parameters larger than this in total are not copied, so their updates are not measured.

    Raises:
        ValueError: if one of the intervals is below 1.
    """

    def __init__(self, *, norms_every: int = 1, updates_every: int = 10, max_copy_bytes: int = 2**30) -> None:
        for name, value in (("norms_every", norms_every), ("updates_every", updates_every)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.norms_every = norms_every
        self.updates_every = updates_every
        self.max_copy_bytes = max_copy_bytes
        self.groups: tuple[str, ...] = ()
        self._pending: list[StepRecord] = []
        self._seen: list[int] = []
        self._held: dict[int, Held] = {}
        self._handles: list[RemovableHandle] = []
        self._losses: list[Tensor] = []
        self._failure: Exception | None = None
        self._ring = Ring(1, 0, 0, torch.float32, torch.device("cpu"))

    def attach(self, trainer: Any, pl_module: nn.Module, capacity: int) -> None:
        """Learn the optimizers' parameters and start listening to their steps."""
        self.detach()
        self._trainer, self._module, self._capacity = trainer, pl_module, capacity
        self._automatic = bool(pl_module.automatic_optimization)
        self._clips = bool(trainer.gradient_clip_val) or overrides(pl_module, "configure_gradient_clipping")
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        self._scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self._learn()
        for optimizer in trainer.optimizers:
            if hasattr(optimizer, "register_step_post_hook"):
                self._handles.append(optimizer.register_step_post_hook(self._after_step_of))

    def detach(self) -> None:
        """Stop listening; what was recorded stays until it is drained."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._pending += self._ring.fetch()
        self._seen = [held.seen for held in self._held.values()] or self._seen
        self._held.clear()
        self._losses.clear()

    @property
    def waiting(self) -> int:
        """How many rows the next `drain` will return."""
        return len(self._pending) + self._ring.finished

    @property
    def blind(self) -> bool:
        """Whether no optimizer has been seen to step."""
        return not any(held.seen for held in self._held.values())

    @torch.no_grad()
    def before_backward(self, loss: Tensor) -> None:
        """Manual optimization says which loss an optimizer follows only by differentiating it."""
        if not self._automatic:
            loss = loss.detach()
            self._losses.append(loss if self._scaler is None else loss / self._scaler.scale(torch.ones_like(loss)))

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer) -> None:
        """Gradients are accumulated, unscaled and not yet clipped here; LBFGS comes by once per evaluation."""
        held = self._held.get(id(optimizer))
        if held is None:
            return
        if held.size != _size(optimizer) and not self._ring.open_rows:  # fine-tuning has added a parameter group
            self._learn()
            held = self._held[id(optimizer)]
        row = self._running(held) or self._opened(held, optimizer)
        row.evaluations += 1
        gradients = _gradients(held)
        if held.seen % self.updates_every == 0 and row.evaluations == 1 and self._fits(held):
            held.weights = [p.detach().clone() for p in held.parameters]
            held.gradients = (
                [None if p.grad is None else p.grad.clone() for p in held.parameters] if self._clips else None
            )
        # A fused optimizer unscales inside its own step: up to then the gradient carries the loss scale.
        fused = self._scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False)
        if gradients and not fused and self._measures_norms(row):
            self._ring.write_norms(row, gradients)

    def _after_step_of(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """What fails where torch calls, it fails again in `end_batch`, where the monitor guards the run."""
        try:
            self._after_step(optimizer, args, kwargs)
        except Exception as error:
            self._failure = error

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Gradients are clipped and the weights have moved; a step that a GradScaler skips never comes here."""
        held = self._held.get(id(optimizer))
        row = self._running(held) if held is not None else None
        if held is None or row is None:
            return
        gradients = _gradients(held)
        row.stepped, row.moving = True, bool(gradients)
        if isinstance(skipped := getattr(optimizer, "found_inf", None), Tensor):
            self._ring.write(row, SKIPPED, skipped)
        if row.with_gradient is not None and self._clips:
            self._ring.write(row, CLIPPED, global_norm([gradient for _, gradient in gradients]))
        elif row.with_gradient is None and gradients and self._measures_norms(row):
            self._ring.write_norms(row, gradients)
        if held.weights is not None and gradients:
            self._write_update(row, held, held.weights)
        held.weights = held.gradients = None
        held.seen += 1

    @torch.no_grad()
    def end_batch(self, outputs: Any) -> None:
        """Close this batch's rows with their loss: the mean over the micro-batches that the step accumulated."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and self._automatic:
            # Lightning has divided this loss by `accumulate_grad_batches`; undo it.
            parts = self._trainer.accumulate_grad_batches
            self._losses.append(loss.detach() if parts == 1 else loss.detach() * parts)
        if not any(held.parameters for held in self._held.values()) and not self._ring.open_rows:
            # Nobody steps where it can be seen: the loss of the batch is all there is.
            self._ring.open(Row(logger_step(self._trainer), _NOBODY, learning_rate=0.0, stepped=True, moving=True))
        for row in self._ring.open_rows:
            if self._automatic and self._losses:
                self._ring.write(
                    row, LOSS, self._losses[0] if len(self._losses) == 1 else _stacked(self._losses).mean()
                )
            elif isinstance(loss, Tensor) and LOSS not in row.columns:
                self._ring.write(row, LOSS, loss.detach())
            row.held.weights = row.held.gradients = None
        if self._ring.open_rows and self._automatic:
            self._losses.clear()
        self._ring.open_rows.clear()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def drain(self) -> list[StepRecord]:
        """All finished rows since the last drain, in order: one transfer from the device."""
        records = self._pending + self._ring.fetch()
        self._pending = []
        return records

    def state_dict(self) -> dict[str, Any]:
        """Rows that nobody has drained yet, and the phase of the sampling."""
        self._pending += self._ring.fetch()
        seen = [held.seen for held in self._held.values()] or self._seen
        return {"pending": [list(record) for record in self._pending], "seen": seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; the settings are this recorder's own."""
        self._pending = [
            StepRecord._make(tuple(value) if isinstance(value, list) else value for value in row)
            for row in state["pending"]
        ]
        self._seen = [int(seen) for seen in state["seen"]]
        for held, seen in zip(self._held.values(), self._seen, strict=False):
            held.seen = seen

    def _learn(self) -> None:
        """Which parameters each optimizer holds, and a ring as wide as the longest list."""
        self._pending += self._ring.fetch()
        seen = [held.seen for held in self._held.values()] or self._seen
        names = {id(p): name for name, p in self._module.named_parameters()}
        members = [_parameters(optimizer) for optimizer in self._trainer.optimizers]
        labels = group_names([names.get(id(p), f"optimizer.{i}") for i, held in enumerate(members) for p in held])
        self.groups = tuple(dict.fromkeys(labels))
        label = iter(labels)
        self._held = {}
        for i, (optimizer, held) in enumerate(zip(self._trainer.optimizers, members, strict=True)):
            groups = [self.groups.index(next(label)) for _ in held]
            self._held[id(optimizer)] = Held(i, held, groups, _size(optimizer), seen[i] if i < len(seen) else 0)
        double = any(p.dtype in (torch.float64, torch.complex128) for held in members for p in held)
        dtype = torch.float64 if double else torch.float32
        width = max(map(len, members), default=0)
        self._ring = Ring(self._capacity, width, len(self.groups), dtype, self._trainer.strategy.root_device)

    def _running(self, held: Held) -> Row | None:
        return next((row for row in self._ring.open_rows if row.held is held and not row.stepped), None)

    def _opened(self, held: Held, optimizer: Optimizer) -> Row:
        if self._ring.full:
            self._pending += self._ring.fetch()
        row = self._ring.open(Row(logger_step(self._trainer), held))
        rates = [group["lr"] for group in optimizer.param_groups if "lr" in group]
        if any(isinstance(rate, Tensor) for rate in rates):  # a capturable optimizer: reading it would wait
            self._ring.write(row, RATE, _stacked([torch.as_tensor(rate) for rate in rates]).max())
        else:
            row.learning_rate = max(map(float, rates), default=0.0)
        if self._losses and not self._automatic:
            self._ring.write(row, LOSS, _stacked(self._losses).sum())
            self._losses.clear()
        return row

    def _measures_norms(self, row: Row) -> bool:
        every = self._trainer.log_every_n_steps
        # In step with the loggers, which take every tenth step as 9, 19, 29 ...
        return (row.step + 1) % self.norms_every == 0 or (every > 0 and (row.step + 1) % every == 0)

    def _fits(self, held: Held) -> bool:
        return sum(p.numel() * p.element_size() for p in held.parameters) <= self.max_copy_bytes

    def _write_update(self, row: Row, held: Held, before: list[Tensor]) -> None:
        update = torch._foreach_sub([p.detach() for p in held.parameters], before)
        self._ring.write(row, UPDATE, global_norm(update))
        self._ring.write(row, WEIGHT, global_norm(before))
        gradients = held.gradients or [p.grad for p in held.parameters]
        pairs = [(g, d) for g, d in zip(gradients, update, strict=True) if g is not None and not g.is_sparse]
        # With several evaluations (LBFGS) no single gradient is the one that made the update.
        if row.evaluations == 1 and pairs:
            self._ring.write(row, PREDICTED, inner_product([g for g, _ in pairs], [d for _, d in pairs]).abs())


_NOBODY = Held(0, [], [], 0)


def _gradients(held: Held) -> list[tuple[int, Tensor]]:
    return [(i, p.grad) for i, p in enumerate(held.parameters) if p.grad is not None]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return list({id(p): p for group in optimizer.param_groups for p in group["params"]}.values())


def _size(optimizer: Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)


def _stacked(values: list[Tensor]) -> Tensor:
    return torch.stack([value.reshape(()) for value in values])
