"""The learning curve of a run, in a few hundred numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

POINTS = 400
"""most points of a curve"""
BLOCKS, SMOOTHED, REMAINING = 100, 3, 0.05
"""see `flat_from`"""


@dataclass(frozen=True)
class Curve:
    """The mean, the lowest and the highest loss of blocks of steps; None where it is not finite."""

    steps: list[int]
    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]

    @classmethod
    def of(cls, losses: Sequence[float]) -> Curve:
        """Return the curve of these losses, one for each step."""
        blocks = np.array_split(np.array(losses, dtype=float), min(POINTS, len(losses))) if losses else []
        ends = np.cumsum([len(block) for block in blocks])
        values = [[_finite(part(block)) for block in blocks] for part in (np.mean, np.min, np.max)]
        return cls([int(end) for end in ends], *values)


def _finite(value: float) -> float | None:
    return float(f"{value:.6g}") if math.isfinite(value) else None


def flat_from(losses: Sequence[float]) -> int:
    """Return the first step from which on the loss never falls by more than 5% of all that it has fallen.

    The losses are averaged over hundredths of the run, and over three of them at a time.

    >>> flat_from([100.0 - step for step in range(100)] + [0.5] * 900)
    80
    """
    if len(losses) < BLOCKS:
        return 0
    means = [float(block.mean()) for block in np.array_split(np.array(losses, dtype=float), BLOCKS)]
    smooth = np.convolve(means, np.ones(SMOOTHED) / SMOOTHED, mode="valid")
    later = np.minimum.accumulate(smooth[::-1])[::-1]
    allowed = REMAINING * (max(means[0], smooth[0]) - np.nanmin(smooth))
    still_falls = np.flatnonzero(~(smooth - later <= allowed))
    first = int(still_falls[-1]) + 1 if still_falls.size else 0
    return round(first * len(losses) / BLOCKS)
