"""Whether the loss of a run grows, or falls, without bound."""

from __future__ import annotations

from math import nan

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
        step, before = _growth(history, level.floor)
        return Divergence(step, finite=True, start=loss_at_start(history, now), now=now, before=before)
    return None


def loss_at_start(history: LossHistory, now: float) -> float:
    """Return the first loss, or the mean of the first ten if the first is above the loss of now; NaN for none."""
    mean = history.start.mean if history.count else nan
    return mean if history.first is None or history.first > now else history.first


def _growth(history: LossHistory, floor: float) -> tuple[int, float]:
    """Return the step at which a loss that has grown far began to grow, and the mean loss before it."""
    blocks = history.blocks()
    first = min(plateau.growth_began(blocks, floor), len(blocks) - 1)
    if first <= 1 and history.closed == len(blocks):  # it has grown since the start of the run
        return history.recorded[0].step, history.start.mean if history.first is None else history.first
    return history.recorded[first].step, mean_loss(blocks[max(0, first - 2) : first])
