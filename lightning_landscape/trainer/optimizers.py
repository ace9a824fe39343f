"""The parameters of an optimizer, their number, and its learning rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape.trainer.host import Host

NAMED = 3
"""most parts of the module by which an optimizer is named"""


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters of the optimizer, each once, without lazy parameters that have no shape yet."""
    parameters = (p for group in optimizer.param_groups for p in group["params"] if not nn.parameter.is_lazy(p))
    return list({id(p): p for p in parameters}.values())


def count_parameters(optimizer: Optimizer) -> int:
    """Return the number of parameter tensors with a shape; one that is in two groups counts twice."""
    return sum(not nn.parameter.is_lazy(p) for group in optimizer.param_groups for p in group["params"])


def learning_rate_of(optimizer: Optimizer) -> float | Tensor | None:
    """Return the largest present learning rate of the groups; a tensor where reading it would wait for the device.

    None if no group has one: some optimizers find their step size themselves, and others call it by another name.
    """
    largest: float | None = None
    for group in optimizer.param_groups:
        rate = group.get("lr")
        if isinstance(rate, Tensor):  # a capturable optimizer
            rates = [torch.as_tensor(group.get("lr") or 0.0, device=rate.device) for group in optimizer.param_groups]
            return torch.stack([rate.reshape(()) for rate in rates]).max()
        if rate is not None and (largest is None or rate > largest):
            largest = float(rate)
    return largest


def known_optimizers(host: Host) -> list[dict[str, Any]]:
    """Return the networks that each optimizer trains, its class, and whether a scheduler sets its learning rate."""
    names = {id(p): name for name, p in host.module.named_parameters()}
    scheduled = {id(getattr(config.scheduler, "optimizer", None)) for config in host.scheduler_configs}
    return [
        {
            "networks": networks_of([names[id(p)] for p in parameters_of(optimizer) if id(p) in names]),
            "kind": type(optimizer).__name__,
            "scheduled": id(optimizer) in scheduled,
        }
        for optimizer in host.optimizers
    ]


def networks_of(names: list[str]) -> tuple[str, ...]:
    """Return what to call the parameters with these names together: the module that they share, or a few modules.

    >>> networks_of(["gan.generator.0.weight", "gan.generator.2.bias"])
    ('gan.generator',)
    >>> networks_of(["to_horse.weight", "to_zebra.weight", "to_zebra.bias"])
    ('to_horse', 'to_zebra')
    """
    paths = [name.split(".")[:-1] or [name] for name in names]
    shared = 0
    while paths and all(len(path) > shared and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    if shared:
        return (".".join(paths[0][:shared]),)
    distinct = [*dict.fromkeys(path[0] for path in paths)]
    rest = [f"{len(distinct) - NAMED + 1} more"] if len(distinct) > NAMED else []
    return (*distinct[: NAMED - len(rest)], *rest)
