"""A model that does not use its inputs although a linear regression predicts the targets from them."""

from __future__ import annotations

from lightning_landscape._text import percent
from lightning_landscape.diagnosis.learning import has_learned
from lightning_landscape.evidence import Cause, Evidence, Finding, LinearFit, Plateau


def linear_model_predicts(evidence: Evidence) -> Finding | None:
    """Return a note if a linear regression on the inputs predicts the targets, and the model has learned nothing."""
    fit = evidence.get(LinearFit)
    if fit is None or not fit.helps or evidence.get(Plateau) is None or has_learned(evidence):
        return None
    return Finding(
        "linear-model-predicts",
        Cause.UNDECIDED,
        f"A linear regression on the inputs of {fit.samples} samples explains {percent(fit.explained)} of the variance "
        f"of the targets of samples left out (by chance at most {percent(max(0.0, fit.by_chance))}), so there is "
        "something to learn that the model does not use.",
        "train one linear layer in place of the model: if its loss falls, the data are right. Then look at how the "
        "inputs get into the model, at the initial weights (`nn.init.kaiming_normal_` for ReLUs), and try Adam.",
        "note",
    )
