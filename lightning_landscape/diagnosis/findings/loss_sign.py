"""Findings on the sign of the loss: it is certainly wrong, or the loss falls as one with the wrong sign does."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.wiring import in_module
from lightning_landscape.diagnosis.thresholds import GAIN_WITHOUT_END
from lightning_landscape.evidence import Cause, Evidence, Finding, LossLevel, Trials, Wiring
from lightning_landscape.evidence.wiring import DISTANCE

CHECK_THE_SIGN = (
    "check the sign of the loss: a loss function is to fall, `loss = F.cross_entropy(logits, target)`, and only a "
    "score that is to grow gets a minus, `loss = -score`. A score that can grow without end needs a bound or a penalty."
)


def wrong_sign(evidence: Evidence) -> Finding | None:
    """Return that the whole loss is a loss function times a negative number, or that the optimizer maximises it.

    It is a note where it may be meant, as for a trained model that is to forget, or for inputs that are to mislead it.
    """
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.wrong_sign:
        return None
    found = wiring.wrong_sign[0]
    what, function = f"`{found.loss}`{in_module(found.module)}", f"F.{found.loss}(prediction, target)"
    again = f"`{found.loss}`"
    if found.loss == DISTANCE:
        what = again = "the distance of prediction and target"
        function = "(prediction - target).square().mean()"
    if found.maximized:
        sentence = f"The optimizer has `maximize=True`, so each of its steps raises {what}: the predictions get worse."
        advice = "remove `maximize=True` from the optimizer."
    else:
        sentence = (
            f"The loss is {what} times a negative number, so each optimizer step raises {again}: the loss falls while "
            "the predictions get worse."
        )
        advice = f"remove the minus: `loss = {function}`."
    meant = all(sign.may_be_meant for sign in wiring.wrong_sign)
    return Finding(
        "wrong-sign",
        Cause.DIVERGED,
        sentence,
        advice,
        "note" if meant else "certain",
        title="the sign of the loss is wrong",
    )


def no_lowest_loss(evidence: Evidence) -> Finding | None:
    """Return that the loss falls far below zero without coming to rest, in the run or in a trial on a copy of it.

    Its lowest value must not be known. A loss that can be learned falls ever more slowly, also where it has no lowest
    value, as that of a density.
    """
    level, trials = evidence.get(LossLevel), evidence.get(Trials)
    if level is None or level.floor_measured:
        return None
    if level.runs_down:
        sentence = (
            f"The loss has no known lowest value: it ran from {level.start:.4g} to {level.now:.4g} without levelling "
            "off."
        )
    elif trials is not None and trials.best > GAIN_WITHOUT_END:
        most = "a million" if trials.best >= 1e6 else f"{trials.best:,.0f}"
        sentence = (
            f"The loss has no known lowest value: {trials.steps} steps on a copy lower it more than {most} times as "
            "far as the whole run has."
        )
    else:
        return None
    return Finding(
        "no-lowest-loss", Cause.UNDECIDED, sentence, CHECK_THE_SIGN, "note", title="the loss falls without end"
    )
