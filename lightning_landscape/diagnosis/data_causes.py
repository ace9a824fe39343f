"""Detectors for causes in the data: inputs that are all the same, have no targets, or do not determine the targets."""

from __future__ import annotations

import math

from lightning_landscape.diagnosis.advice import change
from lightning_landscape.diagnosis.learning import falls_by_inputs, has_learned
from lightning_landscape.diagnosis.thresholds import GAIN_CLEAR, GAIN_NONE, INPUT_USE_NONE, TARGETS_AGREE
from lightning_landscape.diagnosis.verdicts import verdict_of
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    InputUse,
    LossLevel,
    Outputs,
    Restart,
    StartingPoint,
    Trials,
    Verdict,
)


def constant_inputs(evidence: Evidence) -> Verdict | None:
    """Return `nothing_to_learn` if all inputs are the same."""
    use = evidence.get(InputUse)
    if use is None or use.varied:
        return None
    return verdict_of(evidence, Cause.NOTHING_TO_LEARN, "All samples of the examined batches have the same input.")


def nothing_to_learn(evidence: Evidence) -> Verdict | None:
    """Return `nothing_to_learn` if the model does not use its inputs, and no trial or restart shows that it could.

    If similar samples have similar targets nevertheless, the model itself may mix the samples of a batch.
    """
    use, restart, trials = evidence.get(InputUse), evidence.get(Restart), evidence.get(Trials)
    if use is None or restart is None or trials is None or has_learned(evidence) or use.unpaired or not restart.trained:
        return None
    if use.share >= INPUT_USE_NONE or falls_by_inputs(evidence) or trials.best > GAIN_CLEAR:
        return None
    outputs = evidence.get(Outputs)
    agree = outputs is not None and (outputs.targets_agree or 0.0) >= TARGETS_AGREE
    mixing = (
        " Samples whose outputs were similar at the start do have similar targets: look for what mixes the samples of "
        "a batch inside the model, such as `view` or `reshape` in place of `transpose`."
    )
    rise = f"raises the loss by {use.share:.1%}" if use.share > 0 else "does not raise the loss"
    return verdict_of(
        evidence,
        Cause.NOTHING_TO_LEARN,
        f"Exchanging the targets between samples {rise} (threshold {INPUT_USE_NONE:.0%}), so the model does not use "
        f"its inputs; the best trial {change(trials.best)}, and the best restart {change(restart.gain)}."
        f"{mixing if agree else ''}",
    )


def unpaired_minimum(evidence: Evidence) -> Verdict | None:
    """Return `settled` for a loss that depends on the inputs alone, if no trial lowers it.

    If such a loss has not visibly fallen since its start, a restart must not lower it either.
    """
    use, trials, restart = evidence.get(InputUse), evidence.get(Trials), evidence.get(Restart)
    if use is None or not use.unpaired or trials is None:
        return None
    learned = has_learned(evidence)
    largest_gain = GAIN_CLEAR if learned else GAIN_NONE
    if trials.best > largest_gain:
        return None
    if not learned and not _has_visibly_fallen(evidence) and (restart is None or restart.gain > GAIN_NONE):
        return None
    return verdict_of(
        evidence,
        Cause.SETTLED,
        f"The loss depends on the inputs alone, and no trial lowers it by more than {trials.best:.1%} on held-out "
        f"batches (threshold {largest_gain:.0%}).",
    )


def _has_visibly_fallen(evidence: Evidence) -> bool:
    """Return whether the loss on fixed batches fell by more than one standard deviation of single batches."""
    start, level = evidence.get(StartingPoint), evidence.get(LossLevel)
    if start is None or level is None or level.spread is None:
        return False
    return math.isfinite(start.loss) and start.loss - start.now > level.spread
