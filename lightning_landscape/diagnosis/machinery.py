"""Detectors for what goes wrong before geometry comes in: data, units, optimizer, schedule, step size."""

from __future__ import annotations

import math

from lightning_landscape.diagnosis.judging import (
    BALANCED,
    BLOWN_UP,
    CANCELLED,
    DEAD,
    DECAYED,
    FIRST_LOSSES,
    FROZEN,
    GAIN_CLEAR,
    GAIN_LARGE,
    GAIN_NONE,
    HALF_WAY,
    HARDLY_BELOW,
    HAS_GRADIENT,
    LATE,
    LOST,
    PART_OF_THE_MODEL,
    RISEN,
    STANDARD_ERRORS,
    TRAVEL_LARGE,
    TRAVEL_SMALL,
    UNLEARNED,
    WAY_DOWN,
    has_come_down,
    has_learned,
    share_of_start,
    verdict_of,
)
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Divergence,
    Evidence,
    GradientScale,
    InputUse,
    LossLevel,
    Restart,
    Schedule,
    StartingPoint,
    Trend,
    Trials,
    UpdateStatistics,
    Verdict,
)


def diverged(evidence: Evidence) -> Verdict | None:
    """The loss is not finite, or grows without bound."""
    divergence = evidence.get(Divergence)
    if divergence is None:
        return None
    grown = f"The training loss grew from {divergence.start:.4g} to {divergence.now:.4g} and is still growing."
    lost = f"The training loss is {divergence.now} and does not come back (it started at {divergence.start:.4g})."
    return verdict_of(evidence, Cause.DIVERGED, grown if divergence.finite else lost)


def dead(evidence: Evidence) -> Verdict | None:
    """Nothing passes through a layer, since all its units are zero on every sample."""
    activity = evidence.get(Activity)
    if activity is None or activity.dead < DEAD or has_learned(evidence):
        return None
    reason = f"In {activity.dead_layer} {activity.dead:.0%} of the units are zero on all {activity.samples} samples"
    reason = f"{reason} (threshold {DEAD:.0%})"
    if (rise := _first_rise(evidence)) > BLOWN_UP:
        why = f"{reason}; they died when the first steps raised the loss {rise:.2g}-fold."
        return verdict_of(evidence, Cause.LEARNING_RATE_TOO_LARGE, why, stuck=True)
    return verdict_of(evidence, Cause.FLAT_REGION, f"{reason}.")


def not_updating(evidence: Evidence) -> Verdict | None:
    """A large part of the weights is out of reach, and those that are trained do not move or cannot lower the loss.

    Target networks, teachers and parts that are switched off are out of reach as well, and beside them others learn.
    """
    movement, level, trials = evidence.get(UpdateStatistics), evidence.get(LossLevel), evidence.get(Trials)
    if movement is None or level is None or has_come_down(evidence):
        return None
    by_optimizer, by_any = (0.0, 0.0) if trials is None else (trials.by_itself, trials.best)
    for share, found, gain in (
        (movement.not_in_optimizer, "No optimizer holds {:.0%} of the trainable parameters", by_optimizer),
        (movement.no_grad_share, "{:.0%} of the parameters receive no gradient at all", by_any),
    ):
        if share > PART_OF_THE_MODEL and gain <= GAIN_CLEAR:
            others = "do not move" if movement.travelled == 0 else "have not brought the loss down"
            reason = f"{found.format(share)} (threshold {PART_OF_THE_MODEL:.0%}), and the others {others}."
            return verdict_of(evidence, Cause.NOT_UPDATING, reason)
    return None


def asks_for_trials(evidence: Evidence) -> bool:
    """Whether weights that move beside others that are out of reach may yet prove to lower the loss."""
    movement = evidence.get(UpdateStatistics)
    if movement is None or movement.travelled == 0 or evidence.get(Trials) is not None:
        return False
    return max(movement.not_in_optimizer, movement.no_grad_share) > PART_OF_THE_MODEL


