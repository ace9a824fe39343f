"""What the lowest point of a plane is worth."""

from __future__ import annotations

import math

from lightning_landscape.captions.caption import FLAT, ROUNDING, Caption, percent, samples
from lightning_landscape.evidence import Plane


def lowest_point(plane: Plane) -> tuple[float, float, float] | None:
    """Return both coordinates of the lowest measured point, and the loss there; None if no loss is finite.

    Of equally low points it is the one nearest to the present weights.
    """
    points = [
        (loss, math.hypot(x, y), x, y)
        for y, row in zip(plane.ys, plane.losses, strict=True)
        for x, loss in zip(plane.xs, row, strict=True)
        if math.isfinite(loss)
    ]
    if not points:
        return None
    loss, _, x, y = min(points)
    return x, y, loss


def loss_here(plane: Plane) -> float:
    """Return the loss of the present weights, at (0, 0); NaN if the grid has no such point."""
    if 0.0 not in plane.xs or 0.0 not in plane.ys:
        return math.nan
    return plane.losses[plane.ys.index(0.0)][plane.xs.index(0.0)]


def is_lower(plane: Plane) -> bool:
    """Return whether the loss is lower at some point of the plane than at the present weights.

    On a plane on which the loss is the same everywhere, to within `FLAT`, it is not.
    """
    lowest, here = lowest_point(plane), loss_here(plane)
    return lowest is not None and not _is_flat(plane) and here - lowest[2] > ROUNDING * abs(here)


def plane_caption(plane: Plane) -> Caption:
    """Return how much lower than at the present weights the loss is at the lowest point of the plane."""
    lowest, here = lowest_point(plane), loss_here(plane)
    if lowest is None:
        return Caption("No loss on this plane is finite", samples(plane.samples))
    highest = max(_finite(plane))
    details = (f"loss {here:.4g} here, {lowest[2]:.4g} to {highest:.4g} on the plane", *samples(plane.samples))
    if not math.isfinite(here):
        return Caption("The loss of the present weights is not finite", details)
    if _is_flat(plane):
        return Caption(f"The loss is the same on the whole plane, to within {FLAT:.2%}", details)
    if not is_lower(plane):
        return Caption("No point of this plane has a lower loss than the present weights", details)
    drop = here - lowest[2]
    share = f" ({percent(drop / here)})" if here > 0 and drop <= here else ""
    return Caption(f"The best point of this plane lowers the loss by {drop:.2g}{share}", details)


def _finite(plane: Plane) -> list[float]:
    return [loss for row in plane.losses for loss in row if math.isfinite(loss)]


def _is_flat(plane: Plane) -> bool:
    losses = _finite(plane)
    return max(losses) - min(losses) <= FLAT * max(map(abs, losses))
