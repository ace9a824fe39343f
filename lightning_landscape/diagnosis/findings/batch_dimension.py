"""The finding that a layer reads the samples of a batch as one sequence."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.wiring import in_module
from lightning_landscape.evidence import Cause, Evidence, Finding, Wiring


def samples_as_sequence(evidence: Evidence) -> Finding | None:
    """Return that a recurrent layer or an attention takes the samples for the steps of a sequence.

    It is a note where the sequences have one step each, since attention between samples may then be meant.
    """
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.samples_as_sequence:
        return None
    found = wiring.samples_as_sequence[0]
    samples, steps, _ = found.shape
    what, layer = "recurrent layer", "nn.GRU(features, hidden, batch_first=True)"
    if found.function == "multi_head_attention_forward":
        what, layer = "attention", "nn.TransformerEncoderLayer(features, heads, batch_first=True)"
    return Finding(
        "samples-as-sequence",
        Cause.NOTHING_TO_LEARN,
        f"The {what}{in_module(found.module)} takes (time, batch, features), but gets {found.shape}, which begins with "
        f"the {samples} samples of the batch: it reads them as the {samples} steps of one sequence, so that the output "
        "for a sample depends on the others.",
        f"`batch_first=True`, as in `{layer}`; it then reads {steps} step{'s' if steps > 1 else ''} for each sample.",
        "certain" if steps > 1 else "note",
    )
