"""Whether an alarm is to be corrected: a mistake that shows only later, while the same plateau goes on, explains it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lightning_landscape.diagnosis.findings import Finder, found, midway, parts, schedule, step_sizes
from lightning_landscape.diagnosis.verdicts import verdict_of
from lightning_landscape.evidence import Cause, Evidence, Verdict

LATER: tuple[Finder, ...] = (
    schedule.schedule_ended,
    schedule.impatient_plateau_scheduler,
    midway.frozen_midway,
    midway.detached_midway,
    parts.zero_learning_rate,
    step_sizes.weights_shrunk,
)
"""finders of what may show only some time after a loss has stopped falling, and costs no gradient to see"""
SYMPTOMS = ("collapsed", "saturated-softmax")
"""findings on the outputs of a network, which say what has become of it and leave open why"""


def may_be_corrected(verdict: Verdict) -> bool:
    """Return whether a later finding may replace this alarm: it names no mistake, and corrects no verdict itself."""
    named = verdict.finding is not None and verdict.finding.name not in SYMPTOMS
    return verdict.stuck and verdict.cause is not Cause.DIVERGED and not named and verdict.replaces is None


def correction(told: Verdict, evidence: Evidence, finders: Sequence[Finder] = LATER) -> Verdict | None:
    """Return the verdict that replaces an alarm; None where nothing more is known than before.

    Args:
        told: the alarm.
        evidence: what is known now without a gradient; the rest is taken from the evidence of the alarm.
        finders: those in use, of which only `LATER` are called.
    """
    known = told.evidence.including(*evidence)
    later = [finder for finder in finders if finder in LATER]
    finding = next((finding for finding in found(known, later) if finding.weight != "note"), None)
    if finding is None or not may_be_corrected(told):
        return None
    before = f"At step {told.step} the run was said to be {told.title}. This shows only now, and replaces that."
    if told.cause is Cause.NOTHING_TO_LEARN:
        before += " Whether the inputs help will show once this is mended."
    verdict = verdict_of(known, finding.cause, before, stuck=True, finding=finding)
    return replace(verdict, since=told.since, replaces=told.step)
