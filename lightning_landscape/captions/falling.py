"""Whether a curve clearly falls, for the sentence below a picture; verdicts rest on the tests in `functional`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, variance

LEAST_POINTS = 6
"""points of a curve from which on it is said whether it falls"""
ERRORS = 2.5
"""standard errors by which a curve has to differ between both ends to be called falling"""


def falls(losses: Sequence[float]) -> bool:
    """Return whether losses fall clearly: the last third is lower than the first by several standard errors.

    >>> falls([1.0, 0.9, 0.8, 0.7, 0.6, 0.5]), falls([1.0, 0.9, 1.1, 0.9, 1.0, 1.1]), falls([2.0, 1.0])
    (True, False, False)
    """
    third = len(losses) // 3
    if len(losses) < LEAST_POINTS:
        return False
    first, last = losses[:third], losses[-third:]
    return fmean(first) - fmean(last) > ERRORS * math.sqrt((variance(first) + variance(last)) / third)
