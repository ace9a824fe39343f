"""Gradient descent with a layer of cleverness around it that takes every step back."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Descent(Optimizer):
    """Plain gradient descent, whose steps a subclass may alter."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, **settings: float) -> None:
        super().__init__(parameters, {"lr": lr, **settings})

    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self.move(group)
        return loss

    def move(self, group: dict) -> None:
        """Downhill."""
        for weight in group["params"]:
            if weight.grad is not None:
                weight.sub_(weight.grad, alpha=group["lr"])


class Lookahead(Descent):
    """Every five steps the weights are drawn a share of the way from where they were [Zhang19]_.

    .. [Zhang19] Lookahead optimizer: k steps forward, 1 step back, arXiv:1907.08610.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, share: float) -> None:
        super().__init__(parameters, lr, share=share)
        self.taken, self.slow = 0, [[w.detach().clone() for w in group["params"]] for group in self.param_groups]

    def move(self, group: dict) -> None:
        """Downhill, and every fifth time back to the slow weights."""
        super().move(group)
        self.taken += 1
        if self.taken % 5 == 0:
            for weight, slow in zip(group["params"], self.slow[self.param_groups.index(group)], strict=True):
                slow.lerp_(weight, group["share"])
                weight.copy_(slow)


class Guarded(Descent):
    """Batches whose gradient is longer than a limit are left out as outliers."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, limit: float) -> None:
        super().__init__(parameters, lr, limit=limit)

    def move(self, group: dict) -> None:
        """Downhill, unless it is too steep."""
        gradients = [weight.grad for weight in group["params"] if weight.grad is not None]
        if nn.utils.get_total_norm(gradients) <= group["limit"]:
            super().move(group)
