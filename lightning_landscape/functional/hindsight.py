"""Where a loss stood still, told from the whole run: what came later shows how far it could still fall.

While a run goes on, the lowest loss that it can reach is unknown, and noise may hide for a long time whether the loss
falls. Afterwards, the later losses show a lower level, and windows can be as long as the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot

from lightning_landscape.evidence import Trend
from lightning_landscape.functional.plateau import mean_error, tolerance_over
from lightning_landscape.functional.trend import Block, fit_trend, mean_loss

LEAST = 0.15
"""share of the run for which a loss must stand still"""
HIGH = 0.15
"""share of the way from the start to the later low that must be left while it stands still"""
SLIGHT, FASTER = 0.15, 3.0
"""largest fall in the window, as a share of the way to the later low, and how many times as far the loss went later"""
SLIGHT_AT_MOST, LENGTHS = 0.35, (1, 2, 4)
"""the former for long windows, whose lengths are these multiples of `LEAST`"""
OF_MANY = 1.5
"""factor of the error bar of a fall that is the largest of many, some of which are large by chance"""
LOW_OVER = 10
"""number of blocks over which a later low is averaged, since a single one may be low by chance"""
FEWEST_BLOCKS = 5
"""fewest blocks in a window"""
LONG_SHARES = (0.2, 0.4, 0.8)
"""lengths of the windows at the end of a run, as shares of it"""


def stood_still(blocks: Sequence[Block], run: int, start: float) -> list[tuple[int, int]]:
    """Return the stretches in which the loss stood still and after which it fell, as [first, end) of blocks.

    In a window of `LEAST` of the run, the loss must have fallen by less than `SLIGHT` of the way that it went later,
    even at the upper end of the error bar, and later it must have fallen `FASTER` times as fast for as long. Where the
    noise is large beside that, windows of two and four times this length are tried. A loss that falls steadily, or
    ever more slowly, has no such stretch.

    Args:
        blocks: all blocks of the run so far, in order.
        run: number of blocks in the whole run.
        start: mean loss at the start of the run.
    """
    size = max(3, round(LEAST * run))
    lows, drops = _later_lows(blocks), _later_drops(blocks, size)
    still, precise = [False] * len(blocks), [False] * len(blocks)
    for times in LENGTHS:
        for first in range(len(blocks) - times * size):
            end = first + times * size
            low, mean = lows[end], mean_loss(blocks[first:end])
            if low is None or mean - low <= HIGH * (max(start, mean) - low):
                continue
            if times > 1 and any(precise[first:end:size]):
                continue
            trend = fit_trend(blocks[first:end], SLIGHT, low)
            fall = trend.largest_fall
            precise[first] = precise[first] or trend.margin < SLIGHT * (mean - low) / 2
            slight = fall < min(SLIGHT * times, SLIGHT_AT_MOST) * (mean - low)
            if slight and drops[end] >= max(FASTER * fall / times, SLIGHT * (mean - low)):
                still[first:end] = [True] * (end - first)
    edges = [0, *(i for i in range(1, len(still)) if still[i] != still[i - 1]), len(still)]
    return [(first, end) for first, end in pairwise(edges) if first < end and still[first]]


def _later_drops(blocks: Sequence[Block], size: int) -> list[float]:
    """Return, for each block, the largest fall within this many blocks from it on.

    The falls are the lower ends of their confidence intervals, since the largest of many may be large by chance.
    """
    windows = [fit_trend(blocks[i : i + FEWEST_BLOCKS], SLIGHT) for i in range(len(blocks) - FEWEST_BLOCKS + 1)]
    means = [mean_loss(blocks[i : i + FEWEST_BLOCKS]) for i in range(len(windows))]
    errors = [mean_error(window) for window in windows]
    drops = [0.0] * (len(blocks) + 1)
    for i in range(len(windows) - 1, -1, -1):
        later = range(i + FEWEST_BLOCKS, min(len(windows), i + size))
        falls = (means[i] - means[j] - OF_MANY * hypot(errors[i], errors[j]) for j in later)
        drops[i] = max(drops[i + 1], max(falls, default=0.0))
    return drops


def long_trends(blocks: Sequence[Block], run: int, floor: float) -> list[Trend]:
    """Return the trends over long windows that all end at the last block, the longest last."""
    sizes = [round(share * run) for share in LONG_SHARES]
    return [
        fit_trend(blocks[-size:], tolerance_over(size / run), floor)
        for size in sizes
        if FEWEST_BLOCKS <= size <= len(blocks)
    ]


def _later_lows(blocks: Sequence[Block]) -> list[float | None]:
    """Return, for each block, the lowest mean over `LOW_OVER` blocks from it on; None where there are fewer."""
    lows: list[float | None] = [None] * (len(blocks) + 1)
    for i in range(len(blocks) - LOW_OVER, -1, -1):
        here, later = mean_loss(blocks[i : i + LOW_OVER]), lows[i + 1]
        lows[i] = here if later is None else min(here, later)
    return lows
