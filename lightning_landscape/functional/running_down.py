"""Whether a loss without a known lowest value runs down without end, as one with the wrong sign does.

A loss that can be learned falls ever more slowly. That of a density may do so without end and far below zero. A loss
with the wrong sign falls ever faster: it grows with the outputs of the model, and so does its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from lightning_landscape.functional.trend import Block, fold, mean_loss

FAR = 30.0
"""fall from which on a loss has run far down, over the size of the first losses"""
OUT_OF_REACH = 1e4
"""fall from which on no loss can still be meant to fall, over the size of the first losses"""
STEADY = 0.9
"""least present fall of a step over the mean fall of all steps so far, for a loss that falls ever faster: 1 for a
straight line, 0.5 for a square root, and less for losses that come to rest"""


def fall_over_start(start: Block, first: float, blocks: Sequence[Block]) -> float:
    """Return the fall from the first losses to the latest ones, over the size of the first losses or their scatter."""
    scatter = sqrt(start.m2 / start.n)
    size = max(abs(start.mean), abs(first), scatter)
    fall = start.mean - mean_loss(blocks[-2:])
    return fall / size if size > 0 else 0.0


def runs_down(start: Block, first: float, blocks: Sequence[Block], count: int) -> bool:
    """Return whether the loss is `FAR` below its start and below zero, and falls no more slowly than ever.

    Args:
        start: the first losses.
        first: the very first loss.
        blocks: the latest losses, oldest first.
        count: number of all losses so far.
    """
    if len(blocks) < 8 or mean_loss(blocks[-2:]) >= 0 or fall_over_start(start, first, blocks) <= FAR:
        return False
    quarters = fold(blocks, 4)
    earlier, latest = quarters[0].mean - quarters[1].mean, quarters[2].mean - quarters[3].mean
    pace = latest / ((quarters[2].n + quarters[3].n) / 2)
    mean_pace = (start.mean - quarters[3].mean) / count
    return pace >= STEADY * mean_pace and latest >= STEADY * earlier
