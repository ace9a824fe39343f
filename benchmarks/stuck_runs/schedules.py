"""Learning-rate schedules: functions from an optimizer step to a factor of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable


def cosine(steps: int) -> Callable[[int], float]:
    """Return a schedule that falls from 1 to 0 along half a period of the cosine."""
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))


def triangle(period: int, low: float) -> Callable[[int], float]:
    """Return a schedule that rises from `low` to 1 and falls back in every `period` steps."""
    return lambda step: 1 - (1 - low) * abs(2 * (step % period) / period - 1)


def warm_up(steps: int) -> Callable[[int], float]:
    """Return a schedule that rises linearly to 1, and stays there."""
    return lambda step: min(1.0, (step + 1) / steps)


def polynomial(steps: int, power: float) -> Callable[[int], float]:
    """Return a schedule that falls from 1 to 0 as a power of the share of steps that remain."""
    return lambda step: (1 - min(step, steps) / steps) ** power


def milestones(*steps: int) -> Callable[[int], float]:
    """Return a schedule that is divided by ten at each of these steps."""
    return lambda step: 0.1 ** sum(step >= milestone for milestone in steps)
