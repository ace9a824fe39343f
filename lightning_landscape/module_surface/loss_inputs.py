"""What is measured of the numbers that a loss function takes as predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lightning_landscape.trace import LOGIT_LOSSES

ROUNDING = 1e-3
"""largest difference from 1 of a sum of probabilities, which half precision rounds"""


def zero_logits(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> float | None:
    """Return the share of logits that are zero on every sample; None if this is no cross-entropy of samples."""
    logits = args[0] if args else kwargs.get("input")
    if name not in LOGIT_LOSSES or not isinstance(logits, Tensor) or logits.ndim < 2 or not logits.numel():
        return None
    samples, classes, *_ = logits.shape
    return float((logits.detach() == 0).reshape(samples, classes, -1).all(-1).all(0).float().mean())


def class_sums(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the medians over samples of the sums over classes of exp(x) and of x; None if this is no `nll_loss`."""
    values = args[0] if args else kwargs.get("input")
    if name != "nll_loss" or not isinstance(values, Tensor) or values.ndim < 1 or not values.numel():
        return None
    classes = values.detach().double().movedim(min(1, values.ndim - 1), -1)
    return float(classes.exp().sum(-1).median()), float(classes.sum(-1).median())


def are_probabilities(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Return whether a cross-entropy gets numbers that are not below 0 and add up to 1 for each of several samples."""
    logits = args[0] if args else kwargs.get("input")
    if name != "cross_entropy" or not isinstance(logits, Tensor) or logits.ndim < 2 or min(logits.shape[:2]) < 2:
        return False
    values = logits.detach().double()
    return bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < ROUNDING).all())
