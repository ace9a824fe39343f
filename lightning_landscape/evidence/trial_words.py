"""The trials of `Trials` and `Alternatives` in words, which messages and pictures share."""

from __future__ import annotations

from collections.abc import Mapping

TRIAL_WORDS: Mapping[str, str] = {
    "this optimizer": "the run's own optimizer",
    "adam": "Adam at a learning rate of 0.01",
    "line search": "a line search along the gradient",
    "learning rate x0.01": "a hundredth of the learning rate",
    "learning rate x0.1": "a tenth of the learning rate",
    "learning rate x3": "three times the learning rate",
    "learning rate x10": "ten times the learning rate",
    "learning rate x100": "a hundred times the learning rate",
    "learning rate x1000": "a thousand times the learning rate",
    "mean of the path": "averaging the weights",
    "batch x4": "a batch four times as large",
    "a perturbation": "a random perturbation",
}
"""the words for each trial, by its name"""
