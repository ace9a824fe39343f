"""The progress of a run of which only the last few steps were watched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

from lightning_landscape.evidence import Divergence, LossLevel
from lightning_landscape.evidence.trend import STANDARD_ERRORS
from lightning_landscape.functional.plateau import is_far_above
from lightning_landscape.functional.trend import summarize
from lightning_landscape.tracking.learning_rates import LearningRates
from lightning_landscape.tracking.loss_history import RecordedBlock
from lightning_landscape.tracking.progress import Progress
from lightning_landscape.tracking.step_record import StepRecord

QUARTER = 8
"""losses in each of the four quarters that show whether the loss grows"""


@dataclass(frozen=True)
class Unwatched:
    """What is known of the steps before the first one that was watched."""

    steps: int
    """number of these optimizer steps"""
    horizon: int
    """number of optimizer steps of the whole run, or the number that is assumed"""
    start: float | None = None
    """loss at the initial weights; None if it is unknown"""
    peak_rate: float = 0.0
    """largest learning rate so far, as far as it is known"""


def progress_after(unwatched: Unwatched, records: Sequence[StepRecord], floor: float | None) -> Progress:
    """Return the progress of a run after steps of which only the last few were watched; its trend stays unknown.

    Args:
        unwatched: the steps before.
        records: the watched steps.
        floor: the lowest possible loss; None if it was not found, -inf if there is none.
    """
    progress = Progress(unwatched.horizon)
    progress.floor = floor
    for record in records:
        progress.update(record)
    losses = [record.loss for record in records if record.loss is not None and math.isfinite(record.loss)]
    if not losses:
        return progress
    state, rates = progress.state_dict(), [r.learning_rate for r in records if r.learning_rate is not None]
    moved = [(r.update_norm, r.weight_norm) for r in records if r.update_norm is not None and r.weight_norm is not None]
    moved = [(update, weight) for update, weight in moved if math.isfinite(update) and math.isfinite(weight)]
    predicted = [r.predicted for r in records if r.predicted is not None and math.isfinite(r.predicted)]
    block = RecordedBlock(
        summarize(losses)._replace(predicted=sum(predicted), sampled=len(predicted)),
        records[0].step,
        rates[-1] if rates else 0.0,
        sum(update / max(weight, 1.0) for update, weight in moved),
        sum(update / weight for update, weight in moved if weight > 0),
        len(moved),
    )
    level = _level(unwatched.start, losses, floor)
    state |= {
        "_records": unwatched.steps,
        "level": asdict(level),
        "history": {**state["history"], "stretches": [[list(block.block), *block[1:]]]},
        **dict.fromkeys(("trend", "opening", "since")),
        "proven": False,
    }
    if rates:
        peak = max(unwatched.peak_rate, *rates)
        state["rates"] = LearningRates.from_peak(max(1, unwatched.steps), peak, rates[-1]).state_dict()
    progress.load_state_dict(state)
    if progress.divergence is None and unwatched.start is not None and _has_diverged(unwatched.start, losses, level):
        now = summarize(losses[:QUARTER]).mean  # the steps are undone
        progress.divergence = Divergence(records[0].step, finite=True, start=unwatched.start, now=now)
    return progress


def _has_diverged(start: float, losses: Sequence[float], level: LossLevel) -> bool:
    """Return whether the loss is far above that at the initial weights and grows in these steps, beyond its noise."""
    if len(losses) < 4 * QUARTER or not is_far_above(summarize([start]), level.now, level.floor):
        return False
    quarters = [summarize(losses[-QUARTER * i : len(losses) - QUARTER * (i - 1)]) for i in (4, 3, 2, 1)]
    first, last = quarters[0], quarters[-1]
    error = math.sqrt(first.m2 / first.n**2 + last.m2 / last.n**2)
    steady = all(after.mean > before.mean for before, after in pairwise(quarters))
    return steady and last.mean - first.mean > STANDARD_ERRORS * error


def _level(start: float | None, losses: Sequence[float], floor: float | None) -> LossLevel:
    """Return the level of these losses of a run that began with a loss of `start`."""
    block = summarize(losses)
    measured = floor is not None and math.isfinite(floor) and floor <= block.mean
    return LossLevel(
        block.mean if start is None else start,
        block.mean,
        block.mean,
        floor=floor if floor is not None and measured else 0.0,
        floor_measured=measured,
        spread=math.sqrt(block.m2 / block.n),
    )
