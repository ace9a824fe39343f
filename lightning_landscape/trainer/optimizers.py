"""The parameters of an optimizer, their number, and its learning rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    """Return the parameters of the optimizer, each once, without lazy parameters that have no shape yet."""
    parameters = (p for group in optimizer.param_groups for p in group["params"] if not nn.parameter.is_lazy(p))
    return list({id(p): p for p in parameters}.values())


def count_parameters(optimizer: Optimizer) -> int:
    """Return the number of parameter tensors with a shape; one that is in two groups counts twice."""
    return sum(not nn.parameter.is_lazy(p) for group in optimizer.param_groups for p in group["params"])


def learning_rate_of(optimizer: Optimizer) -> float | Tensor:
    """Return the largest present learning rate of the groups; a tensor where reading it would wait for the device."""
    largest = 0.0
    for group in optimizer.param_groups:
        rate = group.get("lr", 0.0)
        if isinstance(rate, Tensor):  # a capturable optimizer
            rates = [torch.as_tensor(group.get("lr", 0.0), device=rate.device) for group in optimizer.param_groups]
            return torch.stack([rate.reshape(()) for rate in rates]).max()
        if rate > largest:
            largest = float(rate)
    return largest
