"""How detectors make a verdict of a cause: whether it is an alarm, and its sentences."""

from __future__ import annotations

from lightning_landscape.diagnosis.advice import advice, trials_sentence
from lightning_landscape.diagnosis.learning import has_learned, measured_on_fixed_batches
from lightning_landscape.diagnosis.proof import is_asked, proven
from lightning_landscape.diagnosis.thresholds import GAIN_SMALL
from lightning_landscape.evidence import CAUSES, Cause, Evidence, Finding, Plateau, Trend, Trials, Verdict

HELD_BACK = (Cause.SADDLE_POINT, Cause.FLAT_REGION, Cause.POOR_MINIMUM, Cause.NOTHING_TO_LEARN)
"""causes that cannot hold back a run whose loss goes down if it only goes on; a learning rate may be wrong even then"""

NOT_WATCHED = "How the loss moved before was not watched; that it stands still is taken from the question."
"""stands in the reason of a diagnosis that the user has asked for, where the trend of the loss is unknown"""


def verdict_of(
    evidence: Evidence,
    cause: Cause,
    reason: str,
    *,
    stuck: bool | None = None,
    finding: Finding | None = None,
    particular: str = "",
) -> Verdict:
    """Return the verdict of a detector.

    Its reason says what was found in the code, the data or the settings, then `reason`, then what the stall test found.
    The gains of all trials are what was tried.

    Args:
        evidence: the readings that the detector used.
        cause: the cause that the detector found.
        reason: the measured numbers with their thresholds, in sentences.
        stuck: whether the verdict is an alarm; None if the cause and the noise of the loss decide.
        finding: what in the code, the data or the settings leads to the cause; None if nothing was found.
        particular: what helps against what the detector has seen, one thing in each line; empty for the general advice.
    """
    plateau, trend = evidence.get(Plateau), evidence.get(Trend)
    step, since = (plateau.step, plateau.since) if plateau is not None else (0, 0)
    if stuck is None:
        contradicted = cause in HELD_BACK and goes_down(evidence)
        stuck = CAUSES[cause].alarms and not _may_be_noise(evidence, cause) and not contradicted
    lines = [finding.sentence] if finding is not None else []
    lines += [reason] if reason else []
    if cause is not Cause.DIVERGED:
        lines += [trend.sentence()] if trend is not None else [NOT_WATCHED] if is_asked(evidence) else []
    return Verdict(
        cause=cause,
        step=step,
        since=since,
        stuck=stuck,
        reason="\n".join(lines),
        advice=advice(cause, evidence, finding, particular),
        tried=trials_sentence(evidence),
        finding=finding,
        evidence=evidence,
    )


def _may_be_noise(evidence: Evidence, cause: Cause) -> bool:
    """Return whether noise alone may look like this plateau, so that the cause is no alarm.

    It may if the stall test lacks the power to see a fall, and if besides the run has learned, or its own optimizer
    still lowers the held-out loss, or only noisy training losses show that it has not learned.
    """
    trials = evidence.get(Trials)
    if cause is Cause.DIVERGED or evidence.get(Trend) is None or proven(evidence):
        return False
    still_gains = trials is not None and (trials.own > GAIN_SMALL or not measured_on_fixed_batches(evidence))
    return has_learned(evidence) or still_gains


def goes_down(evidence: Evidence) -> bool:
    """Return whether the run's own optimizer lowers the held-out loss if it only goes on."""
    trials = evidence.get(Trials)
    return trials is not None and trials.own > GAIN_SMALL
