"""How far did a noisy loss fall, and how far can it have fallen at most?

The losses come as `Block`s, summaries of consecutive steps that merge without loss, so a window of any length costs a
few dozen numbers. `fit_trend` puts a line through the block means and an error bar on its fall; `Trend.stalled` turns
these into an equivalence test.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from math import sqrt
from operator import mul
from typing import NamedTuple

from lightning_landscape.evidence import Trend

STANDARD_ERRORS = 2.5
"""half the width of every interval here, in standard errors"""
FEWEST_PREDICTIONS = 3
"""measurements of |g·Δw| in a window, below which they bound nothing"""
COARSE = 10
"""number of blocks to which longer windows are also folded, against noise that outlives a short block"""


class Block(NamedTuple):
    """What is worth knowing of `n` consecutive losses."""

    n: int
    mean: float
    m2: float
    """sum of squared deviations from the mean"""
    d2: float
    """sum of squared successive differences, the one from the loss before the block included"""
    pairs: int
    """number of those differences: `n`, or `n - 1` for the first block of all"""
    predicted: float = 0.0
    """sum of |g·Δw| over the sampled steps"""
    sampled: int = 0
    """number of steps at which |g·Δw| was measured"""


def summarize(losses: Sequence[float], before: float | None = None) -> Block:
    """The block of these losses; `before` is the loss of the step before them.

    >>> summarize([1.0, 3.0])
    Block(n=2, mean=2.0, m2=2.0, d2=4.0, pairs=1, predicted=0.0, sampled=0)

    Raises:
        ValueError: if there is no loss.
    """
    if not losses:
        raise ValueError("a block needs at least one loss, got none")
    mean = losses[0] + sum(loss - losses[0] for loss in losses) / len(losses)
    chain = losses if before is None else [before, *losses]
    d2 = sum((later - earlier) * (later - earlier) for earlier, later in pairwise(chain))
    return Block(len(losses), mean, sum((loss - mean) * (loss - mean) for loss in losses), d2, len(chain) - 1)


def merge(blocks: Sequence[Block]) -> Block:
    """The block of all their losses in a row [Chan79]_.

    >>> merge([summarize([1.0]), summarize([3.0], before=1.0)]) == summarize([1.0, 3.0])
    True

    .. [Chan79] Chan, Golub & LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """
    n, mean, m2, d2, pairs, predicted, sampled = blocks[0]
    for block in blocks[1:]:
        total = n + block.n
        apart = block.mean - mean
        m2 += block.m2 + apart * apart * n * block.n / total
        mean += apart * block.n / total
        n = total
        d2 += block.d2
        pairs += block.pairs
        predicted += block.predicted
        sampled += block.sampled
    return Block(n, mean, m2, d2, pairs, predicted, sampled)


def fold(blocks: Sequence[Block], count: int) -> list[Block]:
    """The same losses in `count` blocks of (nearly) equally many of the given ones, or fewer where there are fewer."""
    return [merge(blocks[a:b]) for a, b in pairwise(_edges(len(blocks), count)) if b > a]


def mean_loss(blocks: Sequence[Block]) -> float:
    """Mean of all losses in the blocks; exactly their value where they are all the same."""
    if len(blocks) == 1:
        return blocks[0].mean
    origin, total, excess = blocks[0].mean, 0, 0.0
    for n, mean, *_ in blocks:
        total += n
        excess += n * (mean - origin)
    return origin + excess / total


def _edges(length: int, count: int) -> list[int]:
    return [length * i // count for i in range(count + 1)]


def fit_trend(blocks: Sequence[Block], tolerance: float) -> Trend:
    r"""Fall of the loss over the blocks, with the error bar that an equivalence test [Schuirmann87]_ needs.

    The line is fitted by least squares to the block means. Its standard error is the largest of three, since each
    misses something and only an error bar that is too small does harm:

    - from the scatter of the block means about the line: right for any noise that forgets within a block;
    - the same for `COARSE` blocks where there are more;
    - from the scatter :math:`\sigma^2` of the single losses, times :math:`(1+\varphi)/(1-\varphi)` for noise of lag-1
      autocorrelation :math:`\varphi`, read off the von Neumann ratio [vonNeumann41]_
      :math:`\varphi = 1 - \overline{d^2}/2\sigma^2` and corrected for its bias about a fitted line [Kendall54]_.

    `Trend.margin` is 2.5 of them. Another unit of the loss scales every field that has that unit, exactly where the
    factor is a power of two, and changes no decision; nor does the sign of the loss matter. An added constant changes
    `Trend.level`, and so what a fall of 1% is: from 2.00 to 1.96 is 2%, and with 100 added to both it is 0.04%:

    >>> falling = [summarize([2.0 - 0.004 * i]) for i in range(11)]
    >>> offset = [summarize([102.0 - 0.004 * i]) for i in range(11)]
    >>> fit_trend(falling, tolerance=0.012).stalled, fit_trend(offset, tolerance=0.012).stalled
    (False, True)

    Args:
        blocks: in the order of the run, at least 3.
        tolerance: share of the level that a fall over the window must reach to count as progress.

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
    slope, error, scatter = _line(sizes, means)
    if len(blocks) > COARSE:
        groups = [blocks[a:b] for a, b in pairwise(_edges(len(blocks), COARSE))]
        error = max(error, _line([sum(block.n for block in g) for g in groups], [mean_loss(g) for g in groups])[1])
    variance = (sum(m2) + scatter) / (window - 2)
    if variance > 0 and sum(pairs) > 0:
        inflation = _inflation(1 - sum(d2) / sum(pairs) / (2 * variance), window)
        error = max(error, sqrt(12 * variance / window * inflation) / window)
    bound = sum(predicted) / sum(sampled) * window if sum(sampled) >= FEWEST_PREDICTIONS else None
    return Trend(window, abs(mean), -slope * window, STANDARD_ERRORS * error * window, tolerance, bound)


def _line(sizes: Sequence[int], means: Sequence[float]) -> tuple[float, float, float]:
    """Least squares through the means of blocks of these sizes: slope, its standard error, Σ n·residual²."""
    count, origin = len(sizes), means[0]  # differences from a loss near by keep a constant loss exactly constant
    x = [end - (n + 1) / 2 for n, end in zip(sizes, accumulate(sizes), strict=True)]
    y = [mean - origin for mean in means]
    middle, height = sum(x) / count, sum(y) / count
    x = [a - middle for a in x]
    spread = _dot(x, x)
    slope = _dot(x, y) / spread
    residuals = [b - height - slope * a for a, b in zip(x, y, strict=True)]
    squared = [r * r for r in residuals]
    return slope, sqrt(sum(squared) / (count - 2) / spread), _dot(sizes, squared)


def _dot(a: Iterable[float], b: Iterable[float]) -> float:
    total: float = sum(map(mul, a, b))
    return total


def _inflation(phi: float, steps: int) -> float:
    """Factor by which AR(1) noise of this measured lag-1 autocorrelation inflates the variance of a slope, at most.

    About a fitted line the measured value falls short of the true one by (2 + 4·phi)/steps to first order, and scatters
    with variance (1 - phi²)/steps; the upper end of its one-sided 95% interval counts.
    """
    phi = (phi + 2 / steps) / max(1 - 4 / steps, 0.5)
    phi = min(max(phi, 0.0), 1.0)
    phi = min(phi + 1.64 * sqrt((1 - phi * phi) / steps), 1 - 1 / steps)
    return (1 + phi) / (1 - phi)
