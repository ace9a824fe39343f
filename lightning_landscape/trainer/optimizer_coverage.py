"""Which weights training reaches: held by an optimizer, met by a gradient, and not held in place by their decay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape.trainer._compat import whole
from lightning_landscape.trainer.host import Host


@dataclass(frozen=True)
class OptimizerCoverage:
    """Shares of the parameters, in [0, 1]."""

    outside_optimizers: float = 0.0
    """of the trainable ones, those that no optimizer holds; 0 where there are no optimizers"""
    not_in_optimizer: float = 0.0
    """of the trainable ones, those of them that a gradient reaches: no target network, and no teacher"""
    frozen: float = 0.0
    """of all, those that require no gradient"""
    left_by_decay: float | None = None
    """see `left_by_decay`; None where it was not asked for"""


def optimizer_coverage(host: Host, travelled: float | None = None) -> OptimizerCoverage:
    """What is out of reach now; where the weights have not `travelled`, also whether their decay holds them."""
    held = {id(p) for o in host.optimizers for group in o.param_groups for p in group["params"]}
    sizes = {p: p.numel() for p in host.module.parameters() if not nn.parameter.is_lazy(p)}
    trainable = sum(size for p, size in sizes.items() if p.requires_grad)
    loose = {p: size for p, size in sizes.items() if p.requires_grad and id(p) not in held} if held else {}
    return OptimizerCoverage(
        outside_optimizers=sum(loose.values()) / max(1, trainable),
        not_in_optimizer=sum(size for p, size in loose.items() if p.grad is not None) / max(1, trainable),
        frozen=1 - trainable / sum(sizes.values()) if sizes else 0.0,
        left_by_decay=left_by_decay(host.optimizers) if travelled == 0 else None,
    )


@torch.no_grad()
def left_by_decay(optimizers: Sequence[Optimizer]) -> float | None:
    """Share of the last step's gradient that the weight decay leaves, |g + λw|/|g|.

    It is 0 where the two cancel out, so that the weights rest, and about 1 where the decay is weak. Where the optimizer
    decays the weights beside its gradient step (AdamW), g is that step over the learning rate. None where there is no
    weight decay or no gradient.
    """
    left = gradient_squared = 0.0
    decays = False
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            decay, sign = float(group.get("weight_decay") or 0.0), -1.0 if group.get("maximize") else 1.0
            decays = decays or decay > 0
            for parameter in group["params"]:
                if parameter.grad is not None and not parameter.grad.is_sparse:
                    gradient = sign * parameter.grad.float()
                    if decays_beside(optimizer, group):
                        gradient = _normalised(gradient, optimizer.state.get(parameter, {}), group)
                    left += float(whole((gradient + decay * parameter.float()).square().sum()))
                    gradient_squared += float(whole(gradient.square().sum()))
    return math.sqrt(left / gradient_squared) if decays and gradient_squared else None


def decays_beside(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    """Whether the weight decay of this group acts on the weights (AdamW), not through the gradient."""
    return bool(group.get("decoupled_weight_decay")) or "AdamW" in type(optimizer).__name__


def _normalised(gradient: Tensor, state: Mapping[str, Any], group: Mapping[str, Any]) -> Tensor:
    """The step over the learning rate of an optimizer with two moments; of any other, a step of 1 for each weight."""
    if "exp_avg" not in state or "exp_avg_sq" not in state:
        return gradient.sign()
    step: Tensor = state["exp_avg"].float() / (state["exp_avg_sq"].float().sqrt() + float(group.get("eps", 0.0)))
    return step
