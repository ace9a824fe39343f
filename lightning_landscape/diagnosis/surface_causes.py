"""Detectors for causes in the shape of the loss surface, and for runs in which no cause was found."""

from __future__ import annotations

from lightning_landscape.diagnosis.learning import (
    beats_constant,
    falls_by_inputs,
    has_learned,
    high_share_of_start,
    share_of_start,
    way_to_go,
)
from lightning_landscape.diagnosis.proof import lasts, proven, stands_still, too_early, untested
from lightning_landscape.diagnosis.thresholds import (
    ACTIVATIONS_SATURATED,
    FIRST_TO_LAST_VANISHED,
    GAIN_CLEAR,
    GAIN_LARGE,
    GAIN_NONE,
    GAIN_OF_RESTART,
    GAIN_SMALL,
    GAIN_WAY_DOWN,
    PARAMETERS_STILL,
    RELATIVE_GRADIENT_LARGE,
    RELATIVE_GRADIENT_NONE,
    RELATIVE_GRADIENT_SMALL,
    SHARE_OF_PEAK_SMALL,
    SHARE_OF_START_RISEN,
    TENFOLD_RATE_OVER_OWN_GAIN,
    TRAVEL_LARGE,
    TRAVEL_NONE,
    TRAVEL_SMALL,
    UNITS_DUPLICATE,
    WAY_TO_GO_SMALL,
)
from lightning_landscape.diagnosis.verdicts import goes_down, verdict_of
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Curvature,
    Evidence,
    GradientScale,
    InputUse,
    LossLevel,
    Restart,
    Schedule,
    Symmetry,
    Trend,
    Trials,
    UpdateStatistics,
    Verdict,
)


def too_small(evidence: Evidence) -> Verdict | None:
    """Return `learning_rate_too_small` if the run is on a slope but its weights hardly move.

    Larger steps must lower the loss; for extremely short steps the slope alone is evidence enough.
    """
    updates, trials = evidence.get(UpdateStatistics), evidence.get(Trials)
    if updates is None or trials is None or updates.travelled is None:
        return None
    gain, tenfold = max(trials.gain("adam"), trials.gain("line search")), trials.gain("learning rate x10")
    learned = has_learned(evidence)
    least_gain, least_slope = GAIN_LARGE if learned else GAIN_CLEAR, RELATIVE_GRADIENT_LARGE
    low, high = TENFOLD_RATE_OVER_OWN_GAIN
    if trials.own > 0 and low < tenfold / trials.own < high and not learned:
        # The gain grows in proportion to the step, so the slope continues beyond the steps of the trials.
        least_gain, least_slope = GAIN_NONE, RELATIVE_GRADIENT_SMALL
    if updates.travelled >= TRAVEL_SMALL or trials.relative_gradient < least_slope:
        return None
    if max(gain, tenfold) >= least_gain:
        detail = f"larger steps on a copy lower the loss by {max(gain, tenfold):.0%} (threshold {least_gain:.0%})"
    elif updates.travelled < TRAVEL_NONE and not learned and not is_saturated(evidence):
        detail = f"updates below {TRAVEL_NONE:g} times the weights cannot lower the loss, whatever the data are"
    else:
        return None
    return verdict_of(
        evidence,
        Cause.LEARNING_RATE_TOO_SMALL,
        f"Over 5% of the run the updates add up to {updates.travelled:.1g} times the norm of the weights (threshold "
        f"{TRAVEL_SMALL:g}), although the relative gradient is {trials.relative_gradient:.2g} (threshold "
        f"{least_slope:g}); {detail}.",
    )


def without_slope(evidence: Evidence) -> Verdict | None:
    """Return `flat_region` if the gradient is exactly zero, the loss is not, and there is no curvature either."""
    trials, level = evidence.get(Trials), evidence.get(LossLevel)
    if trials is None or level is None or trials.relative_gradient != 0 or trials.best > 0 or level.now == level.floor:
        return None
    curvature = evidence.get(Curvature)
    if curvature is not None and not curvature.degenerate:
        return None
    reason = f"The gradient is exactly zero on all {trials.samples} samples, and no trial lowers the loss at all."
    return verdict_of(evidence, Cause.FLAT_REGION, reason, stuck=True)


