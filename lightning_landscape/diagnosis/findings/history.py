"""Finders that compare present and earlier weights: learning was lost, the data changed, or weights are put back."""

from __future__ import annotations

import math

from lightning_landscape.diagnosis.learning import best_is_worse_than_start
from lightning_landscape.diagnosis.proof import too_early
from lightning_landscape.diagnosis.thresholds import (
    FALL_IN_STANDARD_DEVIATIONS,
    GAIN_CLEAR,
    GAIN_SMALL,
    RISE_IN_STANDARD_ERRORS,
    TRAVEL_LARGE,
)
from lightning_landscape.evidence import (
    BeforeAndAfter,
    Cause,
    Evidence,
    Finding,
    LossLevel,
    Plateau,
    Trend,
    Trials,
    UpdateStatistics,
    WeightHistory,
)

LOST_SHARE, LOST_TO_THE_RATE = 0.5, 0.2
"""From this share of what had been gained on, the run has lost it; less is enough where the learning rate has risen"""
WORSE = 0.2
"""From this share of what had been gained on, the best weights are worse than the initial ones on today's batches"""
RISEN = 2.0
"""From this ratio on, the learning rate has risen: the noise of the steps, which keeps the loss above its lowest value,
is proportional to it"""
DEAD = 0.9
"""From this share of dead units on, a layer passes little on; it has died if less than half as many units were dead
at the best weights"""
TOO_FAST = 3.0
"""Weights that move this many times as fast as before have taken larger steps than before"""
FEW_STEPS = 3.0
"""Weights that have never been farther from the present ones than this many lengths of a step are where they were: each
of the two may be up to one step away from the weights that are put back"""
OF_RANDOM_WALK = 1 / 3
"""If the weights are put back after several steps, they come this far only, as a share of a random walk, which reaches
the root of the number of steps in lengths of a step"""
AS_FAST = 3.0
"""A copy whose loss falls this many times as fast as that of the run can have fallen is not held where it is"""
MANY_STEPS = 50
"""A random walk of this many steps reaches 7 lengths of a step"""


def units_died(evidence: Evidence) -> Finding | None:
    """Return `units-died` if the run has lost what it had learned, since the units of a layer died."""
    before = evidence.get(BeforeAndAfter)
    if before is None or not _lost(evidence, before) or not _died(before):
        return None
    large = _steps_were_large(evidence)
    return Finding(
        "units-died",
        Cause.FLAT_REGION,
        f"In {before.dead_layer}, {before.dead:.0%} of the units are zero on all samples; at {_best(evidence)}, "
        f"{before.dead_at_best:.0%} of them were. {_compared(before)}{large}",
        "continue from a checkpoint of that time, with a smaller learning rate or gradient clipping, as in "
        "`Trainer(gradient_clip_val=1.0)`; units of `nn.LeakyReLU()` cannot die.",
        "evidence" if _stays(evidence) else "note",
    )


def lost_midway(evidence: Evidence) -> Finding | None:
    """Return `lost-midway` if the weights have lost what the run had learned, and the data have not changed."""
    before, history = evidence.get(BeforeAndAfter), evidence.get(WeightHistory)
    risen = history is not None and history.rate_has_risen >= RISEN
    if before is None or not _lost(evidence, before, LOST_TO_THE_RATE if risen else LOST_SHARE) or _died(before):
        return None
    then = "gradient clipping, as in `Trainer(gradient_clip_val=1.0)`"
    if history is not None and risen:
        then = f"a schedule that does not rise above the {history.best_rate:.2g} of that time"
    return Finding(
        "lost-midway",
        Cause.LEARNING_RATE_TOO_LARGE,
        f"The run has lost {min(1.0, before.lost_share or 1.0):.0%} of what it had learned at {_best(evidence)}. "
        f"{_compared(before)}{_steps_were_large(evidence)}",
        f"continue from a checkpoint of that time, with a smaller learning rate or {then}.",
        "evidence" if _stays(evidence) else "note",
    )


def weights_put_back(evidence: Evidence) -> Finding | None:
    """Return `weights-put-back` if the weights take many steps and stay where they are, but a copy of them does not.

    Weights at a minimum, or that jump to and fro, stay near as well. At a minimum the same optimizer lowers the loss of
    a copy no further, and where weights jump, smaller steps or the mean of the path lower it at least as much.
    """
    history, trials, trend = evidence.get(WeightHistory), evidence.get(Trials), evidence.get(Trend)
    if history is None or trials is None or trend is None or history.reach_in_steps is None or not trend.level:
        return None
    most = max(FEW_STEPS, OF_RANDOM_WALK * math.sqrt(history.steps))
    if history.steps < MANY_STEPS or history.reach_in_steps > most or not trend.seems_stalled:
        return None
    of_run = max(0.0, trend.largest_fall) / trend.level / trend.window
    if trials.own <= max(GAIN_SMALL, trials.smaller_steps, AS_FAST * of_run * trials.steps):
        return None
    return Finding(
        "weights-put-back",
        Cause.NOT_UPDATING,
        f"In {history.steps} steps the weights were never farther from the present ones than "
        f"{history.reach_in_steps:.2g} lengths of a step (threshold {most:.2g}), while {trials.steps} steps of the "
        f"same optimizer lower the loss of a copy by {trials.own:.0%} (threshold {GAIN_SMALL:.0%}). So something puts "
        "the weights back.",
        "look for what writes to the weights besides the optimizer: `load_state_dict`, `p.data = ...` or "
        "`p.copy_(...)` in a hook or a callback, and averaged weights that are not exchanged back.",
    )


