"""Whether the loss is flat for the first layers: the gradient vanishes on its way, or an activation is saturated."""

from __future__ import annotations

from lightning_landscape.diagnosis.thresholds import ACTIVATIONS_SATURATED, FIRST_TO_LAST_VANISHED
from lightning_landscape.evidence import Activity, Evidence, GradientScale


def gradient_vanishes(evidence: Evidence) -> bool:
    """Return whether there is a gradient, but next to none of it comes back to the first layers that it reaches.

    A gradient that is exactly 0 has not become small on its way: it does not reach those parameters.
    """
    gradient = evidence.get(GradientScale)
    return gradient is not None and gradient.reached.first_to_last < FIRST_TO_LAST_VANISHED


def is_saturated(evidence: Evidence) -> bool:
    """Return whether nearly all outputs of a layer lie at the bounds of its activation."""
    activity = evidence.get(Activity)
    return activity is not None and activity.saturated >= ACTIVATIONS_SATURATED
