"""Which parameters training does not change: without an optimizer, frozen, or kept in place by their weight decay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape.trainer._compat import full_tensor
from lightning_landscape.trainer.host import Host


@dataclass(frozen=True)
class OptimizerCoverage:
    """Shares of the parameters, in [0, 1], by number of elements."""

    outside_optimizers: float = 0.0
    """share of the trainable parameters that no optimizer holds; 0 where there are no optimizers"""
    not_in_optimizer: float = 0.0
    """share of the trainable parameters that no optimizer holds and that have a gradient: a target network or a teacher
    has none"""
    frozen: float = 0.0
    """share of all parameters that require no gradient"""
    left_by_decay: float | None = None
    """share of the gradient that the weight decay leaves, from `left_by_decay`; None where it was not measured"""


def optimizer_coverage(host: Host, travelled: float | None = None) -> OptimizerCoverage:
    """Return the present shares; `left_by_decay` only if `travelled`, how far the weights have moved, is 0."""
    in_optimizer = {id(p) for o in host.optimizers for group in o.param_groups for p in group["params"]}
    sizes = {p: p.numel() for p in host.module.parameters() if not nn.parameter.is_lazy(p)}
    trainable = {p: size for p, size in sizes.items() if p.requires_grad}
    outside = {p: size for p, size in trainable.items() if id(p) not in in_optimizer} if in_optimizer else {}
    total = sum(trainable.values())
    return OptimizerCoverage(
        outside_optimizers=sum(outside.values()) / max(1, total),
        not_in_optimizer=sum(size for p, size in outside.items() if p.grad is not None) / max(1, total),
        frozen=1 - total / sum(sizes.values()) if sizes else 0.0,
        left_by_decay=left_by_decay(host.optimizers) if travelled == 0 else None,
    )


@torch.no_grad()
def left_by_decay(optimizers: Sequence[Optimizer]) -> float | None:
    """Return the share of the last step's gradient that the weight decay leaves, |g + λw|/|g|.

    It is 0 where the two cancel out, so that the weights rest, and about 1 where the decay is weak. Where the optimizer
    applies the decay to the weights themselves (AdamW), g is its gradient step over the learning rate. None where there
    is no weight decay or no gradient.
    """
    left = gradient_squared = 0.0
    any_decay = False
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            decay, sign = float(group.get("weight_decay") or 0.0), -1.0 if group.get("maximize") else 1.0
            any_decay = any_decay or decay > 0
            for parameter in group["params"]:
                if parameter.grad is not None and not parameter.grad.is_sparse:
                    gradient = sign * parameter.grad.float()
                    if decays_beside(optimizer, group):
                        gradient = _gradient_step(gradient, optimizer.state.get(parameter, {}), group)
                    left += float(full_tensor((gradient + decay * parameter.float()).square().sum()))
                    gradient_squared += float(full_tensor(gradient.square().sum()))
    return math.sqrt(left / gradient_squared) if any_decay and gradient_squared else None


def decays_beside(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    """Return whether the weight decay of this group is applied to the weights (AdamW), and not to the gradient."""
    return bool(group.get("decoupled_weight_decay")) or "AdamW" in type(optimizer).__name__


def scales_decay(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    """Return whether the optimizer divides the weight decay by the same root as the gradient, as Adam does."""
    states = (optimizer.state.get(parameter, {}) for parameter in group["params"])
    has_root = any("exp_avg_sq" in state or "square_avg" in state for state in states)
    return has_root and not decays_beside(optimizer, group)


def _gradient_step(gradient: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    """Return the gradient step of Adam over the learning rate, or the gradient's sign for any other optimizer."""
    if "exp_avg" not in state or "exp_avg_sq" not in state:
        return gradient.sign()
    step: Tensor = state["exp_avg"].float() / (state["exp_avg_sq"].float().sqrt() + float(group.get("eps", 0.0)))
    return step