def data_changed(evidence: Evidence) -> Finding | None:
    """Return a finding if the loss has risen because the data have changed, and not because the weights are damaged.

    The best earlier weights then do worse on the present batches than the initial weights, which know nothing, although
    the loss had been far below its start. All conditions are differences of losses.
    """
    before, level = evidence.get(BeforeAndAfter), evidence.get(LossLevel)
    if before is None or before.start is None or level is None or level.start_spread is None:
        return None
    if not best_is_worse_than_start(evidence):
        return None
    initial, best = before.start, before.best
    # The level is a mean over the last steps, some of which may be from before the change.
    now = max(level.now, before.now)
    gained, lost = level.start - level.best, now - level.best
    if gained <= FALL_IN_STANDARD_DEVIATIONS * level.start_spread:
        return None
    # A loss far above its start has not only lost what it knew: its targets may grow, as in reinforcement learning.
    if not LOST_SHARE * gained <= lost <= (1 + LOST_SHARE) * gained or not best - initial >= WORSE * gained:
        return None
    return Finding(
        "data-changed",
        Cause.NOTHING_TO_LEARN,
        f"The data have changed: the loss had come from {level.start:.3g} to {level.best:.3g} and is {now:.3g} "
        f"now, and on the present batches the best earlier weights have a loss of {best:.3g}, more than the initial "
        f"weights ({initial:.3g}). So the weights are not damaged, but targets no longer belong to their inputs.",
        "look at a batch from before and from now: what does the data set, the sampler or a transform do differently "
        "from that step on? Are inputs and targets shuffled together?",
        "evidence" if evidence.get(Plateau) is not None else "note",
    )


def _lost(evidence: Evidence, before: BeforeAndAfter, least: float = LOST_SHARE) -> bool:
    """Return whether the best weights had clearly gained, and this share of it is lost on the present batches."""
    share, level = before.lost_share, evidence.get(LossLevel)
    if share is None or share < least or level is None or level.start_spread is None or before.changed_around:
        return False
    error = before.error if before.error is not None else level.spread
    clear = before.lost / share > FALL_IN_STANDARD_DEVIATIONS * level.start_spread
    return clear and error is not None and before.lost > RISE_IN_STANDARD_ERRORS * error


def _died(before: BeforeAndAfter) -> bool:
    return before.dead >= DEAD and before.dead_at_best < before.dead / 2


def _stays(evidence: Evidence) -> bool:
    """Return whether the run does not find its way back: its own optimizer gains little, or the loss has stalled.

    In the first tenth of a run, many losses go up and down.
    """
    trials, trend = evidence.get(Trials), evidence.get(Trend)
    if trials is None or too_early(evidence):
        return False
    return trials.own <= GAIN_CLEAR or (trend is not None and trend.proven)


def _steps_were_large(evidence: Evidence) -> str:
    """Return why the steps were too large, in a sentence; empty if they were not."""
    history, trials, updates = evidence.get(WeightHistory), evidence.get(Trials), evidence.get(UpdateStatistics)
    if history is not None and history.rate_has_risen >= RISEN:
        return f" The learning rate was {history.best_rate:.2g} then, and is {history.rate:.2g} now."
    if history is not None and history.fastest is not None and history.fastest > TOO_FAST:
        return (
            f" Before step {history.fastest_step} the weights moved {history.fastest:.3g} times as fast as before "
            f"(threshold {TOO_FAST:g})."
        )
    if trials is not None and trials.smaller_steps > GAIN_CLEAR:
        return f" Smaller steps lower the loss of a copy by {trials.smaller_steps:.0%} (threshold {GAIN_CLEAR:.0%})."
    if updates is not None and updates.travelled is not None and updates.travelled > TRAVEL_LARGE:
        return (
            f" Over 5% of the run the updates add up to {updates.travelled:.2g} times the norm of the weights "
            f"(threshold {TRAVEL_LARGE:g})."
        )
    return ""


def _best(evidence: Evidence) -> str:
    history = evidence.get(WeightHistory)
    return "its best" if history is None or history.best_step is None else f"step {history.best_step}"


def _compared(before: BeforeAndAfter) -> str:
    return (
        f"On the present batches, the weights of that time have a loss of {before.best:.3g} and the present ones one "
        f"of {before.now:.3g}, so the weights have changed and not the data."
    )
