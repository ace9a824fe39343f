"""What every detector starts from: the thresholds, whether the run has learned, and the form of a verdict."""

from __future__ import annotations

import math

from lightning_landscape.diagnosis.advice import advice, tried
from lightning_landscape.evidence import (
    CAUSES,
    Cause,
    Evidence,
    InputUse,
    LossLevel,
    Plateau,
    StartingPoint,
    Trend,
    Trials,
    UpdateStatistics,
    Verdict,
)

UNLEARNED = 0.9
"""share of the starting loss above which a stalled run has not learned (separates stuck from settled, AUC 0.96)"""
FALLEN = 0.85
"""the same where the loss is all there is to go by"""
HARDLY_BELOW = 0.8
"""share of the starting loss above which steps that go far have brought little"""
HALF_WAY = 0.6
"""the same where smaller steps from the same point do better beyond doubt"""
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
TRAVEL_SMALL = 5e-3
"""Σ|Δw|/|w| over 5% of the run, below which the weights as good as stand still"""
TRAVEL_NONE = 1e-4
"""the same, below which nothing that was measured of the data tells what steps of a usual length would do"""
TRAVEL_LARGE = 0.3
"""Σ|Δw|/|w| over 5% of the run, above which the weights go a long way for nothing"""
GAIN_CLEAR = 0.15
"""gain of a trial that is no chance: the loss falls by 15% on batches that the trial did not see"""
WAY_DOWN = 0.05
"""fall of the loss along the most negative curvature, on other batches, that makes a saddle [Dauphin 2014]"""
GAIN_LARGE = 0.4
"""gain of Adam above which a run that has learned was far from done"""
GAIN_SMALL = 0.02
"""gain of simply going on above which a run that noise hides is not standing still"""
GAIN_NONE = 0.01
"""gain that every trial stays below at the bottom of a minimum, and that none needs to show that a slope goes on"""
BLOWN_UP = 2.0
"""first losses over the loss before any step: above it the first steps did damage"""
CLEARLY = 3.0
"""fall of the loss, in standard deviations of single batches, that does not depend on a constant in the loss"""
FIRST_LOSSES = 10
"""losses behind `LossLevel.start`"""
STANDARD_ERRORS = 2.5
"""difference of two means, in standard errors, that chance does not explain"""
LOST = 2.0
"""present loss over its best, from which on what was learned is lost"""
LINEAR = (5.0, 20.0)
"""gain at ten times the learning rate over that at the run's own, where steps are too short to feel any curvature"""
FROZEN = 0.9
"""share of the parameters that require no gradient, above which hardly anything is trained"""
TWINS = 0.5
"""share of twin units from which on a layer is a fraction of its width"""
DECAYED = 0.05
"""share of the peak learning rate below which a schedule is at its end"""
LATE = 0.6
"""share of the run after which a decayed learning rate is meant"""
BALANCED = 0.3
"""pull of the weight decay over that of the gradient, or the inverse, from which on the two hold each other"""
CANCELLED = 0.1
"""share of the gradient that the weight decay leaves, below which weights that stand still rest in balance"""


def share_of_start(evidence: Evidence) -> float:
    """Present loss over that of the initial weights: on the same batches where a probe could, else from the losses."""
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if start is not None and math.isfinite(start.loss) and math.isfinite(start.now):
        return LossLevel(start.loss, start.now, start.now).share_of_start
    if level is None:
        return 1.0
    # The first losses of a run that blows up at once say nothing of where it began.
    blown_up = level.first is not None and level.start > BLOWN_UP * level.first > 0
    return (
        LossLevel(level.first, level.best, level.now).share_of_start
        if blown_up and level.first
        else level.share_of_start
    )


def has_learned(evidence: Evidence) -> bool:
    """Whether the model tells inputs apart; where nobody tried, whether the loss came down from where it started."""
    use, share = evidence.get(InputUse), share_of_start(evidence)
    if share > RISEN:
        return False
    if use is None or use.unpaired:
        return share <= still_high(evidence)
    return use.share >= UNUSED


def has_come_down(evidence: Evidence) -> bool:
    """Whether the loss lies clearly below its start, whatever constant it contains.

    A tenth of the start is enough. Where a constant hides that, a fall counts by which the losses of single batches
    hardly differ, if the weights move and, as far as was measured, it comes from the inputs.
    """
    movement, use = evidence.get(UpdateStatistics), evidence.get(InputUse)
    if share_of_start(evidence) <= UNLEARNED:
        return True
    if movement is not None and movement.travelled == 0:
        return False
    return came_by_inputs(evidence) if use is not None and not use.unpaired else _fall(evidence) is not None


def came_by_inputs(evidence: Evidence) -> bool:
    """Whether the loss has clearly fallen, and half of the fall is lost with other inputs; False where not measured.

    Both are differences, so a constant in the loss changes neither.
    """
    use, fall = evidence.get(InputUse), _fall(evidence)
    return use is not None and fall is not None and use.shuffled - use.loss >= fall / 2


def _fall(evidence: Evidence) -> float | None:
    """Fall of the loss since the start, in units of the loss; None below what single batches differ by."""
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if level is None or level.spread is None:
        return None
    known = start is not None and math.isfinite(start.loss) and math.isfinite(start.now)
    fall = start.loss - start.now if start is not None and known else level.start - level.now
    return fall if fall > CLEARLY * level.spread else None


def measured(evidence: Evidence) -> bool:
    """Whether what the model has learned was measured on fixed batches, and not read off the run's own losses."""
    return evidence.get(InputUse) is not None or evidence.get(StartingPoint) is not None


def still_high(evidence: Evidence) -> float:
    """The share of the starting loss above which a run has not come down; less where only single losses tell it."""
    return UNLEARNED if measured(evidence) else FALLEN


def verdict_of(evidence: Evidence, cause: Cause, reason: str, *, stuck: bool | None = None) -> Verdict:
    """The verdict with its sentences: what the test of the loss found, the reason, and what was tried."""
    plateau, trend, trials = evidence.get(Plateau), evidence.get(Trend), evidence.get(Trials)
    step, since = (plateau.step, plateau.since) if plateau is not None else (0, 0)
    # A chance of noise may look like a plateau: without power, only plain evidence alarms of a run that has learned, or
    # that gains on other batches by going on as it is, or of which only noisy losses tell that it has not learned.
    hidden = trend is not None and not trend.powered
    goes_on = trials is not None and (trials.own > GAIN_SMALL or not measured(evidence))
    chance = hidden and (has_learned(evidence) or goes_on)
    alarms = CAUSES[cause].alarms and not (chance and cause is not Cause.DIVERGED) if stuck is None else stuck
    lines = [trend.sentence()] if trend is not None and cause is not Cause.DIVERGED else []
    lines.append(reason)
    if trials is not None and alarms:
        lines.append(tried(evidence))
    return Verdict(
        cause=cause,
        step=step,
        since=since,
        stuck=alarms,
        reason="\n".join(lines),
        advice=advice(cause, evidence),
        evidence=evidence,
    )
