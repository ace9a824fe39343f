"""The finding that the mask of an attention is inverted."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.parts import percent
from lightning_landscape.diagnosis.findings.wiring import in_module
from lightning_landscape.evidence import Cause, Evidence, Finding, Wiring


def inverted_mask(evidence: Evidence) -> Finding | None:
    """Return that an attention hides the tokens of a sequence and leaves its padding."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.inverted_masks:
        return None
    found = wiring.inverted_masks[0]
    return Finding(
        "inverted-mask",
        Cause.NOTHING_TO_LEARN,
        f"The `key_padding_mask` of the attention{in_module(found.module)} hides the tokens and leaves the padding: "
        f"{percent(found.left)} of the positions that it leaves hold one and the same token, and those that it hides "
        "hold many. In this mask, True means that a position is hidden.",
        "invert it: `key_padding_mask=(tokens == padding)`; from the mask of a tokenizer, which is 1 for each token, "
        "`key_padding_mask=(attention_mask == 0)`.",
        "certain",
    )
