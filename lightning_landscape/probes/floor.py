"""The lowest loss that the loss function allows: 0 for most losses, another number if there is a constant in it."""

from __future__ import annotations

from lightning_landscape.evidence import LossFloor
from lightning_landscape.surface import LossSurface, costs

FORWARD_PASSES = 30
"""forward passes of one batch that the search for the lowest loss may take"""


@costs(lambda surface: 0.0 if surface.run.lowest_loss is None or surface.run.floor is not None else FORWARD_PASSES / 3)
def loss_floor(surface: LossSurface) -> LossFloor | None:
    """Return the lowest loss with free outputs; None where the floor is known, and where there is no module."""
    if surface.run.lowest_loss is None or surface.run.floor is not None:
        return None
    return LossFloor(surface.run.lowest_loss(surface.here))
