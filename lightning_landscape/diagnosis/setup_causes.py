"""Detectors for causes in the training setup: optimizer, trained parameters, step size, schedule and dead units."""

from __future__ import annotations

from lightning_landscape.diagnosis.learning import (
    best_is_worse_than_start,
    has_fallen,
    has_learned,
    rise_of_first_steps,
    share_of_start,
)
from lightning_landscape.diagnosis.particular_advice import against_dead_units, against_weight_decay
from lightning_landscape.diagnosis.thresholds import (
    DECAY_PULL_BALANCED,
    ELAPSED_LATE,
    GAIN_CLEAR,
    GAIN_LARGE,
    LEFT_BY_DECAY_SMALL,
    PARAMETERS_FROZEN,
    PARAMETERS_UNREACHED,
    RELATIVE_GRADIENT_NONE,
    RISE_FROM_BEST,
    RISE_OF_FIRST_STEPS,
    SHARE_OF_PEAK_SMALL,
    SHARE_OF_START_HALFWAY,
    SHARE_OF_START_HIGH,
    SHARE_OF_START_MIDDLE,
    SHARE_OF_START_RISEN,
    TRAVEL_LARGE,
    TRAVEL_SMALL,
    UNITS_DEAD,
)
from lightning_landscape.diagnosis.verdicts import verdict_of
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Evidence,
    GradientScale,
    InputUse,
    LossLevel,
    Parts,
    Schedule,
    StartingPoint,
    Trials,
    UpdateStatistics,
    Verdict,
)

GROWN = 3.0
"""From this ratio to their initial norm on, weights show steps that may have been too large: two layers together pass
on about ten times as much as at the start"""
PART_OF_THE_MODEL = 0.1
"""share of the model above which weights that have grown are worth a test"""


def dead(evidence: Evidence) -> Verdict | None:
    """Return `flat_region` if nearly all units of a layer are zero on every sample, so the layer passes nothing on.

    If the first steps raised the loss a lot, they have probably killed the units; the cause is then
    `learning_rate_too_large`.
    """
    activity = evidence.get(Activity)
    if activity is None or activity.dead < UNITS_DEAD or has_learned(evidence):
        return None
    reason = f"In {activity.dead_layer} {activity.dead:.0%} of the units are zero on all {activity.samples} samples"
    reason = f"{reason} (threshold {UNITS_DEAD:.0%})"
    if (rise := rise_of_first_steps(evidence)) > RISE_OF_FIRST_STEPS:
        reason = f"{reason}; the first steps had raised the loss {rise:.2g}-fold (threshold {RISE_OF_FIRST_STEPS:g})."
        return verdict_of(evidence, Cause.LEARNING_RATE_TOO_LARGE, reason, stuck=True)
    return verdict_of(evidence, Cause.FLAT_REGION, f"{reason}.", particular=against_dead_units(evidence))


def not_updating(evidence: Evidence) -> Verdict | None:
    """Return `not_updating` if a large part of the weights is not trained and training the others does not help.

    Target networks, teachers and disabled parts of a model are not trained by design; the loss then falls by training
    the others.
    """
    updates, level, trials = evidence.get(UpdateStatistics), evidence.get(LossLevel), evidence.get(Trials)
    if updates is None or level is None or has_fallen(evidence):
        return None
    # The run's own optimizer cannot move what it does not hold; other trials can.
    own_gain, best_gain = (0.0, 0.0) if trials is None else (trials.own_at_any_rate, trials.best)
    for share, sentence, gain in (
        (updates.not_in_optimizer, "No optimizer holds {:.0%} of the trainable parameters", own_gain),
        (updates.no_grad_share, "{:.0%} of the parameters receive no gradient at all", best_gain),
    ):
        if share > PARAMETERS_UNREACHED and gain <= GAIN_CLEAR:
            others = "do not move" if updates.travelled == 0 else "have not lowered the loss"
            reason = f"{sentence.format(share)} (threshold {PARAMETERS_UNREACHED:.0%}), and the others {others}."
            return verdict_of(evidence, Cause.NOT_UPDATING, reason)
    return None


def needs_trials(evidence: Evidence) -> bool:
    """Return whether trials may still show that a model lowers its loss although a large part of it is not trained."""
    updates = evidence.get(UpdateStatistics)
    if updates is None or updates.travelled == 0 or evidence.get(Trials) is not None:
        return False
    return max(updates.not_in_optimizer, updates.no_grad_share) > PARAMETERS_UNREACHED