def duplicate_units(evidence: Evidence) -> Verdict | None:
    """Return `saddle_point` if units are duplicates of one another and a restart does better (Fukumizu 2000)."""
    symmetry, restart = evidence.get(Symmetry), evidence.get(Restart)
    if symmetry is None or symmetry.share <= UNITS_DUPLICATE or restart is None or restart.gain < GAIN_OF_RESTART:
        return None
    trials = evidence.get(Trials)
    beyond_noise = restart.gain > GAIN_LARGE and trials is not None and trials.own <= GAIN_SMALL
    return verdict_of(
        evidence,
        Cause.SADDLE_POINT,
        f"In {symmetry.layer} {symmetry.share:.0%} of the units started with weights that are zero or equal to those "
        f"of another unit (threshold {UNITS_DUPLICATE:.0%}); a run from re-initialised weights lowers the loss by "
        f"{restart.gain:.0%} in {restart.steps} steps (threshold {GAIN_OF_RESTART:.0%}).",
        stuck=True if beyond_noise else None,
    )


def saturated(evidence: Evidence) -> Verdict | None:
    """Return `flat_region` if nearly all outputs of a layer lie at the bounds of its activation, where it is flat."""
    activity, restart = evidence.get(Activity), evidence.get(Restart)
    if activity is None or activity.saturated < ACTIVATIONS_SATURATED:
        return None
    if has_learned(evidence) and (restart is None or restart.gain < GAIN_OF_RESTART):
        return None
    where = f"In {activity.saturated_layer} {activity.saturated:.0%} of the outputs lie at the bounds of the activation"
    return verdict_of(evidence, Cause.FLAT_REGION, f"{where} (threshold {ACTIVATIONS_SATURATED:.0%}).", stuck=True)


def saddle(evidence: Evidence) -> Verdict | None:
    """Return `saddle_point` if there is a way down that the run does not find.

    It is found along the most negative curvature, or by Adam, and must lower the loss clearly further than the
    run's own optimizer, at a learning rate that has not been decayed to nothing. If the gradient vanishes towards the
    input, a gain of Adam alone does not show a saddle, unless the gradient is close to zero as a whole.
    """
    curvature, trials, gradient = evidence.get(Curvature), evidence.get(Trials), evidence.get(GradientScale)
    schedule = evidence.get(Schedule)
    if trials is None or (schedule is not None and schedule.share_of_peak < SHARE_OF_PEAK_SMALL):
        return None
    own, critical = max(0.0, trials.own), trials.relative_gradient < RELATIVE_GRADIENT_NONE
    drop = _held_out_drop(curvature)
    by_curvature = drop - own > GAIN_WAY_DOWN
    if has_learned(evidence):
        least_gain = GAIN_LARGE
        near_critical = by_curvature or trials.relative_gradient < RELATIVE_GRADIENT_SMALL
        visible = way_to_go(evidence, trials.gain("adam")) >= WAY_TO_GO_SMALL
        way_down = trials.gain("adam") - own > least_gain and near_critical and visible
    else:
        # At a critical point the run's own steps are tiny, so a smaller gain of other steps is evidence enough.
        least_gain = GAIN_WAY_DOWN if critical else GAIN_CLEAR
        way_down = trials.gain("adam") - own > least_gain or by_curvature
    vanishes = gradient is not None and gradient.first_to_last < FIRST_TO_LAST_VANISHED and not critical
    if not way_down or (vanishes and not by_curvature):
        return None
    evidence_of_way = (
        f"Along the direction of most negative curvature the held-out loss falls by {drop:.0%} (threshold "
        f"{GAIN_WAY_DOWN:.0%})"
        if by_curvature
        else f"{trials.steps} steps of Adam on a copy lower the held-out loss by {trials.gain('adam'):.0%} (threshold "
        f"{least_gain:.0%})"
    )
    reason = f"{evidence_of_way}, while the relative gradient is {trials.relative_gradient:.2g}."
    return verdict_of(evidence, Cause.SADDLE_POINT, reason)


def vanishing(evidence: Evidence) -> Verdict | None:
    """Return `flat_region` if the gradient vanishes on its way back from the last layers to the first."""
    gradient = evidence.get(GradientScale)
    if gradient is None or gradient.first_to_last >= FIRST_TO_LAST_VANISHED or gradient.norm == 0:
        return None
    if has_learned(evidence):
        return None
    first, *_, last = gradient.groups
    return verdict_of(
        evidence,
        Cause.FLAT_REGION,
        f"The gradient vanishes on its way back: its norm is {gradient.groups[first]:.2g} in {first} and "
        f"{gradient.groups[last]:.2g} in {last}, a ratio of {gradient.first_to_last:.1g} (threshold "
        f"{FIRST_TO_LAST_VANISHED:g}).",
    )


