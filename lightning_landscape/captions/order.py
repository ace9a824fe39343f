"""In which order pictures are shown: what the cause rests on comes first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from lightning_landscape.evidence import Cause

Picture = TypeVar("Picture")

USUAL = ("timeline", "metrics", "trials", "line", "grad_norms", "plane", "descent", "spectrum")
"""the kinds of pictures in the order in which they are shown where no cause is known"""
FIRST: Mapping[Cause, tuple[str, ...]] = {
    Cause.SADDLE_POINT: ("descent", "trials"),
    Cause.FLAT_REGION: ("grad_norms", "trials"),
    Cause.LEARNING_RATE_TOO_LARGE: ("trials", "plane"),
    Cause.NOT_UPDATING: ("grad_norms", "line"),
    Cause.DIVERGED: ("grad_norms", "line"),
}
"""what comes after the timeline if this is the cause; the others follow as usual"""


def order_for(cause: Cause | None) -> tuple[str, ...]:
    """Return the kinds of pictures in the order in which a person should see them.

    >>> order_for(Cause.SADDLE_POINT)
    ('timeline', 'descent', 'trials', 'metrics', 'line', 'grad_norms', 'plane', 'spectrum')
    """
    first = FIRST.get(cause, ()) if cause is not None else ()
    timeline, *others = USUAL
    return (timeline, *first, *(kind for kind in others if kind not in first))


def ordered_for(cause: Cause | None, pictures: Mapping[str, Picture]) -> dict[str, Picture]:
    """Return the pictures by name, ordered by what is to be seen first; unknown kinds come last."""
    order = order_for(cause)

    def place(name: str) -> int:
        kind = "line" if name.startswith("line_from_") else name
        return order.index(kind) if kind in order else len(order)

    return {name: pictures[name] for name in sorted(pictures, key=place)}
