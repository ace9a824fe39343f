"""Whether a metric of few values has stopped improving, since when, and whether it has become worse.

The values are a loss over the epochs of a run, an accuracy or a reward, in any unit. A larger value is worse here, so a
metric that should rise is given with its sign changed. Nothing is known of such a metric but its own values: what
counts as progress is measured by what it has gained so far, and by its own noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import median

from lightning_landscape.evidence.trend import STANDARD_ERRORS
from lightning_landscape.functional.plateau import tolerance_over
from lightning_landscape.functional.trend import fit_trend, summarize

FEWEST = 8
"""fewest values from which anything is concluded"""
SHORTEST = 6
"""fewest values in a window"""
SHARE_OF_VALUES = 0.25
"""smallest share of all values in a window, since a metric often rests for a while"""
GROWTH = 1.25
"""ratio of the lengths of two windows"""
WITHIN_NOISE = 2.0
"""a change by this many standard deviations of a single value may be noise"""
GAINED = 4.0
"""a gain of fewer standard deviations of a single value is none"""
SEEN = 1.64
"""standard errors by which a metric that still improves exceeds a flat one"""
OF_MEAN_SPEED = 0.3
"""a fall at less than this share of the mean speed so far may be hidden by the noise"""


@dataclass(frozen=True)
class Standstill:
    """What the values of a metric show so far; places are indices of the values, and a larger value is worse."""

    gained: float
    """fall from the first level to the best one, in units of the metric; 0 if it is not more than the noise"""
    noise: float
    """standard deviation of a single value about its neighbours, in units of the metric"""
    best: float
    """the best level: the lowest mean over neighbouring values"""
    best_at: int
    """the place in the middle of these values"""
    now: float
    """mean over the latest values"""
    since: int | None
    """the first value from which on the metric has not improved beyond its noise; None if it has not stopped"""
    worse: float
    """rise from the best level to the latest values, in units of the metric; 0 if it may be noise"""


def standstill(values: Sequence[float]) -> Standstill | None:
    """Return whether the values have stopped falling; None for fewer than 8 values.

    A line is fitted to the latest values, over windows from a quarter of the values to all of them. The values have
    stopped falling if in one of these windows the fall of the line is not significant (1.64 standard errors), and if
    besides a fall that counts as progress is excluded, as in the equivalence test of `Trend` [Schuirmann87]_. The
    margin of that test is 2.5 standard errors, widened for few values as Student's t [CornishFisher38]_. What counts as
    progress is the share of `gained` that `tolerance_over` gives for the window; for noisy values it is up to two
    standard deviations of a single value, but at most three tenths of the mean speed so far. The values are worse than
    their best level if they rise significantly from there, by more than an eighth of `gained`.

    The noise comes from the second differences of the values, as their median [Gasser86]_, so that neither a trend nor
    a single jump adds to it.

    >>> falling = standstill([2.0 / (1 + i) for i in range(30)])
    >>> resting = standstill([2.0 - min(i, 10) / 10 for i in range(30)])
    >>> falling.since, resting.since, round(resting.gained, 2)
    (None, 10, 1.0)

    Args:
        values: the values in their order, finite.

    .. [Schuirmann87] A comparison of the two one-sided tests procedure and the power approach for assessing the
        equivalence of average bioavailability, J. Pharmacokinetics and Biopharmaceutics 15.
    .. [CornishFisher38] Moments and cumulants in the specification of distributions, Revue de l'Institut International
        de Statistique 5.
    .. [Gasser86] Residual variance and residual pattern in nonlinear regression, Biometrika 73.
    """
    if len(values) < FEWEST:
        return None
    noise, width = _noise(values), max(3, len(values) // 20)
    means = [sum(values[i : i + width]) / width for i in range(len(values) - width + 1)]
    best = min(means)
    place = means.index(best)
    gained = _start(values, noise) - best
    gained = gained if gained > GAINED * noise else 0.0
    since = None
    if any(_rests(values[-length:], len(values), gained, noise) for length in _lengths(len(values))):
        since = next((i for i, value in enumerate(values) if value <= best + WITHIN_NOISE * noise), place)
    now = means[-1]
    worse = now - best if _rises(values[place:]) and now - best > tolerance_over(1.0) * gained else 0.0
    return Standstill(gained, noise, best, place + width // 2, now, since, worse)


def _start(values: Sequence[float], noise: float) -> float:
    """Return the first level: the first value or, where the first values differ by their noise only, their mean."""
    first = values[:3]
    return sum(first) / len(first) if max(first) - min(first) <= 2 * WITHIN_NOISE * noise else values[0]


def _noise(values: Sequence[float]) -> float:
    """Return the standard deviation of a value about its neighbours."""
    second = [abs(a - 2 * b + c) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return 1.4826 * median(second) / sqrt(6)


def _lengths(count: int) -> list[int]:
    """Return the lengths of the windows of this many values, ascending."""
    length = max(SHORTEST, round(SHARE_OF_VALUES * count))
    lengths = []
    while length < count:
        lengths.append(length)
        length = max(length + 1, round(GROWTH * length))
    return [*lengths, count]


def _rests(window: Sequence[float], count: int, gained: float, noise: float) -> bool:
    """Return whether the values of a window do not fall, with a test that would have noticed progress."""
    share = len(window) / count
    fall, error, margin = _fall(window)
    hidden = WITHIN_NOISE * noise
    progress = max(tolerance_over(share) * gained, min(hidden, OF_MEAN_SPEED * share * gained) if gained else hidden)
    return fall <= SEEN * error and fall + margin <= progress


def _rises(values: Sequence[float]) -> bool:
    """Return whether the values rise by more than their noise explains."""
    if len(values) < SHORTEST:
        return False
    fall, _, margin = _fall(values)
    return fall + margin < 0


def _fall(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the fall of a line through the values, its standard error, and the margin of the tests."""
    trend = fit_trend([summarize([b], a) for a, b in zip((None, *values), values, strict=False)], tolerance=0.0)
    error = trend.margin / STANDARD_ERRORS
    return trend.progress, error, _student(len(values) - 2) * error


def _student(freedom: int) -> float:
    """Return the quantile of Student's t that excludes as much as `STANDARD_ERRORS` do for a normal distribution."""
    z = STANDARD_ERRORS
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom * freedom)
