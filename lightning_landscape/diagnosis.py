"""From evidence to one verdict: an ordered list of small detectors, the first that speaks stands.

A detector is a function from `Evidence` to a `Verdict`, or None where it has nothing to say. Every threshold is a named
constant, free of the loss's unit. What breaks the machinery comes first, then what the schedule explains, then
geometry; trials decide, curvature explains. A detector is silent where a reading that it needs was not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lightning_landscape.advice import ADVICE, tried
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Curvature,
    Divergence,
    Evidence,
    GradientScale,
    InputUse,
    LossLevel,
    Movement,
    Plateau,
    Restart,
    Schedule,
    Symmetry,
    Trend,
    Trials,
    Verdict,
)

Detector: TypeAlias = Callable[[Evidence], Verdict | None]

UNLEARNED = 0.9
"""share of the starting loss above which a stalled run has not learned (separates stuck from settled, AUC 0.96)"""
RISEN = 1.2
"""share of the starting loss above which a run has lost what it could do"""
UNUSED = 0.02
"""rise of the loss by pairing inputs with other targets, below which the model makes no use of its inputs"""
DEAD = 0.99
"""share of dead units in a layer through which nothing passes any more"""
SATURATED = 0.9
"""share of saturated values in a layer through which next to nothing passes [Glorot and Bengio 2010]"""
VANISHED = 1e-4
"""gradient norm of the first group over that of the last; the input side learns nothing [Hochreiter 1991]"""
PART_OF_THE_MODEL = 0.3
"""share of the parameters without gradient, or in no optimizer, that is more than a detail"""
HAS_GRADIENT = 1e-3
"""relative gradient above which standing still is not for want of a gradient"""
STEEP = 0.3
"""relative gradient κ above which a run is on a slope: minima and saddles have far less"""
LEVEL = 0.1
"""relative gradient κ below which a run is at a critical point"""
CREEPING = 5e-3
"""Σ|Δw|/|w| over 5% of the run, below which the weights as good as stand still"""
ROAMING = 0.3
"""Σ|Δw|/|w| over 5% of the run, above which the weights go a long way for nothing"""
GAINED = 0.15
"""gain of a trial that is no chance: the loss falls by 15% on batches that the trial did not see"""
WAY_DOWN = 0.05
"""fall of the loss along the most negative curvature, on other batches, that makes a saddle [Dauphin 2014]"""
MUCH_LEFT = 0.4
"""gain of Adam above which a run that has learned was far from done"""
TWINS = 0.5
"""share of twin units from which on a layer is a fraction of its width"""
DECAYED = 0.05
"""share of the peak learning rate below which a schedule is at its end"""
LATE = 0.6
"""share of the run after which a decayed learning rate is meant"""
BALANCED = 0.3
"""pull of the weight decay over that of the gradient, from which on the two hold each other"""


def diagnose(evidence: Evidence, detectors: Sequence[Detector] | None = None) -> Verdict | None:
    """The first verdict that a detector reaches, or None where none of them has anything to say."""
    for detector in DETECTORS if detectors is None else detectors:
        verdict = detector(evidence)
        if verdict is not None:
            return verdict
    return None


def undiscerned(evidence: Evidence) -> bool:
    """Whether a dearer probe could still change the verdict."""
    verdict = diagnose(evidence)
    if verdict is None or evidence.get(Trials) is None:
        return verdict is None or verdict.cause in (Cause.UNDECIDED, Cause.SETTLED, Cause.FLAT_REGION)
    return verdict.cause in (Cause.UNDECIDED, Cause.NOTHING_TO_LEARN) or _twinned(evidence)


def learned(evidence: Evidence) -> bool:
    """Whether the model tells inputs apart; where nobody tried, whether the loss came down from where it started."""
    level, use = evidence.get(LossLevel), evidence.get(InputUse)
    if level is not None and level.share_of_start > RISEN:
        return False
    if use is None or use.unpaired:
        return level is not None and level.share_of_start <= UNLEARNED
    return use.share >= UNUSED


def diverged(evidence: Evidence) -> Verdict | None:
    """The loss is not finite, or grows without bound."""
    divergence = evidence.get(Divergence)
    if divergence is None:
        return None
    grown = f"The training loss grew from {divergence.start:.4g} to {divergence.now:.4g} and is still growing."
    lost = f"The training loss is {divergence.now} and does not come back (it started at {divergence.start:.4g})."
    return _verdict(evidence, Cause.DIVERGED, grown if divergence.finite else lost)


def dead(evidence: Evidence) -> Verdict | None:
    """Nothing passes through a layer, since all its units are zero on every sample."""
    activity = evidence.get(Activity)
    if activity is None or activity.dead < DEAD or learned(evidence):
        return None
    reason = f"In {activity.dead_layer} {activity.dead:.0%} of the units are zero on all {activity.samples} samples"
    return _verdict(evidence, Cause.FLAT_REGION, f"{reason} (threshold {DEAD:.0%}).")


def not_updating(evidence: Evidence) -> Verdict | None:
    """The weights stand still, or a large part of them is out of the optimizer's or the gradient's reach."""
    movement, level, gradient = evidence.get(Movement), evidence.get(LossLevel), evidence.get(GradientScale)
    if movement is None or level is None:
        return None
    high = level.share_of_start > UNLEARNED
    if high and movement.not_held > PART_OF_THE_MODEL:
        reason = f"No optimizer holds {movement.not_held:.0%} of the trainable parameters"
        return _verdict(evidence, Cause.NOT_UPDATING, f"{reason} (threshold {PART_OF_THE_MODEL:.0%}).")
    if high and movement.without_gradient > PART_OF_THE_MODEL:
        reason = f"{movement.without_gradient:.0%} of the parameters receive no gradient at all"
        return _verdict(evidence, Cause.NOT_UPDATING, f"{reason} (threshold {PART_OF_THE_MODEL:.0%}).")
    if movement.travelled == 0 and gradient is not None and gradient.relative > HAS_GRADIENT:
        return _verdict(
            evidence,
            Cause.NOT_UPDATING,
            f"The weights have not moved at all, though the gradient is {gradient.norm:.3g} "
            f"(relative size {gradient.relative:.2g}, threshold {HAS_GRADIENT:g}).",
        )
    return None


def too_large(evidence: Evidence) -> Verdict | None:
    """The weights go a long way for nothing, and smaller steps or the mean of the path do better."""
    movement, level, trials = evidence.get(Movement), evidence.get(LossLevel), evidence.get(Trials)
    if movement is None or level is None or trials is None or movement.travelled is None:
        return None
    smaller = max(trials.gain("mean of the path"), trials.gain("learning rate x0.1"))
    far = movement.travelled > ROAMING
    if far and level.share_of_start > 0.8 and (smaller > GAINED or level.share_of_start > RISEN):
        gain = f"smaller steps lower it by {smaller:.0%}" if smaller > GAINED else "the loss lies above its start"
        return _verdict(
            evidence,
            Cause.LEARNING_RATE_TOO_LARGE,
            f"In 5% of the run the updates add up to {movement.travelled:.2g} times the weights (threshold {ROAMING:g}) "
            f"and lead nowhere; {gain}.",
        )
    return None


def scheduled_end(evidence: Evidence) -> Verdict | None:
    """The learning rate has been taken down on purpose, late in the run."""
    schedule = evidence.get(Schedule)
    if schedule is None or schedule.elapsed is None:
        return None
    if schedule.share_of_peak >= DECAYED or schedule.elapsed <= LATE:
        return None
    return _verdict(
        evidence,
        Cause.SCHEDULED_END,
        f"The learning rate is {schedule.learning_rate:.3g}, {schedule.share_of_peak:.1%} of its peak (threshold "
        f"{DECAYED:.0%}), after {schedule.elapsed:.0%} of the run.",
    )


def balanced(evidence: Evidence) -> Verdict | None:
    """Weight decay and gradient hold each other: an equilibrium that was asked for."""
    trials = evidence.get(Trials)
    if trials is None or trials.decay_pull < BALANCED:
        return None
    reason = f"The weight decay pulls {trials.decay_pull:.2g} times as hard as the gradient (threshold {BALANCED:g})"
    return _verdict(evidence, Cause.SETTLED, f"{reason}: the two are in balance.")


def unpaired_minimum(evidence: Evidence) -> Verdict | None:
    """The loss looks at inputs alone, and nothing that was tried lowers it."""
    use, trials = evidence.get(InputUse), evidence.get(Trials)
    if use is None or not use.unpaired or trials is None or trials.best > GAINED:
        return None
    return _verdict(evidence, Cause.SETTLED, f"No trial lowered it by more than {trials.best:.1%} on other batches.")


def constant_inputs(evidence: Evidence) -> Verdict | None:
    """Every sample is the same."""
    use = evidence.get(InputUse)
    if use is None or use.varied:
        return None
    return _verdict(evidence, Cause.NOTHING_TO_LEARN, "All inputs of the examined batches are the same.")


def too_small(evidence: Evidence) -> Verdict | None:
    """The run is on a slope and as good as stands still on it."""
    movement, trials = evidence.get(Movement), evidence.get(Trials)
    if movement is None or trials is None or movement.travelled is None:
        return None
    gain = max(trials.gain("adam"), trials.gain("line search"), trials.gain("learning rate x10"))
    wanted = GAINED if not learned(evidence) else MUCH_LEFT
    if movement.travelled >= CREEPING or trials.relative_gradient < STEEP or gain < wanted:
        return None
    return _verdict(
        evidence,
        Cause.LEARNING_RATE_TOO_SMALL,
        f"In 5% of the run the updates add up to {movement.travelled:.1g} of the weights (threshold {CREEPING:g}) on a "
        f"slope of relative size {trials.relative_gradient:.2g} (threshold {STEEP:g}); larger steps lower the loss by "
        f"{gain:.0%}.",
    )


def twins(evidence: Evidence) -> Verdict | None:
    """Units started as copies of one another and stay so: a saddle by symmetry [Fukumizu and Amari 2000]."""
    symmetry, restart = evidence.get(Symmetry), evidence.get(Restart)
    if symmetry is None or not _twinned(evidence) or restart is None or restart.gain < 0.1:
        return None
    return _verdict(
        evidence,
        Cause.SADDLE_POINT,
        f"In {symmetry.layer} {symmetry.share:.0%} of the units started alike or empty (threshold {TWINS:.0%}); a run from "
        f"weights drawn at random lowers the loss by {restart.gain:.0%} in {restart.steps} steps.",
    )


def saturated(evidence: Evidence) -> Verdict | None:
    """Nearly all values of a layer sit at the bounds of its activation, where it has no slope."""
    activity, restart = evidence.get(Activity), evidence.get(Restart)
    if activity is None or activity.saturated < SATURATED:
        return None
    if learned(evidence) and (restart is None or restart.gain < 0.1):
        return None
    reason = f"In {activity.saturated_layer} {activity.saturated:.0%} of the values sit at the activation's bounds"
    return _verdict(evidence, Cause.FLAT_REGION, f"{reason} (threshold {SATURATED:.0%}).")


def saddle(evidence: Evidence) -> Verdict | None:
    """There is a way down that the run does not find: along negative curvature, or by a better-scaled step."""
    curvature, trials, gradient = evidence.get(Curvature), evidence.get(Trials), evidence.get(GradientScale)
    if trials is None:
        return None
    drop = _drop(curvature)
    if learned(evidence):
        found = trials.gain("adam") > MUCH_LEFT and (drop > WAY_DOWN or trials.relative_gradient < LEVEL)
    else:
        found = trials.gain("adam") > GAINED or drop > WAY_DOWN
    if not found or (gradient is not None and gradient.first_to_last < VANISHED and drop <= WAY_DOWN):
        return None
    way = (
        f"Along the direction of most negative curvature the loss falls by {drop:.0%} on batches not used to find it"
        if drop > WAY_DOWN
        else f"{trials.steps} steps of Adam lower it by {trials.gain('adam'):.0%} on batches that they did not see"
    )
    return _verdict(evidence, Cause.SADDLE_POINT, f"{way}; gradient x weight / loss = {trials.relative_gradient:.2g}.")


def vanishing(evidence: Evidence) -> Verdict | None:
    """The gradient dies away on its way back through the layers."""
    gradient = evidence.get(GradientScale)
    if gradient is None or gradient.first_to_last >= VANISHED or gradient.norm == 0 or learned(evidence):
        return None
    first, *_, last = gradient.groups
    return _verdict(
        evidence,
        Cause.FLAT_REGION,
        f"The gradient vanishes on its way back: its norm is {gradient.groups[first]:.2g} in {first} and "
        f"{gradient.groups[last]:.2g} in {last}, a ratio of {gradient.first_to_last:.1g} (threshold {VANISHED:g}).",
    )


def elsewhere_better(evidence: Evidence) -> Verdict | None:
    """A run from other weights does better: a poor minimum where this one is bent up, else a saddle of high order."""
    restart, trials, curvature = evidence.get(Restart), evidence.get(Trials), evidence.get(Curvature)
    level = evidence.get(LossLevel)
    if restart is None or trials is None or level is None:
        return None
    known = learned(evidence)
    if restart.gain < (0.3 if known else 0.1) or (known and level.share_of_start < 0.3):
        return None
    bent_up = curvature is not None and curvature.lambda_min > -0.01 * curvature.lambda_max > float("-inf")
    bowl = bent_up and trials.relative_gradient < LEVEL
    cause = Cause.POOR_MINIMUM if known or bowl else Cause.SADDLE_POINT
    return _verdict(
        evidence,
        cause,
        f"Trained anew from re-drawn weights, the best of {restart.seeds} runs lowers the loss by {restart.gain:.0%} in "
        f"{restart.steps} steps, where nothing leads down from here.",
    )


def nothing_to_learn(evidence: Evidence) -> Verdict | None:
    """The model makes no use of its inputs, and neither trials nor restarts find one."""
    use, restart, trials = evidence.get(InputUse), evidence.get(Restart), evidence.get(Trials)
    if use is None or restart is None or trials is None or learned(evidence) or use.unpaired:
        return None
    return _verdict(
        evidence,
        Cause.NOTHING_TO_LEARN,
        f"With inputs and targets paired at random the loss changes by {use.share:.1%} (threshold {UNUSED:.0%}); the "
        f"best trial gained {max(0.0, trials.best):.0%}, the best restart {restart.gain:.0%}.",
    )


def slow(evidence: Evidence) -> Verdict | None:
    """The loss could fall much further, and nothing is in its way."""
    trials = evidence.get(Trials)
    if trials is None or not learned(evidence) or trials.gain("adam") <= MUCH_LEFT:
        return None
    gain = trials.gain("adam")
    return _verdict(
        evidence, Cause.SLOW, f"{trials.steps} steps of Adam lower it by {gain:.0%}; no obstacle was found."
    )


def settled(evidence: Evidence) -> Verdict | None:
    """The loss has come down and stays down."""
    level = evidence.get(LossLevel)
    if level is None or evidence.get(Trend) is None or not learned(evidence):
        return None
    return _verdict(
        evidence,
        Cause.SETTLED,
        f"It came from {level.start:.4g} to {level.now:.4g} and stays there; that is a minimum, the noise floor, "
        "or the balance with weight decay.",
    )


def undecided(evidence: Evidence) -> Verdict | None:
    """The loss stands still where it started, and nothing that was measured says why."""
    level, trend = evidence.get(LossLevel), evidence.get(Trend)
    if level is None or trend is None:
        return None
    wanted = {"what trials on a copy gain": Trials, "whether the inputs are used": InputUse, "a restart": Restart}
    missing = [name for name, kind in wanted.items() if evidence.get(kind) is None]
    unknown = f"; not known: {', '.join(missing)}" if missing else ""
    reason = f"It is at {level.now:.4g}, and started at {level.start:.4g}; nothing that was measured says why{unknown}."
    return _verdict(evidence, Cause.UNDECIDED, reason, stuck=trend.powered and level.share_of_start > UNLEARNED)


DETECTORS: tuple[Detector, ...] = (
    *(diverged, dead, not_updating, too_large, scheduled_end, balanced, unpaired_minimum, constant_inputs),
    *(too_small, twins, saturated, saddle, vanishing, elsewhere_better, nothing_to_learn, slow, settled, undecided),
)

INFORMATION = frozenset({Cause.SETTLED, Cause.SCHEDULED_END, Cause.SLOW, Cause.UNDECIDED})
"""causes that do not alarm by themselves"""


def _twinned(evidence: Evidence) -> bool:
    symmetry = evidence.get(Symmetry)
    return symmetry is not None and symmetry.share > TWINS and evidence.get(Restart) is None


def _drop(curvature: Curvature | None) -> float:
    """Fall of the held-out loss along the most negative curvature, over the loss; 0 where there is none."""
    if curvature is None or curvature.descent is None or not curvature.loss:
        return 0.0
    return (curvature.descent.held_out_drop or 0.0) / abs(curvature.loss)


def _verdict(evidence: Evidence, cause: Cause, reason: str, *, stuck: bool | None = None) -> Verdict:
    plateau, trend, trials = evidence.get(Plateau), evidence.get(Trend), evidence.get(Trials)
    step, since = (plateau.step, plateau.since) if plateau is not None else (0, 0)
    alarms = cause not in INFORMATION if stuck is None else stuck
    if alarms and trend is not None and not trend.powered and learned(evidence):
        alarms = False  # a chance of noise may look like a plateau of a run that has learned
    lines = [trend.sentence()] if trend is not None and cause is not Cause.DIVERGED else []
    lines.append(reason)
    if trials is not None and alarms:
        lines.append(tried(trials))
    return Verdict(
        cause=cause,
        step=step,
        since=since,
        stuck=alarms,
        reason="\n".join(lines),
        advice=ADVICE[cause],
        evidence=evidence,
    )
