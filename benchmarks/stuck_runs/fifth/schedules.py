"""Schedules of the learning rate of the split `fifth`: functions from an optimizer step to a factor."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.stuck_runs.schedules import cosine


def linear_after_warm_up(rise: int, steps: int, least: float = 0.01) -> Callable[[int], float]:
    """Return a schedule that rises linearly to 1, and falls linearly to `least` at the last of these steps."""
    return lambda step: (step + 1) / rise if step < rise else max(least, (steps - step) / (steps - rise))


def one_cycle(steps: int, rise: float = 0.25) -> Callable[[int], float]:
    """Return a schedule that rises along a cosine from a 25th to 1 in a part of the steps, and falls along another."""
    peak = int(rise * steps)
    up, down = cosine(peak), cosine(steps - peak)
    return lambda step: 1 - 0.96 * up(step) if step < peak else 1e-4 + down(step - peak)


def restarts(period: int) -> Callable[[int], float]:
    """Return a schedule that falls from 1 to 0 along a cosine in every period."""
    falls = cosine(period)
    return lambda step: falls(step % period)


def raised(step: int, factor: float) -> Callable[[int], float]:
    """Return a schedule that is multiplied by a factor from this step on."""
    return lambda now: factor if now >= step else 1.0
