"""Detectors for causes in the shape of the loss surface."""

from __future__ import annotations

from dataclasses import replace

from lightning_landscape.diagnosis.findings.decay import naming_the_scheduler
from lightning_landscape.diagnosis.flatness import gradient_vanishes, is_saturated
from lightning_landscape.diagnosis.learning import (
    blown_up,
    has_learned,
    rise_of_first_steps,
    way_to_go,
)
from lightning_landscape.diagnosis.particular_advice import against_saturated_units, against_vanishing_gradients
from lightning_landscape.diagnosis.proof import proven
from lightning_landscape.diagnosis.thresholds import (
    ACTIVATIONS_SATURATED,
    FIRST_TO_LAST_VANISHED,
    GAIN_CLEAR,
    GAIN_LARGE,
    GAIN_NONE,
    GAIN_OF_RESTART,
    GAIN_SMALL,
    GAIN_WAY_DOWN,
    LOSS_SCALED_DOWN,
    RELATIVE_GRADIENT_LARGE,
    RELATIVE_GRADIENT_NONE,
    RELATIVE_GRADIENT_SMALL,
    RISE_BEYOND_CHANCE,
    SHARE_OF_PEAK_SMALL,
    TENFOLD_RATE_OVER_OWN_GAIN,
    TRAVEL_NONE,
    TRAVEL_SMALL,
    UNITS_DUPLICATE,
    WAY_TO_GO_SMALL,
    WEIGHTS_BLOWN_UP,
)
from lightning_landscape.diagnosis.verdicts import verdict_of
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Curvature,
    Evidence,
    GradientScale,
    LossLevel,
    Outputs,
    Restart,
    Schedule,
    Symmetry,
    Trials,
    UpdateStatistics,
    Verdict,
)


def too_small(evidence: Evidence) -> Verdict | None:
    """Return `learning_rate_too_small` if the run is on a slope but its weights hardly move.

    Larger steps must lower the loss; for extremely short steps the slope alone is evidence enough. Weights that move
    farther count as well where the run has learned, the plateau is proven and the gain grows in proportion to the step.
    """
    updates, trials = evidence.get(UpdateStatistics), evidence.get(Trials)
    if updates is None or trials is None or updates.travelled is None:
        return None
    gain, tenfold = max(trials.gain("adam"), trials.gain("line search")), trials.gain("learning rate x10")
    learned = has_learned(evidence)
    least_gain, least_slope = GAIN_LARGE if learned else GAIN_CLEAR, RELATIVE_GRADIENT_LARGE
    low, high = TENFOLD_RATE_OVER_OWN_GAIN
    # If the gain grows in proportion to the step, the slope continues beyond the steps of the trials.
    proportional = trials.own > 0 and low < tenfold / trials.own < high
    if proportional and not learned:
        least_gain, least_slope = GAIN_NONE, RELATIVE_GRADIENT_SMALL
    if trials.relative_gradient < least_slope:
        return None
    if updates.travelled >= TRAVEL_SMALL:
        best = max(gain, trials.larger_rates)
        much = best > GAIN_LARGE and way_to_go(evidence, best) >= WAY_TO_GO_SMALL
        # Where the targets move with the model, as in reinforcement learning, the loss rises while the model learns.
        level = evidence.get(LossLevel)
        fallen = learned and level is not None and level.now < level.start
        if not (fallen and proportional and proven(evidence) and much):
            return None
        reason = (
            f"Larger steps on a copy lower the loss by up to {best:.0%} (threshold {GAIN_LARGE:.0%}), and the gain "
            f"grows in proportion to the step: {trials.own:.1%} at the learning rate of the run, {tenfold:.1%} at ten "
            "times of it. So the loss lies on a slope that the steps are too short to follow."
        )
        return naming_the_scheduler(evidence, verdict_of(evidence, Cause.LEARNING_RATE_TOO_SMALL, reason, stuck=True))
    if max(gain, tenfold) >= least_gain:
        detail = f"larger steps on a copy lower the loss by {max(gain, tenfold):.0%} (threshold {least_gain:.0%})"
    elif updates.travelled < TRAVEL_NONE and not learned and not is_saturated(evidence):
        detail = f"updates below {TRAVEL_NONE:g} times the weights cannot lower the loss, whatever the data are"
    else:
        return None
    reason = (
        f"Over 5% of the run the updates add up to {updates.travelled:.1g} times the norm of the weights (threshold "
        f"{TRAVEL_SMALL:g}), although the relative gradient is {trials.relative_gradient:.2g} (threshold "
        f"{least_slope:g}); {detail}."
    )
    verdict = verdict_of(evidence, Cause.LEARNING_RATE_TOO_SMALL, reason)
    return naming_the_scheduler(evidence, _naming_the_factor(evidence, verdict))


def _naming_the_factor(evidence: Evidence, verdict: Verdict) -> Verdict:
    """Return the verdict that the rate is too small; with the factor first that makes the gradient small."""
    outputs = evidence.get(Outputs)
    best = None if outputs is None else outputs.best_constant
    if outputs is None or best is None or not 0 < outputs.loss < LOSS_SCALED_DOWN * best.loss:
        return verdict
    sentence = (
        f"The loss is {outputs.loss / best.loss:.2g} times the `{best.function}` that it is made of, and so is the "
        "gradient."
    )
    advice = f"return `F.{best.function}(...)` itself as the loss, its mean over the batch, without this factor."
    return replace(verdict, reason=f"{sentence}\n{verdict.reason}", advice=f"{advice}\n{verdict.advice}".strip())


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
    reason = (
        f"In {activity.saturated_layer} {activity.saturated:.0%} of the outputs lie at the bounds of the activation "
        f"(threshold {ACTIVATIONS_SATURATED:.0%})"
    )
    return _driven_there(evidence, reason) or verdict_of(
        evidence, Cause.FLAT_REGION, f"{reason}.", stuck=True, particular=against_saturated_units(evidence)
    )


