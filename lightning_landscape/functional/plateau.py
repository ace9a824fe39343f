"""Where does a plateau begin, where does it end, and when is a flat loss none?

Every function decides on the blocks of `lightning_landscape.functional.trend`, and none depends on the loss's unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import hypot, sqrt

from lightning_landscape.evidence import Trend
from lightning_landscape.functional.trend import COARSE, STANDARD_ERRORS, Block, fit_trend, fold

WINDOWS = ((10, 0.012), (20, 0.018), (40, 0.030))
"""blocks in a window, and the share of the level by which the loss must fall over it; a block is 0.5% of the run"""
LONGEST = WINDOWS[-1][0]
TOLERANCE = WINDOWS[-1][1]


def examine(blocks: Sequence[Block]) -> list[Trend]:
    """The trend over each of `WINDOWS` that the blocks fill, shortest first, all ending at the last block."""
    return [fit_trend(blocks[-count:], tolerance) for count, tolerance in WINDOWS if count <= len(blocks)]


def stalled_windows(trends: Sequence[Trend]) -> list[int]:
    """Which of these windows, shortest first, have stalled and are not overruled by a longer one.

    A longer window overrules one that has stalled where it says that the loss is falling, and one without power where
    it has power itself and has not stalled.
    """
    return [
        index
        for index, trend in enumerate(trends)
        if trend.stalled and not any(_overrules(longer, trend) for longer in trends[index + 1 :])
    ]


def _overrules(longer: Trend, trend: Trend) -> bool:
    return longer.falling or (longer.powered and not longer.stalled and not trend.powered)


def mean_error(trend: Trend) -> float:
    """Half the width of the interval for the mean loss in the window, in units of the loss.

    A line fitted to n independent losses of variance σ² has a fall of variance 12σ²/n; their mean has σ²/n.
    """
    return trend.margin / sqrt(12)


def rise_since_start(start: Block, now: float, latest: Trend, steps: int) -> Trend | None:
    """The change from the first losses to the latest window, where that is a rise beyond doubt; otherwise None.

    Noise that hides any trend within a window does not hide that the loss is several times what it was. The first
    losses are too few to tell how long their noise lasts, so it is taken to be in proportion that of the latest window.

    Args:
        start: the first losses of the run.
        now: mean loss of the latest window.
        latest: the trend in that window.
        steps: length of the run so far, in optimizer steps.
    """
    if now <= start.mean or latest.level == 0:
        return None
    scatter = STANDARD_ERRORS * sqrt(start.m2) / start.n
    proportional = mean_error(latest) * sqrt(latest.window / start.n) * abs(start.mean) / latest.level
    margin = hypot(max(scatter, proportional), mean_error(latest))
    rise = Trend(steps, abs(now), start.mean - now, margin, TOLERANCE)
    return rise if rise.largest_fall < 0 else None


def has_ended(trends: Sequence[Trend], now: float, rise: Trend | None, level: float, error: float) -> bool:
    """Whether a plateau is over: the loss falls again, or lies below the plateau by 3%, beyond doubt.

    One window in a noisy run says "falling" by chance now and then; it takes more than half of them, and none that
    still says "stalled". Where the loss lies above its start, the longest window has to say it.

    Args:
        trends: of all windows, shortest first.
        now: mean loss of the shortest window.
        rise: of the loss since the start, where there is one.
        level: mean loss at the beginning of the plateau.
        error: half the width of the interval for that mean.
    """
    if rise is not None:
        return len(trends) > 1 and trends[-1].falling
    falling = sum(trend.falling for trend in trends)
    if 2 * falling > len(trends) and not any(trend.stalled for trend in trends):
        return True
    return now + hypot(error, mean_error(trends[0])) < level - TOLERANCE * abs(level)


def has_shifted_up(blocks: Sequence[Block]) -> bool:
    """Whether, at some cut, all later blocks lie above all earlier ones, by 30% on average: new data, not a trend."""
    means = [block.mean for block in fold(blocks, COARSE)]
    for cut in range(1, len(means)):
        earlier, later = means[:cut], means[cut:]
        before = sum(earlier) / len(earlier)
        if min(later) > max(earlier) and sum(later) / len(later) - before > 0.3 * abs(before):
            return True
    return False


def is_far_above(start: Block, now: float) -> bool:
    """Whether the loss has risen to 3 times its start; a start about zero is measured by its scatter."""
    return now - start.mean > 2 * max(abs(start.mean), sqrt(start.m2 / start.n))


def is_lost(start: Block, recent: Sequence[Block]) -> bool:
    """Whether a loss far above its start does not come back: it grows over 8 blocks, or is out of reach by now."""
    return is_out_of_reach(start, recent[-2:]) or (len(recent) == 8 and is_growing(recent))


def is_out_of_reach(start: Block, latest: Sequence[Block]) -> bool:
    """Whether the loss of all these blocks is 10,000 times its start, from where no run of any use comes back."""
    return all(block.mean - start.mean > 1e4 * max(abs(start.mean), sqrt(start.m2 / start.n)) for block in latest)


def is_growing(blocks: Sequence[Block]) -> bool:
    """Whether the loss grows by 10% from each quarter of the blocks to the next, and by more than its noise."""
    quarters = fold(blocks, 4)
    first, last = quarters[0], quarters[-1]
    steady = all(b.mean - a.mean > 0.1 * abs(a.mean) for a, b in pairwise(quarters))
    error = sqrt(first.m2 / (first.n * first.n) + last.m2 / (last.n * last.n))
    return steady and len(quarters) == 4 and last.mean - first.mean > STANDARD_ERRORS * error
