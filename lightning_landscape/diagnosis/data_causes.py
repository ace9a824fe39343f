"""Detectors for causes in the data: inputs that are all the same, have no targets, or do not determine the targets."""

from __future__ import annotations

import math

from lightning_landscape._text import percent
from lightning_landscape.diagnosis.advice import change
from lightning_landscape.diagnosis.findings.parts import zero_gradient
from lightning_landscape.diagnosis.learning import falls_by_inputs, has_learned
from lightning_landscape.diagnosis.thresholds import (
    GAIN_CLEAR,
    INPUT_USE_NONE,
    SAMPLES_TO_LEARN_FROM,
    TARGETS_AGREE,
    TARGETS_AGREE_BY_CHANCE,
)
from lightning_landscape.diagnosis.verdicts import verdict_of
from lightning_landscape.evidence import (
    CAUSES,
    BatchContents,
    Cause,
    Evidence,
    InputUse,
    LinearFit,
    Outputs,
    Restart,
    Trials,
    Verdict,
    Wiring,
)


def constant_inputs(evidence: Evidence) -> Verdict | None:
    """Return `nothing_to_learn` if all inputs are the same."""
    use = evidence.get(InputUse)
    if use is None or use.varied:
        return None
    return verdict_of(evidence, Cause.NOTHING_TO_LEARN, "All samples of the examined batches have the same input.")


def nothing_to_learn(evidence: Evidence) -> Verdict | None:
    """Return `nothing_to_learn` if the model does not use its inputs, and no trial or restart shows that it could.

    That restart must use Adam, which needs the fewest steps. If similar samples have similar targets nevertheless, the
    model itself may mix the samples of a batch. Nothing is said where it does not, and where a linear regression
    predicts the targets from the inputs: then there is something to learn, which these few steps have not found. Nor is
    anything said after runs on few samples.
    """
    use, restart, trials = evidence.get(InputUse), evidence.get(Restart), evidence.get(Trials)
    if use is None or restart is None or trials is None or has_learned(evidence) or use.unpaired:
        return None
    if restart.adam_gain is None or _targets_of(trials, evidence) < SAMPLES_TO_LEARN_FROM:
        return None
    if use.share >= INPUT_USE_NONE or falls_by_inputs(evidence) or max(trials.best, restart.gain) > GAIN_CLEAR:
        return None
    mixes, fit = _mixes_samples(evidence), evidence.get(LinearFit)
    if mixes is False or (mixes is None and fit is not None and fit.helps):
        return None
    advice = (
        "search the model for what mixes the samples of a batch, such as `view` or `reshape` in place of `transpose`: "
        "samples whose outputs were similar at the start do have similar targets."
    )
    untouched = zero_gradient(evidence)
    if untouched is not None and not mixes:
        advice = f"{untouched.advice}\n{CAUSES[Cause.NOTHING_TO_LEARN].advice}"
    why = "" if untouched is None else f" {untouched.sentence}"
    rise = f"raises the loss by {percent(use.share)}" if use.share > 0 else "does not raise the loss"
    return verdict_of(
        evidence,
        Cause.NOTHING_TO_LEARN,
        f"Shuffling the targets {rise} (threshold {INPUT_USE_NONE:.0%}): the model ignores its inputs. The best trial "
        f"{change(trials.best)}, and the best run from new weights {change(restart.gain)}.{why}",
        particular=advice if mixes or untouched is not None else "",
    )


def _targets_of(trials: Trials, evidence: Evidence) -> float:
    """Return how many targets the trials learned from: of a sequence each token may be one; inf if that is unknown.

    Of targets that are mostly 0, such as those of a rare class, twice those count that are not.
    """
    contents = evidence.get(BatchContents)
    targets = [] if contents is None else [entry for entry in contents.entries if entry.target]
    if contents is None or not targets:
        return trials.samples or math.inf
    most = max(targets, key=lambda entry: entry.values)
    not_zero = (most.mean_size / most.size) ** 2 if most.size else 0.0  # the share of ones among zeros and ones
    return max(trials.samples, most.values / contents.batches * trials.batches) * min(1.0, 2 * not_zero)


def _mixes_samples(evidence: Evidence) -> bool | None:
    """Return whether the model mixes the samples of a batch; None if that is not known.

    Samples whose outputs are similar at the initial weights have similar targets in some layer of a model that can
    learn. In one that mixes the samples, they no longer do in the outputs that the loss receives; nor behind a dropout
    that sets nearly all values to zero.
    """
    outputs, wiring = evidence.get(Outputs), evidence.get(Wiring)
    if outputs is None or (outputs.targets_agree or 0.0) < TARGETS_AGREE or (wiring is not None and wiring.dropouts):
        return None
    at_loss = outputs.targets_agree_at_loss
    if at_loss is None or at_loss < TARGETS_AGREE_BY_CHANCE:
        return True
    return False if at_loss >= TARGETS_AGREE else None
