"""Which tokens an attention leaves and which it hides, by the mask of its keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.trace import ATTENTION, MAX_SAMPLED


class TokenMasks:
    """Keeps the tokens that embeddings got in one evaluation, and compares the masks of attentions with them."""

    def __init__(self) -> None:
        self._tokens: list[Tensor] = []

    def commonest(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[float, float] | None:
        """Return the share of the commonest token where an attention leaves positions, and where it hides them.

        None for any other operation, and for an attention without a mask that fits the tokens of an embedding.
        """
        if name == "embedding":
            tokens = args[0] if args else kwargs.get("input")
            if isinstance(tokens, Tensor) and tokens.ndim == 2 and tokens.numel() <= MAX_SAMPLED:
                self._tokens.append(tokens.detach().clone())
            return None
        mask = kwargs.get("key_padding_mask") if name == ATTENTION else None
        if not isinstance(mask, Tensor):
            return None
        hidden = mask.detach() if mask.dtype is torch.bool else mask.detach() == -torch.inf
        tokens = next((tokens for tokens in self._tokens if tokens.shape == hidden.shape), None)
        if tokens is None or not hidden.any() or hidden.all():
            return None
        return _share_of_commonest(tokens[~hidden]), _share_of_commonest(tokens[hidden])


def _share_of_commonest(tokens: Tensor) -> float:
    return float((tokens == tokens.mode().values).float().mean())
