"""From evidence to a verdict: an ordered list of detectors, of which the first that returns a verdict decides.

A detector is a function that takes `Evidence` and returns a `Verdict`, or None if it finds nothing or lacks a reading.
Detectors compare readings with the thresholds of `diagnosis.thresholds`. What was found in the code, the data or the
settings comes first (`diagnosis.findings`), then faults of the training setup, the end of the schedule, causes in the
data and the loss surface, and last runs without a cause. Trials decide between the causes; curvature alone is never an
alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from lightning_landscape.diagnosis import (
    data_causes,
    growing_loss,
    restarts,
    setup_causes,
    surface_causes,
    without_cause,
)
from lightning_landscape.diagnosis.findings import FINDERS as FINDERS
from lightning_landscape.diagnosis.findings import Finder as Finder
from lightning_landscape.diagnosis.findings import by_finding as by_finding
from lightning_landscape.diagnosis.findings import found as found
from lightning_landscape.diagnosis.restarts import restart_order as restart_order
from lightning_landscape.diagnosis.surface_causes import needs_curvature as needs_curvature
from lightning_landscape.diagnosis.verdicts import verdict_of as verdict_of
from lightning_landscape.evidence import BatchContents, Cause, Evidence, Trials, Verdict

Detector: TypeAlias = Callable[[Evidence], Verdict | None]
"""A function that takes the evidence and returns a verdict, or None if it finds nothing or lacks a measurement."""

DETECTORS: tuple[Detector, ...] = (
    growing_loss.diverged,
    by_finding,
    growing_loss.uphill,
    growing_loss.falls_without_end,
    growing_loss.falls_otherwise,
    restarts.smaller_rate_better,
    setup_causes.dead,
    setup_causes.not_updating,
    setup_causes.too_large,
    setup_causes.scheduled_end,
    setup_causes.motionless,
    setup_causes.gradient_lost,
    setup_causes.balanced,
    data_causes.constant_inputs,
    setup_causes.barely_trained,
    surface_causes.too_small,
    surface_causes.duplicate_units,
    surface_causes.saturated,
    surface_causes.without_slope,
    surface_causes.saddle,
    surface_causes.vanishing,
    restarts.elsewhere_better,
    restarts.larger_rate_better,
    data_causes.nothing_to_learn,
    surface_causes.hardly_moves,
    without_cause.slow,
    without_cause.settled,
    without_cause.undecided,
)
"""the detectors in the order in which they are called"""


def diagnose(evidence: Evidence, detectors: Sequence[Detector] = DETECTORS) -> Verdict | None:
    """Return the first verdict that a detector reaches, or None if no detector reaches one."""
    return next((verdict for detector in detectors if (verdict := detector(evidence)) is not None), None)


def needs_more_evidence(evidence: Evidence, detectors: Sequence[Detector] = DETECTORS) -> bool:
    """Return whether a more expensive probe could still change the verdict that these detectors reach."""
    verdict = diagnose(evidence, detectors)
    if verdict is not None and verdict.finding is not None:
        return False
    if verdict is None or restarts.needs_restart(evidence, verdict):
        return True
    if verdict.cause is Cause.NOT_UPDATING:
        return setup_causes.needs_trials(evidence)
    if verdict.cause is Cause.LEARNING_RATE_TOO_LARGE and evidence.get(BatchContents) is None:
        return True  # the size of the inputs may be why every rate is too large
    if evidence.get(Trials) is None:
        return verdict.cause in (Cause.UNDECIDED, Cause.FLAT_REGION, Cause.LEARNING_RATE_TOO_SMALL)
    return verdict.cause in (Cause.UNDECIDED, Cause.NOTHING_TO_LEARN)
