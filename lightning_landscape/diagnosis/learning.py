"""Whether a run has learned anything: how its loss compares with its start, and whether the model uses its inputs."""

from __future__ import annotations

import math
from dataclasses import replace

from lightning_landscape.diagnosis.thresholds import (
    CONSTANT_TOLERANCE,
    FALL_IN_STANDARD_DEVIATIONS,
    FIRST_LOSSES,
    GAIN_CLEAR,
    GAIN_LARGE,
    INPUT_USE_NONE,
    MOST_OF_THE_MODEL,
    RELATIVE_GRADIENT_SMALL,
    RISE_BEYOND_CHANCE,
    RISE_IN_STANDARD_ERRORS,
    RISE_OF_FIRST_STEPS,
    SHARE_OF_START_HIGH,
    SHARE_OF_START_HIGH_IN_NOISE,
    SHARE_OF_START_LOW,
    SHARE_OF_START_RISEN,
    WEIGHTS_BLOWN_UP,
)
from lightning_landscape.evidence import (
    BeforeAndAfter,
    Evidence,
    InputUse,
    LossLevel,
    Outputs,
    Part,
    Parts,
    Plateau,
    Restart,
    StartingPoint,
    Trials,
    UpdateStatistics,
)


def share_of_start(evidence: Evidence) -> float:
    """Return the present loss over the starting loss, as defined by `LossLevel.share_of_start`.

    Both losses are taken on the same batches if a probe has measured them there, else from the training losses. If the
    training began in an earlier fit, the starting loss is that of the earlier fit. Without any loss the share is 1.
    """
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if level is not None and level.earlier is not None:
        return replace(level, start=level.earlier).share_of_start
    if start is not None and math.isfinite(start.loss) and math.isfinite(start.now):
        return LossLevel(start.loss, start.now, start.now, floor=floor_of(evidence)).share_of_start
    if level is None:
        return 1.0
    # If the loss blew up in the first steps, the mean of the first losses does not show where the run began.
    if level.first is None:
        return level.share_of_start
    first = replace(level, start=level.first)
    blown_up = level.start - level.floor > RISE_OF_FIRST_STEPS * (level.first - level.floor) > 0
    return first.share_of_start if blown_up else level.share_of_start


def floor_of(evidence: Evidence) -> float:
    """Return the lowest possible loss, from which shares of a loss are measured; 0 if it is not known."""
    level = evidence.get(LossLevel)
    return 0.0 if level is None else level.floor


def has_learned(evidence: Evidence) -> bool:
    """Return whether the model uses its inputs or, if that was not measured, whether the loss is below its start.

    It has not learned if a prediction that ignores the inputs would do as well. Where there are no targets, a fall that
    is clear against the spread of single batches is enough as well, since a constant may be added to such a loss.
    """
    use, share = evidence.get(InputUse), share_of_start(evidence)
    if share > SHARE_OF_START_RISEN or beats_constant(evidence) is False:
        return False
    if use is None or use.unpaired:
        clear = use is not None and _clear_fall(evidence) is not None
        return clear or began_before(evidence) or share <= high_share_of_start(evidence)
    return use.share >= INPUT_USE_NONE


def beats_constant(evidence: Evidence) -> bool | None:
    """Return whether the predictions are better than the best one that ignores the inputs.

    None if it was not measured, if that constant leaves nothing to predict, or if the samples are too few to tell: two
    standard errors may hide that the predictions are clearly better, by a tenth.
    """
    outputs = evidence.get(Outputs)
    best = None if outputs is None else outputs.best_constant
    if best is None or best.constant <= 0:
        return None
    better = (1 - CONSTANT_TOLERANCE) * best.constant - best.loss
    hidden = better + 2 * best.error > (1 - SHARE_OF_START_HIGH) * best.constant
    return None if better <= 0 and hidden else better > 0


def has_fallen(evidence: Evidence) -> bool:
    """Return whether the loss is clearly below its start, even if a constant is added to the loss.

    A fall by a tenth of the start is enough. A constant may make that share smaller; then the weights must move, the
    fall must be clear against the spread of single batches and, if it was measured, half of it must be lost with the
    targets of other samples.
    """
    updates, use = evidence.get(UpdateStatistics), evidence.get(InputUse)
    if share_of_start(evidence) <= SHARE_OF_START_HIGH or began_before(evidence):
        return True
    if updates is not None and updates.travelled == 0:
        return False
    return falls_by_inputs(evidence) if use is not None and not use.unpaired else _clear_fall(evidence) is not None


def began_before(evidence: Evidence) -> bool:
    """Return whether the training began before this fit at an unknown loss, so that a fall in this fit shows little."""
    level = evidence.get(LossLevel)
    return level is not None and level.continues and level.earlier is None


def falls_by_inputs(evidence: Evidence) -> bool:
    """Return whether the loss has clearly fallen and half of the fall is lost with the targets of other samples.

    Only differences of losses are compared, so a constant in the loss does not matter. False if it was not measured.
    """
    use, fall = evidence.get(InputUse), _clear_fall(evidence)
    return use is not None and fall is not None and use.shuffled - use.loss >= fall / 2


def way_to_go(evidence: Evidence, gain: float) -> float:
    """Return a gain as a share of the whole way, from the start of the run to where that gain ends; in [0, 1].

    1 if the run has not come down from its start. Only differences of losses are compared.
    """
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if start is not None and math.isfinite(start.loss) and math.isfinite(start.now):
        before, now = start.loss, start.now
    elif level is not None:
        before, now = level.start, level.now
    else:
        return 1.0
    further = max(0.0, gain) * abs(now - floor_of(evidence))
    return further / (max(0.0, before - now) + further) if further else 0.0


