"""How noisy the gradient is, from the gradients of a few batches."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import SurfaceError
from lightning_landscape.evidence import GradientNoise
from lightning_landscape.functional.noise import gradient_noise_terms
from lightning_landscape.functional.norms import global_norm
from lightning_landscape.surface import LossSurface, costs

MOST = 8
"""batches that are compared; more make the estimate better only slowly, and each costs a gradient"""


@costs(lambda surface: float(_compared(surface)))
def gradient_noise(surface: LossSurface) -> GradientNoise | None:
    """Signal and noise of the gradient here, from the gradients of up to 8 batches and their mean.

    None with fewer than two batches, where it is unknown how many samples they hold, where weights are sharded, and
    where the loss has no gradient.
    """
    parts = surface.batch_losses[: _compared(surface)]
    sharded = any(hasattr(weight, "to_local") for weight in surface.here.values())
    if len(parts) < 2 or surface.run.batch_samples < 1 or sharded:
        return None
    weights = [weight.detach().requires_grad_() for weight in surface.here.values()]
    point = dict(zip(surface.here, weights, strict=True))
    total = [torch.zeros_like(weight, requires_grad=False) for weight in weights]
    squares: list[Tensor] = []
    for part in parts:
        try:
            with torch.enable_grad():
                loss = part(point)
        except SurfaceError:  # a step that moves its weights by itself; no reason to speak up in a healthy run
            return None
        gradient = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        squares.append(global_norm(gradient).double() ** 2)
        torch._foreach_add_(total, gradient)
    small = float(torch.stack(squares).mean()) ** 0.5
    large = float(global_norm(total)) / len(parts)
    samples = surface.run.batch_samples
    signal, noise = gradient_noise_terms(small, large, samples, samples * len(parts))
    return GradientNoise(signal, noise, len(parts), samples)


def _compared(surface: LossSurface) -> int:
    """How many batches are compared: as many as the surface's `gradients` pay for, and at least two."""
    return min(len(surface.batch_losses), max(2, surface.steps_within_budget(MOST)))