def too_large(evidence: Evidence) -> Verdict | None:
    """Return `learning_rate_too_large` if the weights move far without lowering the loss, and shorter steps do better.

    Shorter steps must lower the loss by twice as much as going on does. Other evidence is a loss above its start, a
    loss far above its lowest value, or first steps that raised the loss a lot. The data must not have changed.
    """
    updates, level, trials = evidence.get(UpdateStatistics), evidence.get(LossLevel), evidence.get(Trials)
    if updates is None or level is None or trials is None or updates.travelled is None:
        return None
    smaller, larger, share = trials.smaller_steps, trials.gain("learning rate x10"), share_of_start(evidence)
    if (larger > GAIN_CLEAR and larger >= smaller) or best_is_worse_than_start(evidence):
        return None
    # All trials use the same batches, so noise cannot explain a difference of this size.
    beyond_noise = smaller - max(0.0, trials.own) > GAIN_LARGE
    too_high = SHARE_OF_START_HALFWAY if beyond_noise else SHARE_OF_START_MIDDLE
    # Steps that were far too large may have driven the weights to where they hardly move any more.
    far = updates.travelled > TRAVEL_LARGE or (beyond_noise and smaller >= trials.best)
    if not far or share <= too_high:
        return None
    beyond_noise = beyond_noise or share > SHARE_OF_START_RISEN
    if smaller > GAIN_CLEAR and smaller >= 2 * trials.own:
        detail = f"shorter steps on a copy lower it by {smaller:.0%} (threshold {GAIN_CLEAR:.0%})"
    elif share > SHARE_OF_START_RISEN:
        detail = f"it is above its start (ratio {share:.3g}, threshold {SHARE_OF_START_RISEN:g})"
    elif level.risen_from_best > RISE_FROM_BEST:
        detail = f"it has risen from {level.best:.3g} to {level.now:.3g} (threshold {RISE_FROM_BEST:g}-fold)"
    elif share > SHARE_OF_START_HIGH and (rise := rise_of_first_steps(evidence)) > RISE_OF_FIRST_STEPS:
        detail = (
            f"the first steps raised it {rise:.2g}-fold (threshold {RISE_OF_FIRST_STEPS:g}), and it is still above "
            f"{SHARE_OF_START_HIGH:.0%} of its start"
        )
        beyond_noise = True
    else:
        return None
    travel = f"Over 5% of the run the updates add up to {updates.travelled:.2g} times the norm of the weights"
    if updates.travelled > TRAVEL_LARGE:
        travel += f" (threshold {TRAVEL_LARGE:g})"
    return verdict_of(
        evidence,
        Cause.LEARNING_RATE_TOO_LARGE,
        f"{travel}, but the loss does not fall; {detail}.",
        stuck=True if beyond_noise else None,
    )


def barely_trained(evidence: Evidence) -> Verdict | None:
    """Return `not_updating` if nearly all parameters are frozen, and training the others does not lower the loss."""
    updates, use, trials = evidence.get(UpdateStatistics), evidence.get(InputUse), evidence.get(Trials)
    if updates is None or use is None or trials is None or updates.frozen <= PARAMETERS_FROZEN:
        return None
    if has_learned(evidence) or use.unpaired or trials.best > GAIN_CLEAR:
        return None
    return verdict_of(
        evidence,
        Cause.NOT_UPDATING,
        f"{updates.frozen:.0%} of the parameters are frozen (threshold {PARAMETERS_FROZEN:.0%}), and no trial with the "
        f"others lowers the loss by more than {trials.best:.0%} (threshold {GAIN_CLEAR:.0%}).",
    )


def scheduled_end(evidence: Evidence) -> Verdict | None:
    """Return `scheduled_end` if the schedule has decayed the learning rate late in the run."""
    schedule = evidence.get(Schedule)
    if schedule is None or schedule.elapsed is None:
        return None
    if schedule.share_of_peak >= SHARE_OF_PEAK_SMALL or schedule.elapsed <= ELAPSED_LATE:
        return None
    return verdict_of(
        evidence,
        Cause.SCHEDULED_END,
        f"The learning rate is {schedule.learning_rate:.3g}, which is {schedule.share_of_peak:.1%} of its peak "
        f"(threshold {SHARE_OF_PEAK_SMALL:.0%}), after {schedule.elapsed:.0%} of the run (threshold "
        f"{ELAPSED_LATE:.0%}).",
    )


