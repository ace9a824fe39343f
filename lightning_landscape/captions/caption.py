"""The title of a picture and the numbers below it."""

from __future__ import annotations

from dataclasses import dataclass

ROUNDING = 1e-6
"""difference of two losses, over their size, that float32 rounding can make"""

FLAT = 1e-4
"""range of losses, over their size, up to which they are called the same"""


@dataclass(frozen=True)
class Caption:
    """What a picture shows: a title that states it, and short texts with the numbers behind it."""

    title: str
    """a sentence without a full stop"""
    details: tuple[str, ...] = ()
    """short texts for the line below the title"""


def samples(count: int) -> tuple[str, ...]:
    """Return on how many samples a loss was measured, as a detail; none if it is unknown."""
    return (f"{count:,} sample{'s' * (count > 1)}",) if count else ()


def percent(share: float) -> str:
    """Return a share between 0 and 1 in percent.

    >>> percent(0.123), percent(0.0012), percent(2e-5)
    ('12%', '0.12%', 'less than 0.01%')
    """
    if 0 < share < 1e-4:
        return "less than 0.01%"
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{100 * share:.2g}%"
