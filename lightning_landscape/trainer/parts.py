"""Which parts of the model the optimizers hold, how far each part has moved from the start, and its gradient.

Nothing is evaluated here, so this works where no loss surface can be opened. It takes one pass over the weights.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_landscape.evidence import OptimizerGroup, Part, Parts
from lightning_landscape.functional.norms import distance, group_names, tensor_norms
from lightning_landscape.surface import Params
from lightning_landscape.trainer._compat import local_shard, sharded_as
from lightning_landscape.trainer.host import Host
from lightning_landscape.trainer.optimizer_coverage import scales_decay

FEW = 3
"""most parameters of a larger group that are named one by one"""


@dataclass(frozen=True)
class _Parameter:
    """One parameter of the module, and what was measured of it."""

    name: str
    group: str
    tensor: nn.Parameter
    held_by: int | None
    in_training_mode: bool
    norm: float
    grad_norm: float | None
    initial_norm: float | None
    difference: float | None
    """|w − w₀|, exactly 0 only if all bits are equal; None if the initial values are unknown"""

    @property
    def unmoved(self) -> bool | None:
        return None if self.difference is None else self.difference == 0.0


@torch.no_grad()
def read_parts(host: Host, initial: Params | None = None, frozen_since: Mapping[str, int] | None = None) -> Parts:
    """Return the parts of the module, and the parameter groups of the optimizers.

    Parameters of one group are in one part if training treats them alike. With weights that are sharded over ranks, all
    ranks must call this function.

    Args:
        host: the run, after a step.
        initial: copies of the initial weights by name; None if there are none.
        frozen_since: optimizer step at which a parameter was first seen frozen, by name.
    """
    since = frozen_since or {}
    parameters = _measured(host, initial or {})
    total = max(1, sum(p.tensor.numel() for p in parameters))
    any_gradient = any(p.grad_norm is not None for p in parameters)
    alike: dict[tuple[object, ...], list[_Parameter]] = {}
    for p in parameters:
        treated = (p.held_by, p.tensor.requires_grad, since.get(p.name), p.grad_norm is None, p.grad_norm == 0)
        alike.setdefault((p.group, *treated, p.unmoved, p.in_training_mode), []).append(p)
    groups, sizes = (
        _optimizer_groups(host, {id(p.tensor): p.group for p in parameters}),
        Counter(p.group for p in parameters),
    )
    parts = [
        Part(
            name=members[0].group,
            share=sum(p.tensor.numel() for p in members) / total,
            trainable=members[0].tensor.requires_grad,
            frozen_since=since.get(members[0].name),
            group=members[0].held_by,
            learning_rate=None if members[0].held_by is None else groups[members[0].held_by].learning_rate,
            reached=members[0].grad_norm is not None if any_gradient else None,
            grad_norm=_norm_of(members, lambda p: p.grad_norm),
            norm=math.hypot(*(p.norm for p in members)),
            initial_norm=_norm_of(members, lambda p: p.initial_norm),
            distance=_distance(members),
            in_training_mode=members[0].in_training_mode,
            parameters=_few_of_group(members, sizes[members[0].group]),
        )
        for members in alike.values()
    ]
    return Parts(tuple(parts), groups, host.step)


def _measured(host: Host, initial: Params) -> list[_Parameter]:
    """Return all parameters of the module with their norms, after one transfer from the device."""
    named = named_parameters(host.module)
    holders = _holders(host)
    evaluating = {id(p) for m in host.module.modules() if not m.training for p in m.parameters(recurse=False)}
    gradients = {name: p.grad for name, p in named.items() if p.grad is not None}
    norms = dict(zip(named, tensor_norms([p.detach() for p in named.values()]).tolist(), strict=True))
    grad_norms = dict(zip(gradients, tensor_norms(list(gradients.values())).tolist(), strict=True))
    starts = {name: start for name, p in named.items() if (start := _like(initial.get(name), p)) is not None}
    initial_norms = dict(zip(starts, tensor_norms(list(starts.values())).tolist(), strict=True))
    differences = dict(_differences(named, starts))
    return [
        _Parameter(
            name=name,
            group=group,
            tensor=p,
            held_by=holders.get(id(p)),
            in_training_mode=id(p) not in evaluating,
            norm=norms[name],
            grad_norm=grad_norms.get(name),
            initial_norm=initial_norms.get(name),
            difference=differences.get(name),
        )
        for (name, p), group in zip(named.items(), group_names(list(named)), strict=True)
    ]


def _differences(named: Mapping[str, nn.Parameter], starts: Params) -> Iterator[tuple[str, float]]:
    """Yield the name of each parameter and its distance from its initial values, one at a time to save memory."""
    for name, start in starts.items():
        present = named[name].detach()
        moved = _on_device_of(start, present)
        norm = float(distance(present, moved))
        if norm == 0.0 and not hasattr(present, "to_local") and not torch.equal(present, moved):
            norm = math.ulp(0.0)  # the squares of tiny differences are rounded to 0
        yield name, norm


def named_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters with a norm by name: not those without a shape yet, and not those of integers."""
    return {
        name: p
        for name, p in module.named_parameters()
        if not nn.parameter.is_lazy(p) and (p.is_floating_point() or p.is_complex())
    }