def rise_of_first_steps(evidence: Evidence) -> float:
    """Return the mean of the first losses over the loss before any step.

    Both are heights above the floor. 1 if one of them is unknown, if the loss before any step is not above the floor,
    or if chance explains the difference: the two are means over different batches. It does not explain more than a
    tenfold rise, however far apart the first losses are: a loss that blows up scatters as well. Where no probe has
    measured the loss before any step, that of the first batch stands for it, and only such a rise counts.
    """
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if level is None:
        return 1.0
    before = level.first if start is None else start.loss
    if before is None or not level.floor < before < math.inf:
        return 1.0
    rise = (level.start - level.floor) / (before - level.floor)
    if rise > RISE_BEYOND_CHANCE:
        return rise
    if start is None:
        return 1.0
    if level.start_spread is not None and start.batches:
        standard_error = level.start_spread * math.sqrt(1 / FIRST_LOSSES + 1 / start.batches)
        if level.start - start.loss <= RISE_IN_STANDARD_ERRORS * standard_error:
            return 1.0
    return rise


def measured_on_fixed_batches(evidence: Evidence) -> bool:
    """Return whether a probe has measured on fixed batches what the model has learned."""
    return evidence.get(InputUse) is not None or evidence.get(StartingPoint) is not None


def high_share_of_start(evidence: Evidence) -> float:
    """Return the share of the starting loss above which a run has learned nothing, given how that was measured."""
    return SHARE_OF_START_HIGH if measured_on_fixed_batches(evidence) else SHARE_OF_START_HIGH_IN_NOISE


def on_plateau(evidence: Evidence, parts: Parts | None = None) -> bool:
    """Return whether the loss has stopped falling, and the parts were read on the plateau and not before it.

    A diagnosis that the user has asked for is made as if the loss had stopped.
    """
    plateau = evidence.get(Plateau)
    return plateau is not None and (parts is None or plateau.asked or parts.step > plateau.since)


def blown_up(evidence: Evidence) -> tuple[Part, ...]:
    """Return the trained parts whose weights have grown tenfold, if they are most of the model; else none."""
    parts = evidence.get(Parts)
    if parts is None:
        return ()
    grown = parts.where(lambda p: p.trainable and p.held and (p.norm_ratio or 0.0) > WEIGHTS_BLOWN_UP)
    return grown if sum(part.share for part in grown) > MOST_OF_THE_MODEL else ()


def gains_nothing(evidence: Evidence) -> bool:
    """Return whether the run's own optimizer lowers the loss of a copy at no learning rate that was tried.

    Without trials, only weights that do not move at all show it.
    """
    updates, trials = evidence.get(UpdateStatistics), evidence.get(Trials)
    at_rest = updates is not None and updates.travelled == 0
    return at_rest if trials is None else trials.own_at_any_rate <= GAIN_CLEAR


def best_is_worse_than_start(evidence: Evidence) -> bool:
    """Return whether the best weights so far do worse on the present batches than the initial ones, which know nothing.

    Then the data have changed. The difference must be beyond noise.
    """
    before, noise = evidence.get(BeforeAndAfter), noise_of(evidence)
    if before is None or before.start is None or noise is None:
        return False
    return before.best - before.start > RISE_IN_STANDARD_ERRORS * noise


def noise_of(evidence: Evidence) -> float | None:
    """Return the standard error of a difference of losses of two weights on the captured batches; None if unknown."""
    before, level = evidence.get(BeforeAndAfter), evidence.get(LossLevel)
    if before is not None and before.error is not None:
        return before.error
    return None if level is None else level.spread


def going_on(evidence: Evidence) -> float:
    """Return the gain of the run's own optimizer if it only goes on, by trials and by restarts; never negative."""
    trials, restart = evidence.get(Trials), evidence.get(Restart)
    gains = (trials.own if trials is not None else 0.0, restart.going_on_gain if restart is not None else None)
    return max(0.0, *(gain for gain in gains if gain is not None))


def larger_steps(evidence: Evidence) -> float:
    """Return by how much larger steps from the present weights lower the loss, beyond the run's own; never negative.

    Larger steps are those of Adam and those at ten times the learning rate or more.
    """
    trials = evidence.get(Trials)
    if trials is None:
        return 0.0
    return max(0.0, max(trials.gain("adam"), trials.larger_rates) - max(0.0, trials.own))


def starts_slowly(evidence: Evidence) -> bool:
    """Return whether the run has learned nothing yet, but lies on a slope that larger steps follow far down.

    At a saddle and on a flat region the gradient is small. On a slope the run comes down by itself, only later.
    """
    trials = evidence.get(Trials)
    if trials is None or has_learned(evidence) or share_of_start(evidence) > SHARE_OF_START_RISEN:
        return False
    return trials.relative_gradient >= RELATIVE_GRADIENT_SMALL and larger_steps(evidence) > GAIN_LARGE


def is_far_above_zero(evidence: Evidence) -> bool:
    """Return whether the loss has not fallen, or has stopped above a third of its start."""
    return not has_fallen(evidence) or share_of_start(evidence) > SHARE_OF_START_LOW


def _clear_fall(evidence: Evidence) -> float | None:
    """Return the fall of the loss since the start, in units of the loss; None unless single batches differ by less."""
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if level is None or level.spread is None:
        return None
    on_fixed_batches = start is not None and math.isfinite(start.loss) and math.isfinite(start.now)
    fall = start.loss - start.now if start is not None and on_fixed_batches else level.start - level.now
    return fall if fall > FALL_IN_STANDARD_DEVIATIONS * level.spread else None
