"""Factors on the learning rate, by optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable


def cosine(steps: int) -> Callable[[int], float]:
    """Half a period of the cosine, from 1 to 0."""
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def triangle(period: int, low: float) -> Callable[[int], float]:
    """From `low` to 1 and back, in `period` steps."""
    return lambda step: 1 - (1 - low) * abs(2 * (step % period) / period - 1)