def hardly_moves(evidence: Evidence) -> Verdict | None:
    """Return `learning_rate_too_small` if the steps are extremely short and there was no time for trials.

    The gradient must be large, and nothing must have been learned.
    """
    updates, gradient = evidence.get(UpdateStatistics), evidence.get(GradientScale)
    if updates is None or gradient is None or evidence.get(Trials) is not None:
        return None
    travelled = updates.travelled or 0.0
    if gradient.relative < RELATIVE_GRADIENT_LARGE or not 0 < travelled < TRAVEL_NONE or has_learned(evidence):
        return None
    reason = (
        f"Over 5% of the run the updates add up to {travelled:.1g} times the norm of the weights, which cannot lower "
        f"the loss, whatever the data are (threshold {TRAVEL_NONE:g}), although the relative gradient is "
        f"{gradient.relative:.2g} (threshold {RELATIVE_GRADIENT_LARGE:g})."
    )
    return naming_the_scheduler(evidence, verdict_of(evidence, Cause.LEARNING_RATE_TOO_SMALL, reason))


def saddle(evidence: Evidence) -> Verdict | None:
    """Return `saddle_point` if there is a way down that the run does not find.

    It is found along the most negative curvature, or by Adam, and must lower the loss clearly further than the run's
    own optimizer, at a learning rate that has not been decayed to nothing. A gain of Adam alone shows a saddle only
    where the gradient is small: on a slope, larger steps go further whatever the surface is like. Where the gradient
    vanishes towards the input, it shows none, unless the gradient is close to zero as a whole.
    """
    curvature, trials = evidence.get(Curvature), evidence.get(Trials)
    schedule = evidence.get(Schedule)
    if trials is None or (schedule is not None and schedule.share_of_peak < SHARE_OF_PEAK_SMALL):
        return None
    own, critical = max(0.0, trials.own), trials.relative_gradient < RELATIVE_GRADIENT_NONE
    drop = _held_out_drop(curvature)
    by_curvature = drop - own > GAIN_WAY_DOWN
    gain, learned = trials.gain("adam"), has_learned(evidence)
    # At a critical point the run's own steps are tiny, so a smaller gain of other steps is evidence enough.
    least_gain = GAIN_LARGE if learned else GAIN_WAY_DOWN if critical else GAIN_CLEAR
    near_critical = by_curvature or trials.relative_gradient < RELATIVE_GRADIENT_SMALL
    by_adam = gain - own > least_gain and near_critical
    visible = not learned or way_to_go(evidence, gain) >= WAY_TO_GO_SMALL
    way_down = (by_adam and visible) or (by_curvature and not learned)
    vanishes = gradient_vanishes(evidence) and not critical
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
    """Return `flat_region` if the gradient vanishes on its way back from the last layers to the first.

    A gradient that is exactly 0 has not become small on its way: it does not reach those parameters.
    """
    scale = evidence.get(GradientScale)
    if scale is None or not gradient_vanishes(evidence) or has_learned(evidence):
        return None
    gradient = scale.reached
    first, *_, last = gradient.groups
    reason = (
        f"The gradient vanishes on its way back: its norm is {gradient.groups[first]:.2g} in {first} and "
        f"{gradient.groups[last]:.2g} in {last}, a ratio of {gradient.first_to_last:.1g} (threshold "
        f"{FIRST_TO_LAST_VANISHED:g})"
    )
    return _driven_there(evidence, reason) or verdict_of(
        evidence, Cause.FLAT_REGION, f"{reason}.", particular=against_vanishing_gradients(evidence)
    )


def _driven_there(evidence: Evidence, reason: str) -> Verdict | None:
    """Return `learning_rate_too_large` if the steps of the run led to the flat region.

    They did if the first of them blew the loss up, or if most weights of a model that has learned nothing have grown
    tenfold. Adam moves every weight by the learning rate whatever the loss does, so the loss need not rise.
    """
    rise, grown = rise_of_first_steps(evidence), blown_up(evidence)
    if rise > RISE_BEYOND_CHANCE:
        led = f"the first steps had raised the loss {rise:.2g}-fold (threshold {RISE_BEYOND_CHANCE:g})"
    elif grown and not has_learned(evidence):
        largest = max(part.norm_ratio or 0.0 for part in grown)
        led = (
            f"the steps have led there, for most of the weights have grown, to up to {largest:.2g} times their initial "
            f"norm (threshold {WEIGHTS_BLOWN_UP:g})"
        )
    else:
        return None
    return verdict_of(evidence, Cause.LEARNING_RATE_TOO_LARGE, f"{reason}; {led}.", stuck=True)


def needs_curvature(evidence: Evidence) -> bool:
    """Return whether the curvature can still change the verdict.

    After a run has learned, only a large gain of Adam makes a saddle, and curvature then shows whether it is one.
    """
    trials = evidence.get(Trials)
    return not has_learned(evidence) or (trials is not None and trials.gain("adam") - max(0.0, trials.own) > GAIN_LARGE)


def _held_out_drop(curvature: Curvature | None) -> float:
    """Return the relative fall of the held-out loss along the most negative curvature; 0 if it was not measured."""
    return 0.0 if curvature is None else curvature.held_out_drop
