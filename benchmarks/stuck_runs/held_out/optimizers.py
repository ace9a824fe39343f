"""Gradient descent with additions that can undo or skip every step."""

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
        """Take a step, and return the closure's loss, or None without a closure."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                self.move(group)
        return loss

    def move(self, group: dict) -> None:
        """Move the weights of a parameter group along the negative gradient."""
        for weight in group["params"]:
            if weight.grad is not None:
                weight.sub_(weight.grad, alpha=group["lr"])


class Lookahead(Descent):
    """Gradient descent whose weights return, every five steps, to slow weights that follow by a share [Zhang19]_.

    .. [Zhang19] Lookahead optimizer: k steps forward, 1 step back, arXiv:1907.08610.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, share: float) -> None:
        super().__init__(parameters, lr, share=share)
        self.taken, self.slow = 0, [[w.detach().clone() for w in group["params"]] for group in self.param_groups]

    def move(self, group: dict) -> None:
        """Take a step; every fifth time, update the slow weights and set the weights to them."""
        super().move(group)
        self.taken += 1
        if self.taken % 5 == 0:
            for weight, slow in zip(group["params"], self.slow[self.param_groups.index(group)], strict=True):
                slow.lerp_(weight, group["share"])
                weight.copy_(slow)


class Guarded(Descent):
    """Gradient descent that skips a batch, as an outlier, if its gradient norm exceeds a limit."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, limit: float) -> None:
        super().__init__(parameters, lr, limit=limit)

    def move(self, group: dict) -> None:
        """Take a step if the gradient norm is at most the limit."""
        gradients = [weight.grad for weight in group["params"] if weight.grad is not None]
        if nn.utils.get_total_norm(gradients) <= group["limit"]:
            super().move(group)
