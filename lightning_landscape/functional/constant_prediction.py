"""The loss of the best prediction that is the same for all samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class ConstantLoss(NamedTuple):
    """The loss of a prediction beside that of the best constant one."""

    loss: float
    constant: float
    """about that of the best constant on all data"""
    error: float
    """standard error of the difference of the two, as far as it comes from the choice of the samples"""
    fitted: bool
    """False where equal probabilities stand for the class shares"""


def best_constant_loss(
    function: Callable[..., Tensor], prediction: Tensor, target: Tensor, settings: Mapping[str, Any]
) -> ConstantLoss | None:
    """Return the loss of a prediction, and about that of the best constant one on all data.

    The best constant is found for cross-entropy (the class shares), the squared and the absolute error (mean and median
    over the samples, for each unit) and binary cross-entropy (the mean). None for other losses, for shapes that
    broadcast, for fewer samples than 8, and where a loss is not finite. Where there are fewer than two targets for each
    class, equal probabilities stand for the class shares.

    A constant that is fitted to few samples is better on these than on all data. Therefore an error is returned times
    n / (n - 1), as for a variance, and an entropy of k classes with (k - 1) / (2 n) added [Miller55]_; but no more than
    equal probabilities have.

    .. [Miller55] Note on the bias of information estimates, Information Theory in Psychology, 1955.

    >>> target = torch.tensor([0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0])
    >>> found = best_constant_loss(torch.nn.functional.mse_loss, torch.full((8,), 3.0), target, {})
    >>> found.loss, round(found.constant, 3), round(found.error, 3)
    (5.0, 1.143, 1.512)

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
        single = {**settings, "reduction": "none"}
        better = function(constant.expand_as(prediction), target, **single) - function(prediction, target, **single)
        error = float(better.reshape(len(better), -1).mean(1).std()) / math.sqrt(len(better))
    best = _on_all_data(function, best, prediction, target, settings)
    fitted = function is not functional.cross_entropy or _show_shares(_class_counts(prediction, target, settings))
    return ConstantLoss(loss, best, error, fitted) if all(map(math.isfinite, (loss, best, error))) else None


MIN_SAMPLES = 8
"""to fewer samples, a constant is fitted so closely that its loss says little"""
Settings = Mapping[str, Any]


def _on_all_data(
    function: Callable[..., Tensor], best: float, prediction: Tensor, target: Tensor, settings: Settings
) -> float:
    """Return about what the best constant loses on all data, where it loses `best` on the samples it is fitted to."""
    if function in (functional.mse_loss, functional.l1_loss):
        return best * len(target) / (len(target) - 1)
    if function is functional.cross_entropy:
        counts = _class_counts(prediction, target, settings)
        if not _show_shares(counts):
            return best
        equal = float(function(torch.zeros_like(prediction), target, **settings))
        return min(equal, best + (int(counts.count_nonzero()) - 1) / (2 * float(counts.sum())))
    units_with_both = float((target.amin(0) < target.amax(0)).float().mean())
    return best + units_with_both / (2 * len(target))


def _class_counts(prediction: Tensor, target: Tensor, settings: Settings) -> Tensor:
    """Return how many targets belong to each class, shape (classes,); a target may be a probability of each class."""
    classes = prediction.shape[1]
    if target.is_floating_point():
        return target.movedim(1, -1).reshape(-1, classes).sum(0)
    counted = target[target != settings.get("ignore_index", -100)]
    return torch.bincount(counted.flatten(), minlength=classes).float()


def _show_shares(counts: Tensor) -> bool:
    """Return whether there are enough targets to show the shares of the classes."""
    return bool(counts.sum() >= 2 * len(counts))


def _class_shares(prediction: Tensor, target: Tensor, settings: Settings) -> Tensor | None:
    """Return the logarithms of the class shares, in the shape of one prediction."""
    if prediction.ndim < 2:
        return None
    classes, counts = prediction.shape[1], _class_counts(prediction, target, settings)
    if not _show_shares(counts):
        return torch.zeros(1, *prediction.shape[1:], device=prediction.device)
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
