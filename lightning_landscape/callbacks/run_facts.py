"""What a card says of a run besides its verdict: what was checked, what that cost, and how the run goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_landscape._text import listed, percent
from lightning_landscape.evidence import Trend
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.stopwatch import Stopwatch

CHECKED = {
    "Wiring": "how model, loss and optimizer are connected",
    "BatchContents": "the contents of the batches",
    "Outputs": "the outputs of the model",
    "Activity": "dead and saturated units",
    "InputUse": "whether the model uses its inputs",
    "LinearFit": "whether a linear regression predicts the targets",
    "LossFloor": "the lowest possible loss",
    "BestConstant": "the loss of a constant prediction",
    "Line": "the loss on lines to earlier weights",
    "Plane": "the loss around the weights",
    "GradientNoise": "the noise of the gradient",
    "Curvature": "the curvature",
    "Trials": "other learning rates and Adam on a copy",
    "Restart": "runs from new weights on a copy",
}
"""what the readings of these classes checked, in words"""


def facts_of(state: RunState, stopwatch: Stopwatch | None, noise_scale: float | None) -> dict[str, Any]:
    """Return the facts as pairs of a name and a text, and the seconds of a step as far as they are known.

    Args:
        state: the state of the run.
        stopwatch: of the present fit; None where it is not known any more.
        noise_scale: the batch size in samples at which the noise of the gradient equals its signal; None if unknown.
    """
    facts: Mapping[str, str] = {
        "Checked": _checked(state),
        "Trend": "" if state.progress.trend is None else _trend(state.progress.trend),
        "Step size": _step_size(state.progress.update_ratio),
        "Gradient noise": _noise(noise_scale),
        "Price": "" if stopwatch is None else "; ".join(stopwatch.notes()),
    }
    seconds = None if stopwatch is None else stopwatch.seconds_per_step
    known = {} if seconds is None else {"seconds_per_step": seconds}
    return {"facts": [[name, text] for name, text in facts.items() if text], **known}


def _checked(state: RunState) -> str:
    if not state.steps:
        return ""
    measured = [words for kind, words in CHECKED.items() if kind in state.readings.kinds]
    groups = len(state.gradients.groups) if state.gradients.history else 0
    gradients = [f"the gradients of {groups:,} part{'s' * (groups != 1)}"] if groups else []
    steps = f"the loss of {state.steps:,} step{'s' * (state.steps != 1)}"
    found = "; no mistake was found" if "Wiring" in state.readings.kinds and not state.findings.latest else ""
    return listed([steps, *gradients, *measured], most=len(CHECKED) + 2) + found


def _trend(trend: Trend) -> str:
    """Return by how much the loss fell or rose in the latest steps, if that is clearly more than the noise."""
    window = f"in the last {trend.window:,} steps"
    if not trend.level > 0:
        return ""
    if abs(trend.progress) <= trend.margin:
        return f"any change of the loss {window} is hidden by its noise"
    return (
        f"the loss {'fell' if trend.progress > 0 else 'rose'} by {percent(abs(trend.progress) / trend.level)} {window}"
    )


def _step_size(update_ratio: float | None) -> str:
    known = update_ratio is not None and update_ratio > 0
    return f"one step moves the weights by {percent(update_ratio)} of their norm" if known and update_ratio else ""


def _noise(scale: float | None) -> str:
    if scale is None:
        return ""
    return f"as large as the signal in a batch of {max(1, round(scale)):,} sample{'s' * (round(scale) > 1)}"
