"""The share of saturated rows in a softmax, and in the softmax inside torch's attention functions."""

from __future__ import annotations

import torch
from torch.nn import functional

from lightning_landscape.functional.samples import saturated_rows
from lightning_landscape.module_surface.operations import Operation

MAX_VALUES = 2**20
"""largest number of probabilities of an attention that are computed; of more samples, the first ones are taken"""


def saturated_share(operation: Operation) -> float | None:
    """Return the share of saturated rows of a softmax, or of the softmax inside an attention; None for others."""
    if operation.name == "softmax":
        logits, dim = operation.argument(0, "input"), operation.argument(1, "dim")
        return None if not isinstance(dim, int) else saturated_rows(logits, dim)
    if operation.name == "scaled_dot_product_attention":
        return _saturated_attention(operation)
    if operation.name == "multi_head_attention_forward":
        return _saturated_heads(operation)
    return None


def _saturated_attention(operation: Operation) -> float | None:
    """Return the share of saturated rows in the first samples of a ``scaled_dot_product_attention``."""
    query, key, mask = (operation.argument(*at) for at in ((0, "query"), (1, "key"), (3, "attn_mask")))
    causal, scale = operation.argument(5, "is_causal"), operation.keywords.get("scale")
    if query.shape[:-2] != key.shape[:-2]:  # grouped queries
        return None
    few = max(1, MAX_VALUES // max(1, query[:1].numel() // query.shape[-1] * key.shape[-2]))
    logits = query[:few].float() @ key[:few].float().mT * (scale or query.shape[-1] ** -0.5)
    if causal:
        allowed = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
        logits = logits.masked_fill(~allowed, -torch.inf)
    if mask is not None:
        mask = mask[:few] if mask.ndim == query.ndim and len(mask) == len(query) else mask
        logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else logits + mask
    return saturated_rows(logits, -1)


def _saturated_heads(operation: Operation) -> float | None:
    """Return the share of saturated rows in the attention of a ``multi_head_attention_forward``."""
    query, key, heads = operation.argument(0, "query"), operation.argument(1, "key"), operation.argument(4, "num_heads")
    if query.numel() // query.shape[-1] * key.shape[0] * heads > MAX_VALUES or key.shape[0] < 2:
        return None
    arguments = dict(zip(_ATTENTION, operation.arguments, strict=False)) | dict(operation.keywords)
    again = {"dropout_p": 0.0, "training": False, "need_weights": True, "average_attn_weights": False}
    probabilities = functional.multi_head_attention_forward(**{**arguments, **again})[1]
    if probabilities is None:
        return None
    masked = arguments.get("attn_mask") is not None or arguments.get("key_padding_mask") is not None
    # The logarithm of a probability is the logit but for a constant. One of 0 is masked out, or rounded to 0.
    logits = probabilities.float().log()
    return saturated_rows(logits if masked else logits.clamp(min=-200.0), -1)


_ATTENTION = (
    *("query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v"),
    *("add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask"),
    *("need_weights", "attn_mask"),
)
"""names of the first arguments of ``multi_head_attention_forward``"""
