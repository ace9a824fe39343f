"""The loss of the best prediction that is the same for all samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def best_constant_loss(
    function: Callable[..., Tensor], prediction: Tensor, target: Tensor, settings: Mapping[str, Any]
) -> tuple[float, float] | None:
    """Return the loss of a prediction, and that of the best constant one for the same targets.

    The best constant is found for cross-entropy (the class shares), the squared and the absolute error (mean and median
    over the samples, for each unit) and binary cross-entropy (the mean). None for other losses, for shapes that
    broadcast, for fewer samples than 8, and where a loss is not finite.

    >>> target = torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0])
    >>> best_constant_loss(torch.nn.functional.mse_loss, torch.full((8,), 3.0), target, {})
    (5.0, 1.0)

    Args:
        function: the loss function, one of `torch.nn.functional`.
        prediction: its first argument, shape (samples, ...).
        target: its second argument, shape (samples, ...).
        settings: its other arguments by name.
    """
    if prediction.ndim < 1 or len(prediction) < MIN_SAMPLES or len(target) != len(prediction):
        return None
    prediction, target = prediction.detach().float(), target.detach()
    target = target.float() if target.is_floating_point() else target
    constant = _BEST[function](prediction, target, settings) if function in _BEST else None
    if constant is None:
        return None
    if settings.get("reduction") in ("none", "sum"):  # what the step makes of single losses is not known
        settings = {**settings, "reduction": "mean"}
    with torch.no_grad():
        loss = float(function(prediction, target, **settings))
        best = float(function(constant.expand_as(prediction), target, **settings))
    return (loss, best) if math.isfinite(loss) and math.isfinite(best) else None


MIN_SAMPLES = 8
"""to fewer samples, a constant is fitted so closely that its loss says little"""
Settings = Mapping[str, Any]


def _class_shares(prediction: Tensor, target: Tensor, settings: Settings) -> Tensor | None:
    """Return the logarithms of the class shares, in the shape of one prediction."""
    if prediction.ndim < 2:
        return None
    classes = prediction.shape[1]
    if target.is_floating_point():
        counts = target.movedim(1, -1).reshape(-1, classes).sum(0)
    else:
        counted = target[target != settings.get("ignore_index", -100)]
        counts = torch.bincount(counted.flatten(), minlength=classes).float()
    if settings.get("weight") is not None:
        counts = counts * settings["weight"]
    smoothing = float(settings.get("label_smoothing", 0.0))
    shares = (1 - smoothing) * counts / counts.sum() + smoothing / classes
    return shares.clamp(min=1e-30).log().reshape(1, classes, *[1] * (prediction.ndim - 2))


def _mean(prediction: Tensor, target: Tensor, settings: Settings) -> Tensor | None:
    return target.float().mean(0, keepdim=True) if target.shape == prediction.shape else None


def _median(prediction: Tensor, target: Tensor, settings: Settings) -> Tensor | None:
    return target.float().median(0, keepdim=True).values if target.shape == prediction.shape else None


def _share(prediction: Tensor, target: Tensor, settings: Settings) -> Tensor | None:
    if settings.get("weight") is not None:
        return None
    share = _mean(prediction, target, settings)
    weight: Tensor | None = settings.get("pos_weight")
    if share is None or weight is None:
        return share
    return weight * share / (weight * share + 1 - share)


def _share_as_logit(prediction: Tensor, target: Tensor, settings: Settings) -> Tensor | None:
    share = _share(prediction, target, settings)
    return None if share is None else share.logit(eps=1e-12)


_BEST: Mapping[Callable[..., Tensor], Callable[[Tensor, Tensor, Settings], Tensor | None]] = {
    functional.cross_entropy: _class_shares,
    functional.mse_loss: _mean,
    functional.l1_loss: _median,
    functional.binary_cross_entropy: _share,
    functional.binary_cross_entropy_with_logits: _share_as_logit,
}
