"""Detectors that compare a run with short runs from other weights or at other rates, and credit what was changed."""

from __future__ import annotations

from lightning_landscape.diagnosis.flatness import is_saturated
from lightning_landscape.diagnosis.learning import going_on, has_learned, share_of_start, way_to_go
from lightning_landscape.diagnosis.proof import lasts, proven, schedule_ended_early, too_early
from lightning_landscape.diagnosis.setup_causes import large_steps, steps_do_harm
from lightning_landscape.diagnosis.thresholds import (
    CURVATURE_RATIO_NEGATIVE,
    GAIN_CLEAR,
    GAIN_LARGE,
    GAIN_OF_RESTART,
    GAIN_OF_RESTART_AFTER_LEARNING,
    GAIN_OF_RESTART_IN_NOISE,
    RELATIVE_GRADIENT_SMALL,
    SHARE_OF_START_RISEN,
    UNITS_DUPLICATE,
    WAY_TO_GO_SMALL,
)
from lightning_landscape.diagnosis.verdicts import goes_down, verdict_of
from lightning_landscape.evidence import (
    BeforeAndAfter,
    Cause,
    Curvature,
    Evidence,
    LossLevel,
    Restart,
    Symmetry,
    Trials,
    Verdict,
)


def smaller_rate_better(evidence: Evidence) -> Verdict | None:
    """Return `learning_rate_too_large` if the run's initial weights do better at a smaller learning rate.

    In a few steps they must come clearly below the present loss, further than new weights at the run's own rate and
    further than going on. Then neither the initial weights nor the number of steps hold the run back. They must have
    come down by training: where the data have changed, initial weights are better than present ones as they are.
    """
    restart = evidence.get(Restart)
    if restart is None or restart.smaller_rate is None or restart.smaller_rate_gain is None:
        return None
    gain, others = restart.smaller_rate_gain, max(going_on(evidence), restart.own_gain or 0.0)
    before, fallen = evidence.get(BeforeAndAfter), restart.smaller_rate.fallen
    data_changed = before is not None and before.start is not None and before.best > before.start
    if data_changed or (fallen is not None and fallen < GAIN_CLEAR) or not restart.smaller_rate.beyond_chance:
        return None
    if gain - others < GAIN_OF_RESTART_AFTER_LEARNING or way_to_go(evidence, gain) < WAY_TO_GO_SMALL:
        return None
    steps, factor = restart.smaller_rate.steps, restart.smaller_rate_factor
    rate = "a tenth" if factor == 0.1 else "a hundredth"
    compared = "going on does not lower it by more than"
    if restart.own_gain is not None:
        compared = "neither going on nor new weights at the run's own rate lower it by more than"
    return verdict_of(
        evidence,
        Cause.LEARNING_RATE_TOO_LARGE,
        f"From its initial weights, the run's own optimizer at {rate} of the learning rate comes {gain:.0%} below the "
        f"present loss in {steps} steps; {compared} {others:.0%} (threshold for the difference "
        f"{GAIN_OF_RESTART_AFTER_LEARNING:.0%}).",
        stuck=True if proven(evidence) or gain > GAIN_LARGE else None,
    )


def larger_rate_better(evidence: Evidence) -> Verdict | None:
    """Return `learning_rate_too_small` if a run stands at its start, and a larger rate lowers its loss a lot.

    A short pause at the start is usual, so the loss must stand still for a tenth of the run, and a test must show it.
    """
    trials = evidence.get(Trials)
    if trials is None or has_learned(evidence) or not lasts(evidence):
        return None
    gain, own = trials.larger_rates, max(0.0, trials.own)
    if gain - own <= GAIN_LARGE or share_of_start(evidence) > SHARE_OF_START_RISEN:
        return None
    return verdict_of(
        evidence,
        Cause.LEARNING_RATE_TOO_SMALL,
        f"The loss has stood at its start for at least a tenth of the run. In {trials.steps} steps on a copy, a larger "
        f"learning rate lowers it by {gain:.0%}, and the run's own by {own:.0%} (threshold for the difference "
        f"{GAIN_LARGE:.0%}).",
        stuck=True,
    )


