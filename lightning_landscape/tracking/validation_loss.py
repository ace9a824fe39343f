"""Which of the metrics that a validation logs is the validation loss."""

from __future__ import annotations

import re
from collections.abc import Iterable

OF_VALIDATION = frozenset({"val", "valid", "validation", "eval", "evaluation", "dev", "test", "holdout", "cv"})
"""words that say that a metric is of the validation"""
LOSSES = frozenset({"nll", "mse", "rmse", "mae", "bce", "ce", "perplexity", "ppl"})
"""words for a loss that is not called a loss"""
FORMS = frozenset({"epoch", "step", "total", "dataloader", "idx", "0", "mean", "avg"})
"""words that do not change what a metric is"""
EXTREMES = frozenset({"best", "min", "max", "lowest", "highest"})
"""words for the best value so far, which never becomes worse"""


def validation_loss(names: Iterable[str]) -> str | None:
    """Return the name of the validation loss among the metrics that a validation has logged; None if there is none.

    >>> validation_loss(["val_acc", "val_loss"]), validation_loss(["val/kl_loss", "val/loss"]), validation_loss(["acc"])
    ('val_loss', 'val/loss', None)
    >>> validation_loss(["val/loss_best", "val/loss"]), validation_loss(["val_kl_loss", "val_recon_loss"])
    ('val/loss', None)

    A loss that is one part of a sum is taken only if no other metric is called a loss.
    """
    words = {name: frozenset(re.findall(r"[a-z]+|\d+", _parted(name).lower())) for name in names}
    usable = {name: found for name, found in words.items() if not found & EXTREMES}
    for wanted in (frozenset({"loss"}), LOSSES):
        whole = [n for n, found in usable.items() if found & wanted and len(found - OF_VALIDATION - FORMS) == 1]
        if whole:
            return min(whole, key=lambda name: (len(name), name))
    parts = [name for name, found in usable.items() if "loss" in found]
    return parts[0] if len(parts) == 1 else None


def _parted(name: str) -> str:
    """Return the name with a space before each capital letter after a small one, as in "valLoss"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
