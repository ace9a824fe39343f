"""Where a loss stood still, told from the whole run: what came later shows how far it could still fall.

While a run goes on, the lowest loss that it can reach is unknown, and noise may hide for a long time whether the loss
falls. Afterwards, the later losses show a lower level, and windows can be as long as the run.
"""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.evidence import Trend
from lightning_landscape.functional.plateau import mean_error, tolerance_over
from lightning_landscape.functional.trend import Block, fit_trend, mean_loss

LEAST = 0.15
"""share of the run for which a loss must stand still"""
HIGH = 0.15
"""share of the way from the start to the later low that must be left while it stands still"""
SLIGHT, FASTER = 0.15, 3.0
"""largest fall in the window, as a share of the way to the later low, and how many times as far the loss went later"""
LOW_OVER = 10
"""number of blocks over which a later low is averaged, since a single one may be low by chance"""
FEWEST_BLOCKS = 5
"""fewest blocks in a window"""
LONG_SHARES = (0.2, 0.4, 0.8)
"""lengths of the windows at the end of a run, as shares of it"""


def stood_still(blocks: Sequence[Block], run: int, start: float) -> list[tuple[int, int]]:
    """Return the stretches in which the loss stood still and after which it fell, as [first, end) of blocks.

    In a window of `LEAST` of the run, the loss must have fallen by less than `SLIGHT` of the way that it went later,
    even at the upper end of the error bar, and it must have gone `FASTER` times as far in a later window of the same
    length. A loss that falls steadily, or ever more slowly, has no such stretch.

    Args:
        blocks: all blocks of the run so far, in order.
        run: number of blocks in the whole run.
        start: mean loss at the start of the run.
    """
    size = max(3, round(LEAST * run))
    lows, drops = _later_lows(blocks), _later_drops(blocks, size)
    found: list[tuple[int, int]] = []
    for first in range(len(blocks) - size):
        end = first + size
        window, low = blocks[first:end], lows[end]
        if low is None:
            break
        trend = fit_trend(window, SLIGHT, low)
        level = mean_loss(window) - low
        if level <= HIGH * (max(start, mean_loss(window)) - low) or trend.largest_fall >= SLIGHT * level:
            continue
        if drops[first] < FASTER * max(trend.largest_fall, SLIGHT * level / FASTER):
            continue
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return found


def _later_drops(blocks: Sequence[Block], size: int) -> list[float]:
    """Return, for each block, the largest fall from one window of this many blocks to the next one, from it on.

    The falls are the lower ends of their confidence intervals, since the largest of many may be large by chance.
    """
    windows = [fit_trend(blocks[i : i + size], SLIGHT) for i in range(len(blocks) - size + 1)]
    means = [mean_loss(blocks[i : i + size]) for i in range(len(windows))]
    drops = [0.0] * len(blocks)
    for i in range(len(windows) - size - 1, -1, -1):
        # The trend within a window widens its error bar, but not the difference of two means.
        error = min(mean_error(windows[i]), mean_error(windows[i + size]))
        drops[i] = max(drops[i + 1], means[i] - means[i + size] - 2 * error)
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
