"""Random steps whose length is in proportion to the norm of the tensor."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def random_step(weight: Tensor, scale: float, generator: Generator) -> Tensor:
    """Return a step of norm ``scale * usual_norm(weight)`` in a random direction.

    It has the shape, dtype and device of the weight. It is drawn on the CPU, so that every device gets the same step.
    """
    dtype = weight.dtype if weight.is_complex() else torch.float32
    noise = torch.randn(weight.shape, dtype=dtype, generator=generator)
    return (noise * (scale * usual_norm(weight) / max(float(noise.norm()), 1e-30))).to(weight)


def usual_norm(weight: Tensor) -> float:
    """Return the norm of a tensor; for a matrix or kernel, at least its expected norm after PyTorch's initialisation.

    ``nn.Linear`` and ``nn.Conv2d`` draw their weights uniformly from ±1/√fan_in. Each weight then has the variance
    1/(3 fan_in), and all of them the squared norm fan_out/3.
    """
    norm = float(weight.detach().float().norm()) if not weight.is_complex() else float(weight.detach().norm())
    return norm if weight.ndim < 2 else max(norm, math.sqrt(weight.shape[0] / 3))
