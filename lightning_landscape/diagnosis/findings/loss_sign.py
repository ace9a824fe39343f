"""The finding that the optimizer steps raise the loss function in place of lowering it."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.wiring import in_module
from lightning_landscape.evidence import Cause, Evidence, Finding, Wiring
from lightning_landscape.evidence.wiring import DISTANCE


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