def too_large(evidence: Evidence) -> Verdict | None:
    """The weights go a long way for nothing, and smaller steps or the mean of the path do better."""
    movement, level, trials = evidence.get(UpdateStatistics), evidence.get(LossLevel), evidence.get(Trials)
    if movement is None or level is None or trials is None or movement.travelled is None:
        return None
    smaller, larger, share = trials.smaller_steps, trials.gain("learning rate x10"), share_of_start(evidence)
    if larger > GAIN_CLEAR and larger >= smaller:
        return None
    plain = smaller - max(0.0, trials.own) > GAIN_LARGE  # on the same batches, whatever the noise hides
    if movement.travelled <= TRAVEL_LARGE or share <= (HALF_WAY if plain else HARDLY_BELOW):
        return None
    plain = plain or share > RISEN
    if smaller > GAIN_CLEAR:
        why = f"smaller steps lower it by {smaller:.0%}"
    elif share > RISEN:
        why = "the loss lies above its start"
    elif level.best > 0 and level.now > LOST * level.best:
        why = f"the loss was as low as {level.best:.3g} before"
    elif share > UNLEARNED and (rise := _first_rise(evidence)) > BLOWN_UP:
        why, plain = f"the first steps raised the loss {rise:.2g}-fold, and it has not come below its start since", True
    else:
        return None
    return verdict_of(
        evidence,
        Cause.LEARNING_RATE_TOO_LARGE,
        f"In 5% of the run the updates add up to {movement.travelled:.2g} times the weights (threshold "
        f"{TRAVEL_LARGE:g}) and lead nowhere; {why}.",
        stuck=True if plain else None,
    )


def _first_rise(evidence: Evidence) -> float:
    """Mean of the first losses over the loss before any step; 1 where that is not known, has no scale, or is chance.

    The two are means over different batches, and single batches may differ as much as the means do.
    """
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if start is None or level is None or not 0 < start.loss < math.inf:
        return 1.0
    if level.start_spread is not None and start.batches:
        error = level.start_spread * math.sqrt(1 / FIRST_LOSSES + 1 / start.batches)
        if level.start - start.loss <= STANDARD_ERRORS * error:
            return 1.0
    return level.start / start.loss


def barely_trained(evidence: Evidence) -> Verdict | None:
    """Next to all parameters are frozen, and those that are not cannot lower the loss."""
    movement, use, trials = evidence.get(UpdateStatistics), evidence.get(InputUse), evidence.get(Trials)
    if movement is None or use is None or trials is None or movement.frozen <= FROZEN:
        return None
    if has_learned(evidence) or use.unpaired or trials.best > GAIN_CLEAR:
        return None
    reason = f"{movement.frozen:.0%} of the parameters are frozen (threshold {FROZEN:.0%})"
    return verdict_of(evidence, Cause.NOT_UPDATING, f"{reason}, and the others alone make no use of the inputs.")


def scheduled_end(evidence: Evidence) -> Verdict | None:
    """The learning rate has been taken down on purpose, late in the run."""
    schedule = evidence.get(Schedule)
    if schedule is None or schedule.elapsed is None:
        return None
    if schedule.share_of_peak >= DECAYED or schedule.elapsed <= LATE:
        return None
    return verdict_of(
        evidence,
        Cause.SCHEDULED_END,
        f"The learning rate is {schedule.learning_rate:.3g}, {schedule.share_of_peak:.1%} of its peak (threshold "
        f"{DECAYED:.0%}), after {schedule.elapsed:.0%} of the run.",
    )


