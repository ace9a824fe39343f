"""Which attentions hide the tokens of a sequence and leave its padding."""

from __future__ import annotations

from lightning_landscape.evidence.wiring import InvertedMask
from lightning_landscape.trace import Trace

ONE_TOKEN, MANY_TOKENS = 0.9, 0.8
"""Above the first share of its commonest token, what is left is one token, as padding is; below the second one, what is
hidden are several. A mask that is right hides one token, and leaves several"""


def inverted_masks(trace: Trace) -> tuple[InvertedMask, ...]:
    """Return the attentions whose mask of keys leaves next to nothing but one token, and hides many others."""
    return tuple(
        InvertedMask(operation.module, left)
        for operation in trace.operations
        if operation.commonest is not None and trace.leads_to_loss(operation)
        for left, hidden in [operation.commonest]
        if left > ONE_TOKEN and hidden < MANY_TOKENS
    )