def slow(evidence: Evidence) -> Verdict | None:
    """Return `slow` if the run has learned and Adam still lowers the loss a lot, but no obstacle was found.

    The fall must be a visible part of the way from the start, since the rest of a small loss is soon halved.
    """
    trials, trend = evidence.get(Trials), evidence.get(Trend)
    if trials is None or trend is None or not has_learned(evidence) or too_early(evidence):
        return None
    if trials.gain("adam") <= GAIN_LARGE or way_to_go(evidence, trials.gain("adam")) < WAY_TO_GO_SMALL:
        return None
    gain = f"{trials.gain('adam'):.0%} (threshold {GAIN_LARGE:.0%})"
    reason = f"{trials.steps} steps of Adam on a copy lower the held-out loss by {gain}, and no obstacle was found."
    return verdict_of(evidence, Cause.SLOW, reason)


def settled(evidence: Evidence) -> Verdict | None:
    """Return `settled` if the run has learned and stopped, and everything that could show it stuck was tested.

    No test shows it stuck then, no part stands still, and noise does not hide whether the loss still falls. A loss of
    the inputs alone that never fell is settled where no trial and no restart lowers it at all.
    """
    level, trend = evidence.get(LossLevel), evidence.get(Trend)
    trials, restart = evidence.get(Trials), evidence.get(Restart)
    if level is None or trend is None or too_early(evidence) or untested(evidence) or not proven(evidence):
        return None
    if trials is None or restart is None or _larger_steps(trials) > GAIN_OF_RESTART:
        return None
    if stands_still(evidence) > PARAMETERS_STILL:
        return None
    use, best = evidence.get(InputUse), max(trials.best, restart.gain)
    at_floor = use is not None and use.unpaired and best <= GAIN_NONE
    if not has_learned(evidence) and not at_floor:
        return None
    return verdict_of(
        evidence,
        Cause.SETTLED,
        f"The loss came from {level.start:.4g} to {level.now:.4g} and stays there. Neither other learning rates nor "
        "new initial weights come clearly lower, and every part of the model moves. This run cannot show whether a "
        "larger model or other data would.",
    )


def _larger_steps(trials: Trials) -> float:
    """Return by how much the best trial with larger steps beats going on; smaller steps only show the noise floor."""
    return max(trials.gain("adam"), trials.larger_rates) - max(0.0, trials.own)


def undecided(evidence: Evidence) -> Verdict | None:
    """Return `undecided` for any stalled run: this detector comes last, after all that look for a cause.

    It is an alarm where the loss has stood still near its start for a tenth of the run, or where what had been learned
    is lost, and going on does not help.
    """
    level, trend = evidence.get(LossLevel), evidence.get(Trend)
    if level is None or trend is None:
        return None
    share, updates, missing = share_of_start(evidence), evidence.get(UpdateStatistics), untested(evidence)
    lost = share > SHARE_OF_START_RISEN and updates is not None and (updates.travelled or 0.0) > TRAVEL_LARGE
    learned = has_learned(evidence) or falls_by_inputs(evidence)
    high = share > high_share_of_start(evidence) or beats_constant(evidence) is False
    stays_high = lasts(evidence) and high and not learned
    reason = f"The loss came from {level.start:.4g} and stands at {level.now:.4g}; no measurement shows why."
    if missing:
        reason += f" Not tested: {'; '.join(missing)}."
    elif stands_still(evidence) > PARAMETERS_STILL:
        reason += f" {stands_still(evidence):.0%} of the model still has its initial values, although it is trained."
    elif too_early(evidence):
        reason += " Less than a tenth of the run has passed, so this may be a pause."
    elif not proven(evidence):
        reason += " Noise hides whether the loss still falls."
    restart = evidence.get(Restart)
    if restart is not None and not restart.trained:
        reason += f" The loss blew up in the restart of {restart.steps} steps, so the restart shows nothing."
    return verdict_of(evidence, Cause.UNDECIDED, reason, stuck=(stays_high or lost) and not goes_down(evidence))


def needs_curvature(evidence: Evidence) -> bool:
    """Return whether the curvature can still change the verdict.

    After a run has learned, only a large gain of Adam makes a saddle, and curvature then shows whether it is one.
    """
    trials = evidence.get(Trials)
    return not has_learned(evidence) or (trials is not None and trials.gain("adam") - max(0.0, trials.own) > GAIN_LARGE)


def is_saturated(evidence: Evidence) -> bool:
    """Return whether nearly all outputs of a layer lie at the bounds of its activation."""
    activity = evidence.get(Activity)
    return activity is not None and activity.saturated >= ACTIVATIONS_SATURATED


def _held_out_drop(curvature: Curvature | None) -> float:
    """Return the relative fall of the held-out loss along the most negative curvature; 0 if it was not measured."""
    return 0.0 if curvature is None else curvature.held_out_drop
