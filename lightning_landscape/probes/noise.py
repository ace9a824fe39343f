"""How noisy the gradient is, from the gradients of a few batches."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import OverBudgetError, SurfaceError
from lightning_landscape.evidence import GradientNoise
from lightning_landscape.functional.noise import gradient_noise_terms
from lightning_landscape.functional.norms import global_norm
from lightning_landscape.surface import LossSurface

MOST = 8
"""batches that are compared; more make the estimate better only slowly, and each costs a gradient"""


def gradient_noise(surface: LossSurface) -> GradientNoise | None:
    """Signal and noise of the gradient here, from the gradients of up to 8 batches and their mean.

    None with fewer than two batches, where nobody knows how many samples they hold, where weights are sharded, and
    where the loss has no gradient.

    Raises:
        OverBudgetError: if the surface's `gradients` do not pay for two.
    """
    if surface.affordable(2) < 2:
        raise OverBudgetError(f"a noise scale takes 2 gradients, the budget leaves {surface.gradients}")
    parts = surface.parts[: surface.affordable(MOST)]
    sharded = any(hasattr(weight, "to_local") for weight in surface.here.values())
    if len(parts) < 2 or surface.batch_samples < 1 or sharded:
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
    samples = surface.batch_samples
    signal, noise = gradient_noise_terms(small, large, samples, samples * len(parts))
    return GradientNoise(signal, noise, len(parts), samples)