def motionless(evidence: Evidence) -> Verdict | None:
    """Return `not_updating` if the weights have a gradient but do not move, or have returned to the initial weights."""
    updates, gradient, start = evidence.get(UpdateStatistics), evidence.get(GradientScale), evidence.get(StartingPoint)
    if updates is None or gradient is None or not gradient.relative > RELATIVE_GRADIENT_NONE:
        return None
    # Tiny updates can leave the loss unchanged to the last bit, which is no return to the initial weights.
    returned = start is not None and start.loss == start.now and (updates.travelled or 0.0) > TRAVEL_SMALL
    if not returned and (updates.travelled != 0 or _held_by_decay(updates)):
        return None
    observed = (
        "The loss of the present weights equals that of the initial weights to the last bit, despite the updates,"
        if returned
        else "The weights have not moved at all,"
    )
    return verdict_of(
        evidence,
        Cause.NOT_UPDATING,
        f"{observed} although the norm of the gradient is {gradient.norm:.3g} (relative gradient "
        f"{gradient.relative:.2g}, threshold {RELATIVE_GRADIENT_NONE:g}).",
        stuck=True if returned else None,
    )


def gradient_lost(evidence: Evidence) -> Verdict | None:
    """Return `not_updating` if no weight moves and the optimizer gets no gradient, but that of the loss is not zero."""
    updates, gradient, trials = evidence.get(UpdateStatistics), evidence.get(GradientScale), evidence.get(Trials)
    if updates is None or trials is None or _held_by_decay(updates):
        return None
    without_any = updates.travelled is None and updates.no_grad_share == 1  # `zero_grad` leaves None behind
    if not without_any and updates.travelled != 0:
        return None
    if gradient is not None and gradient.relative > RELATIVE_GRADIENT_NONE:
        return None
    if not trials.relative_gradient > RELATIVE_GRADIENT_NONE:
        return None
    return verdict_of(
        evidence,
        Cause.NOT_UPDATING,
        "The weights have not moved at all, and the optimizer gets no gradient when it takes its step, although the "
        f"loss has one (relative gradient {trials.relative_gradient:.2g} on a copy).",
        particular="call `optimizer.zero_grad()` before `self.manual_backward(loss)`, and not between it and "
        "`optimizer.step()`; if it is there already, look for what else sets the gradients to zero.",
    )


def large_steps(evidence: Evidence) -> bool:
    """Return whether anything suggests that the steps of the run are or were too large: then a test is worth its price.

    A part of the weights has grown threefold, or the steps do harm.
    """
    parts = evidence.get(Parts)
    grown = parts is not None and parts.share(lambda part: (part.norm_ratio or 0.0) > GROWN) > PART_OF_THE_MODEL
    return grown or steps_do_harm(evidence)


def steps_do_harm(evidence: Evidence) -> bool:
    """Return whether the steps raised the loss above its start, or smaller ones from here lower it clearly further."""
    trials = evidence.get(Trials)
    smaller = trials is not None and trials.smaller_rates - max(0.0, trials.own) > GAIN_CLEAR
    risen = share_of_start(evidence) > SHARE_OF_START_RISEN or rise_of_first_steps(evidence) > RISE_OF_FIRST_STEPS
    return smaller or risen


def balanced(evidence: Evidence) -> Verdict | None:
    """Return `settled` if the weight decay and the gradient cancel each other."""
    trials, updates = evidence.get(Trials), evidence.get(UpdateStatistics)
    if updates is not None and _held_by_decay(updates):
        left = f"{updates.left_by_decay:.1%} of the gradient is left after weight decay"
        reason = f"The weights do not move, because only {left} (threshold {LEFT_BY_DECAY_SMALL:.0%})."
        return verdict_of(evidence, Cause.SETTLED, reason, particular=against_weight_decay())
    if trials is None or not DECAY_PULL_BALANCED <= trials.decay_pull <= 1 / DECAY_PULL_BALANCED:
        return None
    limits = f"{DECAY_PULL_BALANCED:g} and {1 / DECAY_PULL_BALANCED:.2g}"
    reason = f"The weight decay is {trials.decay_pull:.2g} times as large as the gradient: they are in balance"
    return verdict_of(evidence, Cause.SETTLED, f"{reason} (thresholds {limits}).", particular=against_weight_decay())


def _held_by_decay(updates: UpdateStatistics) -> bool:
    """Return whether the weights do not move because the weight decay cancels the gradient."""
    left = updates.left_by_decay
    return updates.travelled == 0 and left is not None and left < LEFT_BY_DECAY_SMALL
