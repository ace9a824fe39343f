"""From evidence to one verdict: an ordered list of small detectors, the first that speaks stands.

A detector is a function from `Evidence` to a `Verdict`, or None where it has nothing to say. Every threshold is a named
constant, free of the loss's unit, with its source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lightning_landscape.advice import ADVICE
from lightning_landscape.evidence import (
    Activity,
    Cause,
    Divergence,
    Evidence,
    GradientScale,
    LossLevel,
    Movement,
    Plateau,
    Schedule,
    Trend,
    Verdict,
)

Detector: TypeAlias = Callable[[Evidence], Verdict | None]

UNLEARNED = 0.9
"""share of the starting loss above which a stalled run has not learned (separates stuck from settled, AUC 0.96)"""
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
DECAYED = 0.05
"""share of the peak learning rate below which a schedule is at its end"""
LATE = 0.6
"""share of the run after which a decayed learning rate is meant"""


def diagnose(evidence: Evidence, detectors: Sequence[Detector] | None = None) -> Verdict | None:
    """The first verdict that a detector reaches, or None where none of them has anything to say."""
    for detector in DETECTORS if detectors is None else detectors:
        verdict = detector(evidence)
        if verdict is not None:
            return verdict
    return None


def diverged(evidence: Evidence) -> Verdict | None:
    """The loss is not finite, or grows without bound."""
    divergence = evidence.get(Divergence)
    if divergence is None:
        return None
    grown = f"The training loss grew from {divergence.start:.4g} to {divergence.now:.4g} and is still growing."
    lost = f"The training loss is {divergence.now} and does not come back (it started at {divergence.start:.4g})."
    return _verdict(evidence, Cause.DIVERGED, grown if divergence.finite else lost)


def not_updating(evidence: Evidence) -> Verdict | None:
    """A large part of the weights is out of the optimizer's or the gradient's reach."""
    movement, level = evidence.get(Movement), evidence.get(LossLevel)
    if movement is None or level is None:
        return None
    if movement.not_held > PART_OF_THE_MODEL and level.share_of_start > UNLEARNED:
        return _verdict(
            evidence,
            Cause.NOT_UPDATING,
            f"No optimizer holds {movement.not_held:.0%} of the trainable parameters (threshold "
            f"{PART_OF_THE_MODEL:.0%}).",
        )
    if movement.without_gradient > PART_OF_THE_MODEL and level.share_of_start > UNLEARNED:
        return _verdict(
            evidence,
            Cause.NOT_UPDATING,
            f"{movement.without_gradient:.0%} of the parameters receive no gradient at all (threshold "
            f"{PART_OF_THE_MODEL:.0%}).",
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


def motionless(evidence: Evidence) -> Verdict | None:
    """The weights stand still although they have a gradient."""
    movement, gradient = evidence.get(Movement), evidence.get(GradientScale)
    if movement is None or movement.travelled != 0 or gradient is None or gradient.relative <= HAS_GRADIENT:
        return None
    return _verdict(
        evidence,
        Cause.NOT_UPDATING,
        f"The weights have not moved at all, though the gradient is {gradient.norm:.3g} "
        f"(relative size {gradient.relative:.2g}, threshold {HAS_GRADIENT:g}).",
    )


def inactive(evidence: Evidence) -> Verdict | None:
    """Nothing passes through a layer: all its units are dead, or nearly all of its values saturated."""
    level, activity = evidence.get(LossLevel), evidence.get(Activity)
    if level is None or activity is None or level.share_of_start <= UNLEARNED:
        return None
    if activity.dead >= DEAD:
        reason = f"In {activity.dead_layer} {activity.dead:.0%} of the units are zero on all {activity.samples} samples"
        return _verdict(evidence, Cause.FLAT_REGION, f"{reason} (threshold {DEAD:.0%}).")
    if activity.saturated >= SATURATED:
        reason = f"In {activity.saturated_layer} {activity.saturated:.0%} of the values sit at the activation's bounds"
        return _verdict(evidence, Cause.FLAT_REGION, f"{reason} (threshold {SATURATED:.0%}).")
    return None


def vanishing(evidence: Evidence) -> Verdict | None:
    """The gradient dies away on its way back through the layers."""
    level, gradient = evidence.get(LossLevel), evidence.get(GradientScale)
    if level is None or gradient is None or level.share_of_start <= UNLEARNED:
        return None
    if gradient.first_to_last >= VANISHED or gradient.norm == 0:
        return None
    first, *_, last = gradient.groups
    return _verdict(
        evidence,
        Cause.FLAT_REGION,
        f"The gradient vanishes on its way back: its norm is {gradient.groups[first]:.2g} in {first} and "
        f"{gradient.groups[last]:.2g} in {last}, a ratio of {gradient.first_to_last:.1g} (threshold {VANISHED:g}).",
    )


def settled(evidence: Evidence) -> Verdict | None:
    """The loss has come down and stays down."""
    level = evidence.get(LossLevel)
    if level is None or evidence.get(Trend) is None or level.share_of_start > UNLEARNED:
        return None
    return _verdict(
        evidence,
        Cause.SETTLED,
        f"It came down from {level.start:.4g} to {level.now:.4g} and stays there; that is a minimum, the noise floor, "
        "or the balance with weight decay.",
    )


def undecided(evidence: Evidence) -> Verdict | None:
    """The loss stands still where it started, and nothing that was measured says why."""
    level, trend = evidence.get(LossLevel), evidence.get(Trend)
    if level is None or trend is None:
        return None
    reason = f"It is at {level.now:.4g}, and started at {level.start:.4g}; nothing that was measured says why."
    return _verdict(evidence, Cause.UNDECIDED, reason, stuck=trend.powered)


DETECTORS: tuple[Detector, ...] = (
    diverged,
    inactive,
    not_updating,
    scheduled_end,
    motionless,  # a schedule that ends at 0 explains it
    vanishing,
    settled,
    undecided,
)
"""Tried in this order. What breaks the machinery comes before what the schedule explains, and both before geometry."""

INFORMATION = frozenset({Cause.SETTLED, Cause.SCHEDULED_END, Cause.SLOW, Cause.UNDECIDED})
"""causes that do not alarm by themselves"""


def _verdict(evidence: Evidence, cause: Cause, reason: str, *, stuck: bool | None = None) -> Verdict:
    plateau, trend = evidence.get(Plateau), evidence.get(Trend)
    step, since = (plateau.step, plateau.since) if plateau is not None else (0, 0)
    sentences = [trend.sentence(), reason] if trend is not None and cause is not Cause.DIVERGED else [reason]
    return Verdict(
        cause=cause,
        step=step,
        since=since,
        stuck=cause not in INFORMATION if stuck is None else stuck,
        reason=" ".join(sentences),
        advice=ADVICE[cause],
        evidence=evidence,
    )
