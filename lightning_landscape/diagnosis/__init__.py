"""From evidence to one verdict: an ordered list of small detectors, the first that speaks stands.

A detector is a function from `Evidence` to a `Verdict`, or None where it has nothing to say. Every threshold is a named
constant, free of the loss's unit. What breaks the machinery comes first, then what the schedule explains, then
geometry; trials decide, curvature explains. A detector is silent where a reading that it needs was not taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lightning_landscape.diagnosis import geometry, machinery
from lightning_landscape.diagnosis.judging import verdict_of as verdict_of
from lightning_landscape.evidence import Cause, Evidence, Trials, Verdict

Detector: TypeAlias = Callable[[Evidence], Verdict | None]

DETECTORS: tuple[Detector, ...] = (
    machinery.diverged,
    machinery.uphill,
    machinery.dead,
    machinery.not_updating,
    machinery.too_large,
    machinery.scheduled_end,
    machinery.motionless,
    machinery.balanced,
    machinery.unpaired_minimum,
    machinery.constant_inputs,
    machinery.barely_trained,
    geometry.too_small,
    geometry.duplicate_units,
    geometry.saturated,
    geometry.without_slope,
    geometry.saddle,
    geometry.vanishing,
    geometry.elsewhere_better,
    geometry.nothing_to_learn,
    geometry.slow,
    geometry.settled,
    geometry.undecided,
)
"""tried in this order"""


def diagnose(evidence: Evidence, detectors: Sequence[Detector] = DETECTORS) -> Verdict | None:
    """The first verdict that a detector reaches, or None where none of them has anything to say."""
    return next((verdict for detector in detectors if (verdict := detector(evidence)) is not None), None)


def needs_more_evidence(evidence: Evidence, detectors: Sequence[Detector] = DETECTORS) -> bool:
    """Whether a dearer probe could still change the verdict that these detectors reach."""
    verdict = diagnose(evidence, detectors)
    if verdict is None or geometry.asks_for_restart(evidence):
        return True
    if verdict.cause is Cause.NOT_UPDATING:
        return machinery.asks_for_trials(evidence)
    if evidence.get(Trials) is None:
        return verdict.cause in (Cause.UNDECIDED, Cause.SETTLED, Cause.FLAT_REGION)
    return verdict.cause in (Cause.UNDECIDED, Cause.NOTHING_TO_LEARN)
