"""Merge neighbouring steps of a heat map without hiding the one step at which a gradient was large."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

Norms = Sequence["float | None"]
"""gradient norms at one step, one for each group of parameters; None where a group has no gradient"""


def largest_norm(norms: Iterable[float | None]) -> float | None:
    """Return the largest norm, where NaN counts as infinite; None if there is no norm.

    >>> largest_norm([0.5, math.nan, None]), largest_norm([None])
    (nan, None)
    """
    return max((norm for norm in norms if norm is not None), key=_size, default=None)


def merge_columns(columns: Sequence[Norms]) -> list[float | None]:
    """Return one column for several: the largest norm of each group, since a mean would hide the step that matters."""
    return [largest_norm(norms) for norms in zip(*columns, strict=True)]


def merge_pairs(columns: Sequence[Norms]) -> list[list[float | None]]:
    """Return half as many columns, each merged from two neighbours; the last of an odd number stays alone."""
    return [merge_columns(columns[i : i + 2]) for i in range(0, len(columns), 2)]


def _size(norm: float) -> float:
    return math.inf if math.isnan(norm) else norm
