"""Whether a linear regression on the inputs predicts targets that it has not seen."""

from __future__ import annotations

import torch
from torch import Tensor

MIN_SAMPLES = 24
"""of fewer samples, a regression that is scored on the one left out says little"""
PENALTIES = (0.01, 0.1, 1.0, 10.0)
"""ridge penalties that are tried, in units of the mean eigenvalue of the inputs' Gram matrix"""
SHUFFLES = 49
"""how often the targets are exchanged between samples to find what chance explains, at the level of 1 in 50"""
SEED = 0


def explained_when_left_out(inputs: Tensor, targets: Tensor) -> tuple[float, float] | None:
    """Return the share of the targets' variance that a ridge regression explains of samples left out, and by chance.

    Each sample is predicted by a regression on all others (leave-one-out, in closed form [Allen74]_). The best of a few
    penalties counts. The second number is the largest share in 49 repetitions with targets that are exchanged between
    the samples. Below 0, the mean of the targets predicts better. None for fewer than 24 different inputs, for targets
    that are all the same, and where a value is not finite.

    .. [Allen74] The relationship between variable selection and data augmentation and a method for prediction,
       Technometrics 16(1).

    >>> inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    >>> share, chance = explained_when_left_out(inputs, inputs[:, :1] + inputs[:, 1:2])
    >>> share > 0.99 > chance
    True

    Args:
        inputs: shape (samples, features). Of samples with equal inputs only one counts.
        targets: shape (samples, units).
    """
    inputs, targets = inputs.double(), targets.double()
    if not bool(inputs.isfinite().all()) or not bool(targets.isfinite().all()):
        return None
    generator = torch.Generator().manual_seed(SEED)
    kept = _different(inputs, generator)
    inputs, targets = _standardized(inputs[kept]), _standardized(targets[kept])
    samples = len(kept)
    if samples < MIN_SAMPLES or not inputs.shape[1] or not targets.shape[1]:
        return None
    sizes, directions = torch.linalg.eigh(inputs @ inputs.T)
    sizes = sizes.clamp(min=0)
    orders = [torch.randperm(samples, generator=generator) for _ in range(SHUFFLES)]
    every = torch.stack([targets, *(targets[order] for order in orders)])
    without_inputs = (samples / (samples - 1)) ** 2 * every[0].square().sum()
    shares = []
    for penalty in PENALTIES:
        kept_shares = sizes / (sizes + penalty * sizes.mean())
        own_weight = 1 / samples + directions.square() @ kept_shares
        fitted = directions @ (kept_shares[:, None] * (directions.T @ every))
        left_out = (every - fitted) / (1 - own_weight).clamp(min=1e-6)[:, None]
        shares.append(1 - left_out.square().sum((1, 2)) / without_inputs)
    best = torch.stack(shares).amax(0)
    return float(best[0]), float(best[1:].max())


def _different(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Return the positions of samples whose inputs differ, one for each input, in order."""
    marks = inputs @ torch.randn(inputs.shape[1], generator=generator, dtype=inputs.dtype)
    seen: dict[float, int] = {}
    for i, mark in enumerate(marks.tolist()):
        seen.setdefault(mark, i)
    return torch.tensor(sorted(seen.values()), dtype=torch.long)


def _standardized(columns: Tensor) -> Tensor:
    """Return the columns that vary, each with mean 0 and mean square 1."""
    if not len(columns):
        return columns[:, :0]
    centred = columns - columns.mean(0)
    scale = centred.square().mean(0).sqrt()
    varies = scale > 1e-9 * columns.abs().amax(0)
    return centred[:, varies] / scale[varies]