def motionless(evidence: Evidence) -> Verdict | None:
    """The weights are where they were at the start although they have a gradient."""
    movement, gradient, start = evidence.get(UpdateStatistics), evidence.get(GradientScale), evidence.get(StartingPoint)
    if movement is None or gradient is None or not gradient.relative > HAS_GRADIENT:
        return None
    # Steps that are next to nothing leave the loss alone to the bit as well.
    returned = start is not None and start.loss == start.now and (movement.travelled or 0.0) > TRAVEL_SMALL
    if not returned and (movement.travelled != 0 or _held_by_decay(movement)):
        return None
    what = "come back to where they began, to the bit" if returned else "not moved at all"
    return verdict_of(
        evidence,
        Cause.NOT_UPDATING,
        f"The weights have {what}, though the gradient is {gradient.norm:.3g} "
        f"(relative size {gradient.relative:.2g}, threshold {HAS_GRADIENT:g}).",
        stuck=True if returned else None,
    )


def uphill(evidence: Evidence) -> Verdict | None:
    """The steps go up: a sign is wrong, in the loss, in the gradient or in the optimizer."""
    trend, trials = evidence.get(Trend), evidence.get(Trials)
    if trend is None or trials is None or not 0 < trend.margin < -trend.progress:
        return None
    downhill, tenth = trials.gain("line search"), trials.gain("learning rate x0.1")
    if share_of_start(evidence) <= 1.0 or downhill < WAY_DOWN or trials.own > -WAY_DOWN or not trials.own < tenth < 0:
        return None
    return verdict_of(
        evidence,
        Cause.DIVERGED,
        f"The steps go uphill: they raise the loss by {-trials.own:.0%}, and at a tenth of the learning rate by "
        f"{-tenth:.1%}, where a step against the gradient lowers it by {downhill:.0%}. Is a sign wrong?",
    )


def balanced(evidence: Evidence) -> Verdict | None:
    """Weight decay and gradient hold each other: an equilibrium that was asked for."""
    trials, movement = evidence.get(Trials), evidence.get(UpdateStatistics)
    if movement is not None and _held_by_decay(movement):
        left = f"The weights rest, and the weight decay leaves {movement.left_by_decay:.1%} of the gradient"
        return verdict_of(evidence, Cause.SETTLED, f"{left} (threshold {CANCELLED:.0%}): the two are in balance.")
    if trials is None or not BALANCED <= trials.decay_pull <= 1 / BALANCED:
        return None
    reason = f"The weight decay pulls {trials.decay_pull:.2g} times as hard as the gradient (threshold {BALANCED:g})"
    return verdict_of(evidence, Cause.SETTLED, f"{reason}: the two are in balance.")


def _held_by_decay(movement: UpdateStatistics) -> bool:
    """Whether the weights stand still because their decay cancels the gradient."""
    return movement.travelled == 0 and movement.left_by_decay is not None and movement.left_by_decay < CANCELLED


def unpaired_minimum(evidence: Evidence) -> Verdict | None:
    """The loss is one of the inputs alone, and no trial lowers it; where it never came down, no restart does either."""
    use, trials, restart = evidence.get(InputUse), evidence.get(Trials), evidence.get(Restart)
    if use is None or not use.unpaired or trials is None:
        return None
    known = has_learned(evidence)
    if trials.best > (GAIN_CLEAR if known else GAIN_NONE):
        return None
    if not known and not _fell_visibly(evidence) and (restart is None or restart.gain > GAIN_NONE):
        return None
    return verdict_of(evidence, Cause.SETTLED, f"No trial lowered it by more than {trials.best:.1%} on other batches.")


def _fell_visibly(evidence: Evidence) -> bool:
    """Whether the loss of the same batches fell by more than single batches differ, wherever its zero is."""
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if start is None or level is None or level.spread is None:
        return False
    return math.isfinite(start.loss) and start.loss - start.now > level.spread


def constant_inputs(evidence: Evidence) -> Verdict | None:
    """Every sample is the same."""
    use = evidence.get(InputUse)
    if use is None or use.varied:
        return None
    return verdict_of(evidence, Cause.NOTHING_TO_LEARN, "All inputs of the examined batches are the same.")
