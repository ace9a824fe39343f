"""The noise of the gradient, from the gradients of several batches."""

from __future__ import annotations

import torch
from torch import Tensor

from lightning_landscape.errors import SurfaceError
from lightning_landscape.evidence import GradientNoise
from lightning_landscape.functional.noise import gradient_noise_terms
from lightning_landscape.functional.norms import global_norm
from lightning_landscape.probes.evaluation import gradient_at
from lightning_landscape.surface import LossSurface, costs, several_copies

MAX_BATCHES = 8
"""number of batches to compare; each costs a gradient, and more improve the estimate only slowly"""


@several_copies
@costs(lambda surface: float(_compared_batches(surface)))
def gradient_noise(surface: LossSurface) -> GradientNoise | None:
    """Return estimates of the gradient's signal and noise, from the gradients of up to 8 batches and their mean.

    None with fewer than two batches, where the number of samples in them is unknown, where weights are sharded over
    ranks, and where the loss has no gradient.
    """
    batches = surface.batch_losses[: _compared_batches(surface)]
    sharded = any(hasattr(weight, "to_local") for weight in surface.here.values())
    if len(batches) < 2 or surface.run.batch_samples < 1 or sharded:
        return None
    total = [torch.zeros_like(weight, requires_grad=False) for weight in surface.here.values()]
    squares: list[Tensor] = []
    for batch_loss in batches:
        try:
            gradient = list(gradient_at(batch_loss, surface.here).values())
        except SurfaceError:  # Manual steps that change the weights have no gradient; that is no fault of the run.
            return None
        squares.append(global_norm(gradient).double() ** 2)
        torch._foreach_add_(total, gradient)
    small = float(torch.stack(squares).mean()) ** 0.5
    large = float(global_norm(total)) / len(batches)
    samples = surface.run.batch_samples
    signal, noise = gradient_noise_terms(small, large, samples, samples * len(batches))
    return GradientNoise(signal, noise, len(batches), samples)


def _compared_batches(surface: LossSurface) -> int:
    """Return the number of batches to compare: as many as the gradient budget allows, but at least two."""
    return min(len(surface.batch_losses), max(2, surface.steps_within_budget(MAX_BATCHES)))
