"""How the gradient is spread over the parts of the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from lightning_landscape._text import shortened
from lightning_landscape.captions.caption import Caption

LATEST = 10
"""number of the latest measured steps whose median norms are compared"""
FAR_APART = 1e-3
"""ratio of the norms of the first and the last part below which the title names both"""
LONGEST_NAME = 22
"""characters of the name of a part in the title"""


def gradient_caption(steps: Sequence[int], groups: Sequence[str], norms: Sequence[Sequence[float | None]]) -> Caption:
    """Return which parts receive no gradient or far less than others.

    Args:
        steps: shape (n,), optimizer steps.
        groups: shape (m,), names of the parts from input to output.
        norms: shape (n, m); None where a part has no gradient. Rows from before a part was added are shorter.
    """
    first, last = min(steps), max(steps)
    span = f"steps {first:,} to {last:,}" if first < last else f"step {first:,}"
    details: tuple[str, ...] = (span, f"{len(groups):,} part{'s' * (len(groups) > 1)}")
    rows = [[*row, *[None] * (len(groups) - len(row))][: len(groups)] for row in norms[-LATEST:]]
    if not all(math.isfinite(norm or 0.0) for norm in rows[-1]):
        broken = [group for group, norm in zip(groups, rows[-1], strict=True) if not math.isfinite(norm or 0.0)]
        return Caption(f"The gradient of {_listed(broken)} is not finite", details)
    latest = [[norm if norm and math.isfinite(norm) else 0.0 for norm in row] for row in rows]
    typical = dict(zip(groups, map(median, zip(*latest, strict=True)), strict=True))
    silent, live = [name for name, norm in typical.items() if not norm], [*filter(typical.get, typical)]
    if not live:
        return Caption("No part of the model receives a gradient", details)
    if silent:
        return Caption(f"{_listed(silent)} receive{'s' * (len(silent) == 1)} no gradient", details)
    ratio = typical[live[0]] / typical[live[-1]]
    if ratio < FAR_APART:
        here, there = (_short(name) for name in (live[0], live[-1]))
        return Caption(f"{here} receives {ratio:.1g} of the gradient of {there}", details)
    smallest, largest = min(typical.values()), max(typical.values())
    details = (*details, f"norms from {smallest:.2g} to {largest:.2g} in the latest steps")
    return Caption("Every part of the model receives a gradient", details)


def _listed(names: Sequence[str]) -> str:
    """Return one or two names, or the number of names."""
    return " and ".join(map(_short, names)) if len(names) <= 2 else f"{len(names):,} parts"


def _short(name: str) -> str:
    return shortened(name or "(unnamed)", LONGEST_NAME)