def elsewhere_better(evidence: Evidence) -> Verdict | None:
    """Return `poor_minimum` or `saddle_point` if new initial weights do clearly better than going on.

    The run is at a minimum if it has learned, or if the loss bends upward and the gradient is small; else it is at a
    saddle at which the curvature shows no way down. Before learning, the present weights must not be as good a
    place to begin. After learning, the difference must be a visible part of what there is to gain. A run that is only
    slow is overtaken by Adam as well, but not by its own optimizer at its own rate; so the plateau must be proven, or
    the run's own optimizer must do better by far. The gain must be more than two of its standard errors: where few
    samples make the loss, such as those of a rare class, a few batches show little.
    """
    restart, trials, curvature = evidence.get(Restart), evidence.get(Trials), evidence.get(Curvature)
    if restart is None or trials is None or evidence.get(LossLevel) is None:
        return None
    learned = has_learned(evidence)
    least_gain = GAIN_OF_RESTART_AFTER_LEARNING if learned else GAIN_OF_RESTART
    advantage = restart.gain - (going_on(evidence) if learned else 0.0)
    if advantage < least_gain or (not learned and _found_from_here(trials, restart)):
        return None
    if restart.best is not None and not restart.best.beyond_chance:
        return None
    by_far = (restart.own_gain or 0.0) - going_on(evidence) >= GAIN_OF_RESTART_IN_NOISE
    if learned and (too_early(evidence) or way_to_go(evidence, restart.gain) < WAY_TO_GO_SMALL):
        return None
    if learned and not by_far and not proven(evidence):
        return None
    bends_upward = (
        curvature is not None
        and curvature.lambda_min > -CURVATURE_RATIO_NEGATIVE * curvature.lambda_max > float("-inf")
    )
    at_minimum = learned or (bends_upward and trials.relative_gradient < RELATIVE_GRADIENT_SMALL)
    of_adam = restart.own_gain is None or restart.own_gain < restart.gain
    optimizer = "Adam at a learning rate of 0.01" if of_adam else "the run's own optimizer and rate"
    runs = f"Of {restart.seeds} runs" if restart.seeds > 1 else "A run"
    best = ", the best comes" if restart.seeds > 1 else " comes"
    found = "no way down was found" if trials.best <= GAIN_CLEAR else "no such way down was found by the same means"
    return verdict_of(
        evidence,
        Cause.POOR_MINIMUM if at_minimum else Cause.SADDLE_POINT,
        f"{runs} from new initial weights with {optimizer}{best} {restart.gain:.0%} below the present loss in "
        f"{restart.steps} steps (threshold {least_gain:.0%}); {found} from the present weights.",
        stuck=True if learned and by_far and not goes_down(evidence) else None,
    )


def _found_from_here(trials: Trials, restart: Restart) -> bool:
    """Return whether a way down is found from the present weights too, so that they are not what holds the run back.

    In far fewer steps, Adam must come at least half as far down as the run from new weights, or a larger rate twice as
    far.
    """
    by_adam = trials.gain("adam") > GAIN_CLEAR and trials.gain("adam") >= restart.gain / 2
    return by_adam or trials.larger_rates >= 2 * restart.gain


def needs_restart(evidence: Evidence, verdict: Verdict) -> bool:
    """Return whether only a restart can show that the verdict is right, or that the learning rate is to blame instead.

    Duplicate and saturated units may be of no harm. Units that are dead, gradients that vanish, saddles, and a loss
    that Adam lowers may all come from steps that are too large, if the weights or the loss show large steps.
    """
    if evidence.get(Restart) is not None:
        return False
    if _units_are_useless(evidence):
        return True
    return verdict.cause in (Cause.FLAT_REGION, Cause.SADDLE_POINT, Cause.SLOW) and large_steps(evidence)


def restart_order(evidence: Evidence) -> tuple[str, ...]:
    """Return the kinds of restarts, named like the fields of `Restart`, those first that can decide most.

    If the schedule has ended early, the first question is what its usual rate would do. If the run has learned, its own
    optimizer from new weights shows whether it is in a poor minimum. If not, or if most of its units are useless, the
    question is whether the model can learn more at all, for which Adam needs the fewest steps. Where the steps may be
    too large, a smaller rate comes before that.
    """
    useless = _units_are_useless(evidence)
    learned = has_learned(evidence) and not useless
    first: tuple[str, ...] = ("own", "adam") if learned else ("adam", "own")
    smaller = ("tenth", "hundredth")
    if schedule_ended_early(evidence):
        first = ("usual_rate", *first)
    if steps_do_harm(evidence) or (not learned and not useless and large_steps(evidence)):
        return (*smaller, *first)
    return (*first[:-1], *smaller, "adam") if learned else (*first, *smaller)


def _units_are_useless(evidence: Evidence) -> bool:
    """Return whether most units of a layer are duplicates of others, or lie at the bounds of their activation."""
    symmetry = evidence.get(Symmetry)
    return is_saturated(evidence) or (symmetry is not None and symmetry.share > UNITS_DUPLICATE)
