"""The finding that a dropout lets hardly anything pass."""

from __future__ import annotations

from lightning_landscape.diagnosis.findings.wiring import in_module, stuck_from_the_start
from lightning_landscape.evidence import Cause, Evidence, Finding, Wiring


def strong_dropout(evidence: Evidence) -> Finding | None:
    """Return that a dropout on the way to the loss sets at least nine of ten values to zero."""
    wiring = evidence.get(Wiring)
    if wiring is None or not wiring.dropouts:
        return None
    found = max(wiring.dropouts, key=lambda dropout: dropout.p)
    others = len(wiring.dropouts) - 1
    also = f", and {others} more such call{'s' * (others > 1)} follow{'s' * (others == 1)}" if others else ""
    return Finding(
        "strong-dropout",
        Cause.FLAT_REGION,
        f"Dropout{in_module(found.module)} sets {found.p:.0%} of its values to zero in each step{also}, so hardly "
        "anything of the inputs gets to the loss.",
        f"`nn.Dropout(p={1 - found.p:.2g})`: p is the share that is set to zero, and not the share that is kept; 0.1 "
        "to 0.5 is usual.",
        "evidence" if stuck_from_the_start(evidence) else "note",
    )
