"""Rules for the beginning and the end of a plateau, and for losses that are flat without being a plateau.

A plateau is a stretch of steps for which a statistical test rules out a relevant fall of the loss. All rules work on
means over blocks of steps, `lightning_landscape.functional.trend.Block`. The *height* of a loss is its distance from a
*floor*, and all shares are shares of heights, so no decision depends on the unit of the loss or on a constant in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot, sqrt

from lightning_landscape.evidence import LossLevel, Trend
from lightning_landscape.evidence.trend import STANDARD_ERRORS
from lightning_landscape.functional.trend import COARSE, Block, fit_trend, fold

WINDOWS = ((10, 0.012), (20, 0.018), (40, 0.030))
"""number of blocks in each window (a block is 0.5% of the run), and the relevant fall over it, relative to the level"""
LONGEST = WINDOWS[-1][0]
"""blocks in the longest window"""
TOLERANCE = WINDOWS[-1][1]
"""relevant fall over the longest window, as a share of the level"""
SAME_LEVEL = 0.1
"""the loss has not grown where it is higher than its lowest level by less than this share of its height"""


def tolerance_over(share: float) -> float:
    """Return the relevant fall over a share of the run, relative to the level: the line through `WINDOWS`.

    >>> round(tolerance_over(0.05), 3), round(tolerance_over(0.2), 3)
    (0.012, 0.03)
    """
    return 0.006 + 0.12 * share


def examine(blocks: Sequence[Block], floor: float = 0.0) -> list[Trend]:
    """Return the trend over each of `WINDOWS` that the blocks fill, shortest first, all ending at the last block."""
    return [fit_trend(blocks[-count:], tolerance, floor) for count, tolerance in WINDOWS if count <= len(blocks)]


def stalled_windows(trends: Sequence[Trend], on_same_batches: Trend | None = None) -> list[int]:
    """Return the indices of the windows that seem to have stalled and are not overruled by a longer window.

    A longer window overrules a stalled one if the loss falls over the longer window. It also overrules it if only the
    longer window is precise enough to detect a relevant fall, and does not seem to have stalled. Where the loss clearly
    falls on the same batches, it has to have stalled by the stricter test.

    Args:
        trends: of the windows, shortest first.
        on_same_batches: the trend from earlier weights to later ones; None if it was not measured.
    """
    falls = on_same_batches is not None and on_same_batches.falling
    return [
        index
        for index, trend in enumerate(trends)
        if (trend.stalled if falls else trend.seems_stalled)
        and not any(_overrules(longer, trend) for longer in trends[index + 1 :])
    ]


def _overrules(longer: Trend, trend: Trend) -> bool:
    return longer.falling or (longer.powered and not longer.seems_stalled and not trend.powered)


def mean_error(trend: Trend) -> float:
    """Return half the width of the confidence interval for the mean loss in the window, in units of the loss.

    `Trend.margin` is half the width for the fall over the window. For n independent losses of variance σ², the fall of
    a fitted line has variance 12σ²/n, and their mean has σ²/n.
    """
    return trend.margin / sqrt(12)


def rise_since_start(start: Block, now: float, latest: Trend, steps: int, floor: float = 0.0) -> Trend | None:
    """Return the change from the first losses to the latest window if it is a significant rise, else None.

    A loss may be so noisy that no trend within a window can be seen, and still lie clearly above its start. The first
    losses are too few to estimate the autocorrelation of their noise. The error of their mean is therefore scaled from
    that of the latest window, in proportion to the height of the loss above its floor.

    Args:
        start: the first losses of the run.
        now: mean loss of the latest window.
        latest: the trend in that window.
        steps: length of the run so far, in optimizer steps.
        floor: the loss from which heights are measured.
    """
    if now <= start.mean or latest.level == 0:
        return None
    scatter = STANDARD_ERRORS * sqrt(start.m2) / start.n
    proportional = mean_error(latest) * sqrt(latest.window / start.n) * abs(start.mean - floor) / latest.level
    margin = hypot(max(scatter, proportional), mean_error(latest))
    rise = Trend(steps, abs(now - floor), start.mean - now, margin, TOLERANCE, floor=floor)
    return rise if rise.largest_fall < 0 else None


def has_ended(
    trends: Sequence[Trend], now: float, rise: Trend | None, level: float, error: float, floor: float = 0.0
) -> bool:
    """Return whether a plateau is over: the loss falls significantly, or is significantly more than 3% below its level.

    In a noisy run a single window shows a fall by chance every now and then. The loss therefore counts as falling only
    if it falls over more than half of the windows and has stalled over none. While it lies significantly above the
    start of the run, it must fall over the longest of at least two windows.

    Args:
        trends: of all windows, shortest first.
        now: mean loss of the shortest window.
        rise: of the loss since the start of the run; None if it is not significant.
        level: mean loss at the beginning of the plateau.
        error: half the width of the confidence interval for `level`.
        floor: the loss from which heights are measured.
    """
    if rise is not None:
        return len(trends) > 1 and trends[-1].falling
    falling = sum(trend.falling for trend in trends)
    if 2 * falling > len(trends) and not any(trend.seems_stalled for trend in trends):
        return True
    return now + hypot(error, mean_error(trends[0])) < level - TOLERANCE * abs(level - floor)


def has_shifted_up(blocks: Sequence[Block], floor: float = 0.0) -> bool:
    """Return whether the loss has jumped: at some cut, all later means exceed all earlier ones, by 30% on average.

    A jump comes from a change of the data or the loss, and is not a trend.
    """
    means = [block.mean for block in fold(blocks, COARSE)]
    for cut in range(1, len(means)):
        earlier, later = means[:cut], means[cut:]
        before = sum(earlier) / len(earlier)
        if min(later) > max(earlier) and sum(later) / len(later) - before > 0.3 * abs(before - floor):
            return True
    return False


def reason_to_hold(
    blocks: Sequence[Block], sizes: Sequence[int], learning_rates: Sequence[float], level: LossLevel
) -> str | None:
    """Return why a loss that has stalled is no plateau; None if it is one.

    Args:
        blocks: the latest losses, oldest first.
        sizes: numbers of blocks in the windows in which the loss has stalled.
        learning_rates: of the blocks of the shortest window, and of the one before it.
        level: levels of the loss.
    """
    if learning_rates[-1] > 1.2 * learning_rates[0]:
        return "learning-rate warm-up"
    if level.solved:
        return "solved"
    below_start = level.now < level.start - 0.03 * (level.start - level.floor)
    if below_start and all(has_shifted_up(blocks[-size:], level.floor) for size in sizes):
        return "level shift"
    return None


def is_far_above(start: Block, now: float, floor: float = 0.0) -> bool:
    """Return whether the loss has risen by more than twice its start, or, near its floor, twice the scatter there."""
    return now - start.mean > 2 * _size(start, floor)


def _size(start: Block, floor: float) -> float:
    return max(abs(start.mean - floor), sqrt(start.m2 / start.n))


def is_lost(start: Block, recent: Sequence[Block], floor: float = 0.0) -> bool:
    """Return whether a loss far above its start will not recover: it grows over 8 blocks, or is out of reach."""
    return is_out_of_reach(start, recent[-2:], floor) or (len(recent) == 8 and is_growing(recent, floor))


def is_out_of_reach(start: Block, latest: Sequence[Block], floor: float = 0.0) -> bool:
    """Return whether the loss of each block exceeds its start 10,000-fold, from which a run does not recover."""
    return all(block.mean - start.mean > 1e4 * _size(start, floor) for block in latest)


def growth_began(blocks: Sequence[Block], floor: float = 0.0) -> int:
    """Return the index of the first block of the growth of a loss: it and all later ones lie above the level before.

    That level is the lowest block, with a margin of 10% of its height and of five standard errors of its mean.

    Args:
        blocks: the latest losses, oldest first, of which the last ones are far above the lowest.
        floor: the loss from which heights are measured.
    """
    lowest = min(range(len(blocks)), key=lambda i: blocks[i].mean)
    low, before = blocks[lowest], blocks[: lowest + 1]
    pairs = sum(block.pairs for block in before)
    error = sqrt(sum(block.d2 for block in before) / (2 * pairs * low.n)) if pairs else 0.0
    level = low.mean + SAME_LEVEL * abs(low.mean - floor) + 2 * STANDARD_ERRORS * error
    return 1 + max(i for i, block in enumerate(blocks) if block.mean <= level)


def is_growing(blocks: Sequence[Block], floor: float = 0.0) -> bool:
    """Return whether the loss grows by 10% from each quarter of the blocks to the next, and by more than its noise."""
    quarters = fold(blocks, 4)
    first, last = quarters[0], quarters[-1]
    steady = all(b.mean - a.mean > 0.1 * abs(a.mean - floor) for a, b in pairwise(quarters))
    error = sqrt(first.m2 / (first.n * first.n) + last.m2 / (last.n * last.n))
    return steady and len(quarters) == 4 and last.mean - first.mean > STANDARD_ERRORS * error
