"""The losses of earlier weights and of the present ones on the same batches: does the loss fall despite the noise?"""

from __future__ import annotations

from lightning_landscape.evidence import SameBatches
from lightning_landscape.probes.evaluation import loss_value
from lightning_landscape.surface import LossSurface, costs

NOW = "now"
"""name of the present weights"""
FEWEST_BATCHES = 4
"""least batches whose differences have a usable standard error"""


def _batches(surface: LossSurface) -> int:
    """Return the number of batches, held-out ones included, that the budget allows."""
    batches = len(surface.batch_losses) + len(surface.held_out_losses)
    return surface.steps_within_budget(batches, (len(surface.anchors) + 1) / 3)


@costs(lambda surface: _batches(surface) * (len(surface.anchors) + 1) / 3)
def same_batches(surface: LossSurface) -> SameBatches | None:
    """Return the loss of each anchor and of the present weights on each batch, one by one.

    None without two anchors, or with fewer batches than `FEWEST_BATCHES`.
    """
    losses = (*surface.batch_losses, *surface.held_out_losses)[: _batches(surface)]
    if len(surface.anchors) < 2 or len(losses) < FEWEST_BATCHES:
        return None
    points = {**surface.anchors, NOW: surface.here}
    return SameBatches(
        points=tuple(points),
        losses=tuple(tuple(loss_value(loss, point) for loss in losses) for point in points.values()),
    )
