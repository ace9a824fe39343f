"""Whether a loss without a known lowest value runs down without end, as one with the wrong sign does.

A loss that can be learned falls ever more slowly. That of a density may do so without end and far below zero. A loss
with the wrong sign falls ever faster: it grows with the outputs of the model, and so does its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

from lightning_landscape.functional.trend import Block, fold, mean_loss

FAR = 15.0
"""fall from which on a loss has run far down, over its size at the start"""
OUT_OF_REACH = 1e4
"""fall from which on no loss can still do what it is meant to, over its size at the start"""
STEADY = 0.9
"""least present fall of a step over the mean fall of all steps so far, for a loss that falls ever faster: 1 for a
straight line, 0.5 for a square root, and less for losses that come to rest"""


def fall_over_size(start: Block, slope: float | None, blocks: Sequence[Block]) -> float:
    """Return the fall from the first losses to the latest ones, over the size of the loss at the start.

    That is the largest of their mean, their scatter and `slope`. A loss that is a difference, such as that of a critic,
    begins near zero by chance, but not with a small slope.

    Args:
        start: the first losses.
        slope: change of the loss by a first update as long as the weights; None if unknown, and 0 is returned.
        blocks: the latest losses, oldest first.
    """
    size = max(abs(start.mean), sqrt(start.m2 / start.n), slope or 0.0)
    return 0.0 if slope is None or size == 0 else (start.mean - mean_loss(blocks[-2:])) / size


def runs_down(start: Block, slope: float | None, blocks: Sequence[Block], count: int) -> bool:
    """Return whether the loss is `FAR` below its start and below zero, and falls no more slowly than ever.

    Args:
        start: the first losses.
        slope: change of the loss by a first update as long as the weights; None if it is unknown.
        blocks: the latest losses, oldest first.
        count: number of all losses so far.
    """
    if len(blocks) < 8 or mean_loss(blocks[-2:]) >= 0 or fall_over_size(start, slope, blocks) <= FAR:
        return False
    quarters = fold(blocks, 4)
    earlier, latest = quarters[0].mean - quarters[1].mean, quarters[2].mean - quarters[3].mean
    pace = latest / ((quarters[2].n + quarters[3].n) / 2)
    mean_pace = (start.mean - quarters[3].mean) / count
    return pace >= STEADY * mean_pace and latest >= STEADY * earlier
