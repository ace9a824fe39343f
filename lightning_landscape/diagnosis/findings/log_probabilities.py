"""The finding that `nll_loss` gets numbers that are no log-probabilities."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.wiring import in_module
from lightning_landscape.evidence import Cause, Evidence, Finding, Wiring


def not_log_probabilities(evidence: Evidence) -> Finding | None:
    """Return that `nll_loss` gets logits or probabilities in place of log-probabilities."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.not_log_probabilities:
        return None
    found = wiring.not_log_probabilities[0]
    where = in_module(found.module)
    if found.probabilities:
        what = (
            f"`nll_loss`{where} gets probabilities and not their logarithms: the samples that are predicted worst "
            "hardly count, and the loss lies between -1 and 0."
        )
        advice = "use `log_softmax` in place of `softmax`, or give `F.cross_entropy` the output of the last layer."
    elif found.over_samples:
        what = (
            f"`log_softmax` normalises over the samples of the batch (`dim=0`) and not over the classes, so `nll_loss`"
            f"{where} gets numbers whose exponentials add up to {found.mass:.2g} for each sample, and not to 1."
        )
        advice = "`F.log_softmax(output, dim=1)`, or `F.cross_entropy(output, target)` in place of both functions."
    else:
        what = (
            f"`nll_loss`{where} expects log-probabilities, whose exponentials add up to 1 for each sample; here they "
            f"add up to {found.mass:.2g}. The loss falls without end while all outputs grow, whatever the classes."
        )
        advice = (
            "use `F.cross_entropy(output, target)` in place of `F.nll_loss(output, target)`; or keep `F.nll_loss`, and "
            "give it `F.log_softmax(output, dim=1)`."
        )
    return Finding("not-log-probabilities", Cause.NOTHING_TO_LEARN, what, advice, "certain")
