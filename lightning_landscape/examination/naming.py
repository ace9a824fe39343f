"""The names of probes, detectors and remedies in warnings and reports."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from lightning_landscape._text import shortened

LONGEST = 120
"""most characters of a name"""
WORDS = {
    "wiring": "the check of the wiring",
    "loss_floor": "the lowest possible loss",
    "starting_point": "the loss of the initial weights",
    "before_and_after": "the comparison with the best weights",
    "activity": "dead and saturated units",
    "best_constant": "the loss of a constant prediction",
    "outputs": "the outputs of the model",
    "symmetry": "duplicate units",
    "batch_contents": "the contents of the batches",
    "input_use": "the test whether the model uses its inputs",
    "CopyTrials": "trials of other learning rates and of Adam",
    "HessianExtremes": "the curvature",
    "HessianSpectrum": "the spectrum of the curvature",
    "Restarts": "runs from new weights",
    "LossLine": "lines to earlier weights",
    "gradient_noise": "the noise of the gradient",
    "PathPlane": "the picture of the loss around the weights",
    "TryAlternatives": "trials of averaged weights, a larger batch and a perturbation",
    "same_batches": "a test of the loss on fixed batches",
    "first_not_finite": "the search for what made the loss infinite or NaN",
}
"""the probes of this library in words"""


def in_words(name: str) -> str:
    """Return what a probe measures, by its name; the name itself for a probe of the user.

    >>> in_words("PathPlane(resolution=11, batches=1)"), in_words("my_probe")
    ('the picture of the loss around the weights', 'my_probe')
    """
    return WORDS.get(name.partition("(")[0], name)


def notes_on_skipped(skipped: Mapping[str, str]) -> list[str]:
    """Return a note for each probe that was skipped, from the reasons by the names of the probes."""
    return [f"{in_words(name)} was skipped: {reason}" for name, reason in skipped.items()]


def name_of(function: object) -> str:
    """Return a name for a function or an object that can be called, on one line, the same on every rank.

    >>> name_of(len), name_of(partial(sorted, reverse=True)), name_of(object())
    ('len', 'sorted(reverse=True)', 'object')
    """
    return shortened(" ".join(_name(function).split()), LONGEST)


def _name(function: object) -> str:
    if isinstance(function, partial):
        arguments = [*map(repr, function.args), *(f"{key}={value!r}" for key, value in function.keywords.items())]
        return name_of(function.func) + (f"({', '.join(arguments)})" if arguments else "")
    name = getattr(function, "__name__", None)
    if name == "<lambda>" and (code := getattr(function, "__code__", None)) is not None:
        return f"the lambda at line {code.co_firstlineno} of {Path(code.co_filename).name}"
    if isinstance(name, str) and name:
        return name
    # The default `repr` contains an address in memory, which differs between ranks.
    kind: Any = type(function)
    return str(kind.__name__ if kind.__repr__ is object.__repr__ else repr(function))
