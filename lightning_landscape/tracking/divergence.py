"""Whether the loss of a run grows, or falls, without bound."""

from __future__ import annotations

from lightning_landscape.evidence import Divergence, LossLevel
from lightning_landscape.functional import plateau
from lightning_landscape.functional.running_down import OUT_OF_REACH
from lightning_landscape.functional.trend import mean_loss
from lightning_landscape.tracking.loss_history import LossHistory


def divergence_of(history: LossHistory, level: LossLevel, present: Divergence | None) -> Divergence | None:
    """Return the divergence after a further block of steps; None if there is none, or if the loss has come back.

    It begins where the loss is far above its start and keeps growing, and where a loss without a known lowest value is
    out of reach below its start and falls ever faster.

    Args:
        history: the losses.
        level: their levels.
        present: the divergence so far; None if there is none.
    """
    start, recent = history.start, history.blocks(8)
    now = mean_loss(recent[-2:])
    fallen = 0.0 if level.floor_measured else history.fallen
    if not plateau.is_far_above(start, now, level.floor) and fallen <= OUT_OF_REACH:
        return None
    if present is not None:
        return present
    if fallen > OUT_OF_REACH and history.runs_down:
        return Divergence(history.recorded[0].step, finite=True, start=start.mean, now=now)
    if plateau.is_lost(start, recent, level.floor):
        return Divergence(history.recorded[-len(recent)].step, finite=True, start=start.mean, now=now)
    return None
