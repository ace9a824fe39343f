"""Random steps whose length suits the tensor that they move."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor


def random_step(weight: Tensor, scale: float, generator: Generator) -> Tensor:
    """A step in a random direction, `scale` times `usual_norm` long, in the shape, type and device of the weight.

    It is drawn on the CPU, so that it is the same on every device.
    """
    kind = weight.dtype if weight.is_complex() else torch.float32
    noise = torch.randn(weight.shape, dtype=kind, generator=generator)
    return (noise * (scale * usual_norm(weight) / max(float(noise.norm()), 1e-30))).to(weight)


def usual_norm(weight: Tensor) -> float:
    """The norm of a tensor; of a matrix or a kernel, at least what torch's own initialisation would give it.

    ``nn.Linear`` and ``nn.Conv2d`` draw from ±1/√fan_in: a variance of 1/(3 fan_in), a squared norm of fan_out/3.
    """
    norm = float(weight.detach().float().norm()) if not weight.is_complex() else float(weight.detach().norm())
    return norm if weight.ndim < 2 else max(norm, math.sqrt(weight.shape[0] / 3))
