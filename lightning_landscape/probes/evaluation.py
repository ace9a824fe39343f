"""The loss and its gradient at a point, and the numbers that several probes compute from them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_landscape.surface import LossSurface, Params


@torch.no_grad()
def loss_value(loss: Callable[[Params], Tensor], point: Params) -> float:
    """Return the loss at a point as a number."""
    return float(loss(point))


def gradient_at(loss: Callable[[Params], Tensor], point: Params) -> dict[str, Tensor]:
    """Return the gradient of the loss at a point by parameter; zero for parameters that the loss does not use."""
    leaves = {name: weight.detach().requires_grad_() for name, weight in point.items()}
    with torch.enable_grad():
        value = loss(leaves)
    gradient = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, gradient, strict=True))


def batch_loss(surface: LossSurface, index: int) -> Callable[[Params], Tensor]:
    """Return the loss on one batch, counting the batches in turn; `surface.loss` where it cannot be split."""
    return surface.batch_losses[index % len(surface.batch_losses)] if surface.batch_losses else surface.loss


def norm(params: Params) -> float:
    """Return the Euclidean norm of all parameters as one vector, accumulated in float32.

    >>> norm({"weight": torch.tensor([3.0]), "bias": torch.tensor([4.0])})
    5.0
    """
    return float(torch.stack([tensor.detach().float().norm() for tensor in params.values()]).norm())


def relative_gradient(gradient_norm: float, weight_norm: float, loss: float) -> float:
    """Return κ = |g|·max(|w|, 1)/|loss|, the relative change of the loss per relative step; inf for a loss of 0.

    `loss` is the height of the loss above its floor.

    >>> relative_gradient(gradient_norm=0.1, weight_norm=10.0, loss=2.0)
    0.5
    """
    return gradient_norm * max(weight_norm, 1.0) / abs(loss) if loss else math.inf


def relative_gain(before: float, after: float, scale: float | None = None) -> float:
    """Return the fall of the loss over a scale; 0 where the scale is 0, -inf where the fall is not finite.

    The scale is the height of the loss above its floor before the fall; None for its absolute value.

    >>> relative_gain(before=2.0, after=1.5)
    0.25
    >>> relative_gain(before=502.0, after=501.5, scale=2.0)
    0.25
    """
    scale = abs(before) if scale is None else scale
    gain = (before - after) / scale if scale else 0.0
    return gain if math.isfinite(gain) else -math.inf
