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


def warm_up(steps: int) -> Callable[[int], float]:
    """Up to 1 in equal parts, and then 1."""
    return lambda step: min(1.0, (step + 1) / steps)


def polynomial(steps: int, power: float) -> Callable[[int], float]:
    """From 1 to 0 like a power of the steps that are left."""
    return lambda step: (1 - min(step, steps) / steps) ** power


def milestones(*steps: int) -> Callable[[int], float]:
    """A tenth of the rate from each of these steps on."""
    return lambda step: 0.1 ** sum(step >= milestone for milestone in steps)