def _like(start: Tensor | None, present: Tensor) -> Tensor | None:
    """Return the initial values; None if there are none, or if they have another shape."""
    if start is None or tuple(local_shard(start).shape) != tuple(local_shard(present).shape):
        return None
    return start.detach()


def _on_device_of(start: Tensor, present: Any) -> Tensor:
    """Return the initial values on the device of the present ones, and sharded as they are."""
    return sharded_as(present, local_shard(start).to(device=present.device, dtype=present.dtype))


def has_not_moved(parameter: Tensor, start: Tensor | None) -> bool:
    """Return whether the parameter has its initial values, or these are unknown or of another shape."""
    if start is None or _like(start, parameter) is None:
        return True
    return torch.equal(local_shard(parameter), local_shard(start).to(device=parameter.device, dtype=parameter.dtype))


def group_settings(host: Host) -> list[tuple[int, Mapping[str, Any]]]:
    """Return the index of the optimizer and the settings of each parameter group of all optimizers."""
    return [(i, group) for i, optimizer in enumerate(host.optimizers) for group in optimizer.param_groups]


def _holders(host: Host) -> dict[int, int]:
    """Return the index of the group that holds a parameter, by its `id`; of two groups, that with the larger rate."""
    holders: dict[int, int] = {}
    groups = group_settings(host)
    for index, (_, group) in enumerate(groups):
        for tensor in group["params"]:
            other = holders.get(id(tensor))
            if other is None or (_rate(group, "lr") or 0.0) > (_rate(groups[other][1], "lr") or 0.0):
                holders[id(tensor)] = index
    return holders


def _optimizer_groups(host: Host, names: Mapping[int, str]) -> tuple[OptimizerGroup, ...]:
    seen: Counter[int] = Counter()
    groups = []
    for optimizer, group in group_settings(host):
        labels = (names[id(tensor)] for tensor in group["params"] if id(tensor) in names)
        groups.append(
            OptimizerGroup(
                optimizer=optimizer,
                index=seen[optimizer],
                learning_rate=_rate(group, "lr"),
                base_rate=_rate(group, "initial_lr"),
                weight_decay=_rate(group, "weight_decay") or 0.0,
                parts=tuple(dict.fromkeys(labels)),
                scales_decay=scales_decay(host.optimizers[optimizer], group),
            )
        )
        seen[optimizer] += 1
    return tuple(groups)


def _rate(group: Mapping[str, Any], name: str) -> float | None:
    value = group.get(name)
    return None if value is None else float(value)


def _few_of_group(members: list[_Parameter], size: int) -> tuple[str, ...]:
    """Return the names of the parameters if they are a few of a group of this size; else nothing."""
    return tuple(p.name for p in members) if len(members) < size and len(members) <= FEW else ()


def _norm_of(members: list[_Parameter], norm: Callable[[_Parameter], float | None]) -> float | None:
    """Return the norm of all members together; None if that of one is unknown."""
    norms = [value for member in members if (value := norm(member)) is not None]
    return math.hypot(*norms) if len(norms) == len(members) else None


def _distance(members: list[_Parameter]) -> float | None:
    """Return |w − w₀|/|w₀| of all members together; inf if w₀ is 0 and they have moved, None if w₀ is unknown."""
    difference = _norm_of(members, lambda member: member.difference)
    start = _norm_of(members, lambda member: member.initial_norm)
    if difference is None or start is None:
        return None
    if difference == 0.0 or start == 0.0:
        return 0.0 if difference == 0.0 else math.inf
    return max(difference / start, math.ulp(0.0))
