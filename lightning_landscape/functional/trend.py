"""The fall of a noisy loss over a window of steps, with an error bar.

Losses are summarised in `Block`s of consecutive steps. Blocks can be merged exactly, so a window of any length needs
only a few dozen numbers. `fit_trend` fits a line through the block means and computes the error bar of its fall;
`Trend.stalled` and `Trend.seems_stalled` are the equivalence test on the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from math import sqrt
from operator import mul
from typing import NamedTuple

from lightning_landscape.evidence.trend import STANDARD_ERRORS, Trend

FEWEST_PREDICTIONS = 3
"""fewest measurements of |g·Δw| in a window from which the fall of the loss is bounded"""
COARSE = 10
"""number of blocks into which longer windows are also folded, because noise may be correlated across short blocks"""


class Block(NamedTuple):
    """Summary statistics of `n` consecutive losses."""

    n: int
    """number of losses"""
    mean: float
    """mean of the losses"""
    m2: float
    """sum of squared deviations from the mean"""
    d2: float
    """sum of squared differences between successive losses, including the difference to the loss before the block"""
    pairs: int
    """number of differences in `d2`: `n`, or `n - 1` for the first block of a run"""
    predicted: float = 0.0
    """sum of |g·Δw| over the steps at which it was measured"""
    sampled: int = 0
    """number of steps at which |g·Δw| was measured"""


def summarize(losses: Sequence[float], before: float | None = None) -> Block:
    """Return the block of these losses; `before` is the loss of the step before them.

    >>> summarize([1.0, 3.0])
    Block(n=2, mean=2.0, m2=2.0, d2=4.0, pairs=1, predicted=0.0, sampled=0)

    Raises:
        ValueError: if `losses` is empty.
    """
    if not losses:
        raise ValueError("a block needs at least one loss, got none")
    mean = losses[0] + sum(loss - losses[0] for loss in losses) / len(losses)
    chain = losses if before is None else [before, *losses]
    d2 = sum((later - earlier) * (later - earlier) for earlier, later in pairwise(chain))
    return Block(len(losses), mean, sum((loss - mean) * (loss - mean) for loss in losses), d2, len(chain) - 1)


def merge(blocks: Sequence[Block]) -> Block:
    """Return the block of all losses in consecutive blocks [Chan79]_.

    >>> merge([summarize([1.0]), summarize([3.0], before=1.0)]) == summarize([1.0, 3.0])
    True

    .. [Chan79] Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """
    n, mean, m2, d2, pairs, predicted, sampled = blocks[0]
    for block in blocks[1:]:
        total = n + block.n
        difference = block.mean - mean
        m2 += block.m2 + difference * difference * n * block.n / total
        mean += difference * block.n / total
        n = total
        d2 += block.d2
        pairs += block.pairs
        predicted += block.predicted
        sampled += block.sampled
    return Block(n, mean, m2, d2, pairs, predicted, sampled)


def fold(blocks: Sequence[Block], count: int) -> list[Block]:
    """Merge neighbouring blocks into `count` blocks of nearly equal numbers; fewer blocks are returned unmerged."""
    return [merge(blocks[a:b]) for a, b in pairwise(_edges(len(blocks), count)) if b > a]


def mean_loss(blocks: Sequence[Block]) -> float:
    """Return the mean of all losses in the blocks; if all block means are equal, exactly that value."""
    if len(blocks) == 1:
        return blocks[0].mean
    origin, total, excess = blocks[0].mean, 0, 0.0
    for n, mean, *_ in blocks:
        total += n
        excess += n * (mean - origin)
    return origin + excess / total


def _edges(length: int, count: int) -> list[int]:
    """Return the `count + 1` indices that cut `length` items into `count` runs of nearly equal length."""
    return [length * i // count for i in range(count + 1)]


def fit_trend(blocks: Sequence[Block], tolerance: float, floor: float = 0.0) -> Trend:
    r"""Compute the fall of the loss over the blocks, with the error bar for an equivalence test [Schuirmann87]_.

    A line is fitted to the block means by least squares. The standard error of its slope is the largest of three
    estimates. Each of them is too small for some kind of noise, and only an error bar that is too small leads to a
    wrong decision:

    - from the scatter of the block means about the line, which is right for noise that is uncorrelated between blocks;
    - from the scatter of the means of `COARSE` merged blocks, where there are more blocks than that;
    - from the scatter :math:`\sigma^2` of the single losses, times :math:`(1+\varphi)/(1-\varphi)` for noise of lag-1
      autocorrelation :math:`\varphi`. That is computed from the von Neumann ratio [vonNeumann41]_ as
      :math:`\varphi = 1 - \overline{d^2}/2\sigma^2` and corrected for its bias about a fitted line [Kendall54]_.

    `Trend.margin` is 2.5 standard errors of the fall. If the losses and the floor are multiplied by a constant, all
    fields in units of the loss are multiplied by it (exactly for powers of two) and no decision changes. Nor does one
    change if a constant is added to the losses and to the floor:

    >>> falling = [summarize([2.0 - 0.004 * i]) for i in range(11)]
    >>> offset = [summarize([102.0 - 0.004 * i]) for i in range(11)]
    >>> fit_trend(falling, tolerance=0.012).stalled, fit_trend(offset, tolerance=0.012, floor=100.0).stalled
    (False, False)

    Args:
        blocks: at least 3 blocks in the order of the run.
        tolerance: share of the level by which the loss must fall over the window to count as progress.
        floor: the loss from which `Trend.level` is measured.

    Raises:
        ValueError: if there are fewer than 3 blocks.

    .. [Schuirmann87] A comparison of the two one-sided tests procedure and the power approach for assessing the
        equivalence of average bioavailability, J. Pharmacokinetics and Biopharmaceutics 15.
    .. [vonNeumann41] Distribution of the ratio of the mean square successive difference to the variance, Annals of
        Mathematical Statistics 12.
    .. [Kendall54] Note on bias in the estimation of autocorrelation, Biometrika 41.
    """
    if len(blocks) < 3:
        raise ValueError(f"a trend needs at least 3 blocks, got {len(blocks)}")
    sizes, means, m2, d2, pairs, predicted, sampled = map(tuple, zip(*blocks, strict=True))
    window, mean = sum(sizes), mean_loss(blocks)
    slope, error, scatter = _fit_line(sizes, means)
    if len(blocks) > COARSE:
        groups = [blocks[a:b] for a, b in pairwise(_edges(len(blocks), COARSE))]
        error = max(error, _fit_line([sum(block.n for block in g) for g in groups], [mean_loss(g) for g in groups])[1])
    variance = (sum(m2) + scatter) / (window - 2)
    if variance > 0 and sum(pairs) > 0:
        inflation = _variance_inflation(1 - sum(d2) / sum(pairs) / (2 * variance), window)
        error = max(error, sqrt(12 * variance / window * inflation) / window)
    bound = sum(predicted) / sum(sampled) * window if sum(sampled) >= FEWEST_PREDICTIONS else None
    return Trend(window, abs(mean - floor), -slope * window, STANDARD_ERRORS * error * window, tolerance, bound, floor)


def trend_on_same_batches(
    steps: Sequence[int], losses: Sequence[Sequence[float]], tolerance: float, floor: float = 0.0
) -> Trend:
    """Compute the fall of the loss from earlier weights to later ones, all evaluated on the same batches.

    A line is fitted to the losses on each batch. The variance of the mean slope is the sum of two parts: the scatter
    of the slopes between batches, widened as Student's t for few batches, and the scatter of the mean losses about
    their line, since the weights themselves move to and fro.

    >>> noisy = [[1.0, 9.0, 4.0], [1.0, 9.0, 4.0], [1.0, 9.0, 4.0]]
    >>> trend_on_same_batches([0, 50, 100], noisy, tolerance=0.02).stalled
    True

    Args:
        steps: the optimizer steps after which the weights were copied, at least 3, ascending.
        losses: loss of each of these weights on each batch, shape (len(steps), batches).
        tolerance: share of the level by which the loss must fall over the window to count as progress.
        floor: the loss from which `Trend.level` is measured.

    Raises:
        ValueError: if there are fewer than 3 steps or 2 batches.
    """
    batches = len(losses[0]) if losses else 0
    if len(steps) < 3 or batches < 2:
        raise ValueError(f"a trend needs at least 3 steps and 2 batches, got {len(steps)} and {batches}")
    window, middle = steps[-1] - steps[0], sum(steps) / len(steps)
    x = [step - middle for step in steps]
    spread = _dot(x, x)
    slopes = [_dot(x, [row[batch] for row in losses]) / spread for batch in range(batches)]
    slope = sum(slopes) / batches
    means = [sum(row) / batches for row in losses]
    mean = sum(means) / len(means)
    between = sum((s - slope) ** 2 for s in slopes) / (batches - 1) / batches
    between *= (batches - 1) / max(1, batches - 3)
    about = sum((m - mean - slope * a) ** 2 for m, a in zip(means, x, strict=True)) / (len(steps) - 2) / spread
    margin = STANDARD_ERRORS * sqrt(between + about) * window
    return Trend(window, abs(mean - floor), -slope * window, margin, tolerance, floor=floor, batches=batches)


def _fit_line(sizes: Sequence[int], means: Sequence[float]) -> tuple[float, float, float]:
    """Fit a line through the means of blocks of these sizes by least squares.

    Returns:
        the slope per step, its standard error, and the sum of n·residual² over the blocks.
    """
    count, origin = len(sizes), means[0]  # subtracting one of the means keeps a constant loss exactly constant
    x = [end - (n + 1) / 2 for n, end in zip(sizes, accumulate(sizes), strict=True)]
    y = [mean - origin for mean in means]
    mean_x, mean_y = sum(x) / count, sum(y) / count
    x = [a - mean_x for a in x]
    spread = _dot(x, x)
    slope = _dot(x, y) / spread
    residuals = [b - mean_y - slope * a for a, b in zip(x, y, strict=True)]
    squared = [r * r for r in residuals]
    return slope, sqrt(sum(squared) / (count - 2) / spread), _dot(sizes, squared)


def _dot(a: Iterable[float], b: Iterable[float]) -> float:
    total: float = sum(map(mul, a, b))
    return total


def _variance_inflation(phi: float, steps: int) -> float:
    """Return the largest plausible factor by which AR(1) noise inflates the variance of a slope.

    `phi` is the measured lag-1 autocorrelation. To first order it is biased by -(2 + 4·phi)/steps about a fitted line,
    and its variance is (1 - phi²)/steps. The factor is computed for the upper end of its one-sided 95% interval.
    """
    phi = (phi + 2 / steps) / max(1 - 4 / steps, 0.5)
    phi = min(max(phi, 0.0), 1.0)
    phi = min(phi + 1.64 * sqrt((1 - phi * phi) / steps), 1 - 1 / steps)
    return (1 + phi) / (1 - phi)
