"""Detectors for runs without a cause: they are slow, they have settled, or nothing shows why they stand still."""

from __future__ import annotations

from lightning_landscape.diagnosis.learning import (
    beats_constant,
    falls_by_inputs,
    has_learned,
    high_share_of_start,
    larger_steps,
    share_of_start,
    starts_slowly,
    way_to_go,
)
from lightning_landscape.diagnosis.proof import has_trend, lasts, proven, stands_still, too_early, untested
from lightning_landscape.diagnosis.thresholds import (
    GAIN_LARGE,
    GAIN_NONE,
    GAIN_OF_RESTART,
    PARAMETERS_STILL,
    RELATIVE_GRADIENT_SMALL,
    SHARE_OF_START_RISEN,
    TRAVEL_LARGE,
    WAY_TO_GO_SMALL,
)
from lightning_landscape.diagnosis.verdicts import goes_down, verdict_of
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    InputUse,
    LossLevel,
    Restart,
    Trials,
    UpdateStatistics,
    Verdict,
)


def slow(evidence: Evidence) -> Verdict | None:
    """Return `slow` if the run has learned and Adam still lowers the loss a lot, but no obstacle was found.

    The fall must be a visible part of the way from the start, since the rest of a small loss is soon halved. A run that
    has learned nothing yet is slow if it lies on a slope that larger steps follow far down.
    """
    trials = evidence.get(Trials)
    if trials is None or not has_trend(evidence) or too_early(evidence):
        return None
    if starts_slowly(evidence):
        return verdict_of(
            evidence,
            Cause.SLOW,
            f"The loss has not come down from its start yet, but it lies on a slope: the relative gradient is "
            f"{trials.relative_gradient:.2g} (threshold {RELATIVE_GRADIENT_SMALL:g}), and larger steps on a copy lower "
            f"the loss by {larger_steps(evidence):.0%} more than the run's own (threshold {GAIN_LARGE:.0%}).",
        )
    if not has_learned(evidence):
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
    level, trials, restart = evidence.get(LossLevel), evidence.get(Trials), evidence.get(Restart)
    if level is None or not has_trend(evidence) or too_early(evidence) or untested(evidence) or not proven(evidence):
        return None
    if trials is None or restart is None or larger_steps(evidence) > GAIN_OF_RESTART:
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
        f"The loss came from {level.began:.4g} to {level.now:.4g} and stays there. Neither other learning rates nor "
        "new initial weights come clearly lower, and every part of the model moves. This run cannot show whether a "
        "larger model or other data would.",
    )


def undecided(evidence: Evidence) -> Verdict | None:
    """Return `undecided` for any stalled run: this detector comes last, after all that look for a cause.

    It is an alarm where the loss has stood still near its start for a tenth of the run, or where what had been learned
    is lost, and going on does not help.
    """
    level = evidence.get(LossLevel)
    if level is None or not has_trend(evidence):
        return None
    share, updates, missing = share_of_start(evidence), evidence.get(UpdateStatistics), untested(evidence)
    lost = share > SHARE_OF_START_RISEN and updates is not None and (updates.travelled or 0.0) > TRAVEL_LARGE
    learned = has_learned(evidence) or falls_by_inputs(evidence)
    high = share > high_share_of_start(evidence) or beats_constant(evidence) is False
    stays_high = lasts(evidence) and high and not learned
    reason = f"The loss came from {level.began:.4g} and stands at {level.now:.4g}; no measurement shows why."
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
