"""The loss that is taken as the lowest possible one, where it is not known.

A share of a loss means something only if the loss is measured from its lowest possible value: 2% of 2.0 is little if
that is 0, and much if it is 1.9. Nothing in the losses of a run shows that value. They show two distances which do not
change if a constant is added: how far the loss has come, and how far single losses scatter.
"""

from __future__ import annotations

SCATTERS = 30.0
"""how many standard deviations of single losses lie between a loss that has not fallen yet and its assumed floor, so
that a fall by 3% of this distance, about one standard deviation, can be told from noise"""


def assumed_floor(lowest: float, gained: float, scatter: float) -> float | None:
    """Return a floor that lies as far below the lowest loss as that is below the start, or `SCATTERS` · `scatter`.

    >>> assumed_floor(lowest=2.0, gained=1.0, scatter=0.01), assumed_floor(lowest=502.0, gained=1.0, scatter=0.01)
    (1.0, 501.0)

    Args:
        lowest: the lowest mean loss so far.
        gained: fall of the loss from the start of the run to `lowest`.
        scatter: standard deviation of single losses about their local mean.

    Returns:
        the floor; None for a loss that has neither fallen nor scatters.
    """
    distance = max(gained, SCATTERS * scatter)
    return lowest - distance if distance > 0 else None
