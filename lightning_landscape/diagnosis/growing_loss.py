"""Detectors for a loss that grows or falls without bound, or otherwise than the same batches show."""

from __future__ import annotations

from lightning_landscape._text import percent
from lightning_landscape.diagnosis.findings import of_divergence
from lightning_landscape.diagnosis.findings.loss_sign import CHECK_THE_SIGN, no_lowest_loss
from lightning_landscape.diagnosis.learning import share_of_start
from lightning_landscape.diagnosis.thresholds import FALL_IN_STANDARD_DEVIATIONS, GAIN_WAY_DOWN
from lightning_landscape.diagnosis.verdicts import verdict_of
from lightning_landscape.evidence import (
    BeforeAndAfter,
    Cause,
    Divergence,
    Evidence,
    LossLevel,
    StartingPoint,
    Trend,
    Trials,
    Verdict,
)

WATCH_WHAT_COUNTS = (
    "where the targets come from the network itself, as in Q-learning, or actions are drawn from it, this loss says "
    "little: watch what counts, as in "
    '`LandscapeMonitor(monitor="reward", mode="max")`.'
)


def diverged(evidence: Evidence) -> Verdict | None:
    """Return `diverged` if the loss is not finite, or grows or falls without bound.

    Where the loss grows, but earlier weights do no better on the present batches, only the data or the targets have
    changed, as they do where a network learns from its own predictions. The cause is then `undecided`, without alarm.
    """
    divergence, before = evidence.get(Divergence), evidence.get(BeforeAndAfter)
    if divergence is None:
        return None
    finding = of_divergence(evidence)
    if divergence.downwards:
        return verdict_of(evidence, Cause.DIVERGED, divergence.sentence, finding=finding, particular=CHECK_THE_SIGN)
    if divergence.finite and finding is None and before is not None and before.changed_around:
        reason = (
            f"{divergence.sentence} On the latest batches the best weights so far do no better "
            f"({before.best_beside_frozen:.4g}) than the present ones ({before.now:.4g}), so the data or the targets "
            "have changed, and not the weights alone."
        )
        return verdict_of(evidence, Cause.UNDECIDED, reason, stuck=False, particular=WATCH_WHAT_COUNTS)
    return verdict_of(evidence, Cause.DIVERGED, divergence.sentence, finding=finding)


def falls_without_end(evidence: Evidence) -> Verdict | None:
    """Return `undecided` if the loss has no known lowest value and falls by far more than one that can be learned.

    Nothing can be said of such a loss, since all shares of a loss are shares of its height above the lowest one.
    """
    finding = no_lowest_loss(evidence)
    return None if finding is None else verdict_of(evidence, Cause.UNDECIDED, "", stuck=False, finding=finding)


def falls_otherwise(evidence: Evidence) -> Verdict | None:
    """Return `undecided` without alarm if the loss has fallen in training, but the initial weights do better now.

    They are compared with the present ones on the same batches. Such a loss depends on more than the weights and the
    batch: on actions that a policy draws, on a baseline, or on targets that the network makes itself.
    """
    level, start = evidence.get(LossLevel), evidence.get(StartingPoint)
    if level is None or start is None or level.spread is None:
        return None
    clear = FALL_IN_STANDARD_DEVIATIONS * level.spread
    if level.start - level.now <= clear or start.now - start.loss <= clear:
        return None
    reason = (
        f"In training the loss fell from {level.start:.4g} to {level.now:.4g}. But on the latest batches the initial "
        f"weights have a loss of {start.loss:.4g}, and the present ones one of {start.now:.4g}. So it depends on more "
        "than the weights and the batch."
    )
    return verdict_of(evidence, Cause.UNDECIDED, reason, stuck=False, particular=WATCH_WHAT_COUNTS)


def uphill(evidence: Evidence) -> Verdict | None:
    """Return `diverged` if the optimizer's steps raise the loss while a step against the gradient lowers it.

    A sign is then wrong in the loss, in the gradient or in the optimizer. At a tenth of the learning rate the steps
    must raise the loss less, but still raise it.
    """
    trend, trials = evidence.get(Trend), evidence.get(Trials)
    if trend is None or trials is None or not 0 < trend.margin < -trend.progress:
        return None
    downhill, tenth = trials.gain("line search"), trials.gain("learning rate x0.1")
    if share_of_start(evidence) <= 1.0 or downhill < GAIN_WAY_DOWN:
        return None
    if trials.own > -GAIN_WAY_DOWN or not trials.own < tenth < 0:
        return None
    return verdict_of(
        evidence,
        Cause.DIVERGED,
        f"The optimizer's steps raise the loss by {percent(-trials.own)}, and by {percent(-tenth)} at a tenth of the "
        f"learning rate, but a step against the gradient lowers it by {percent(downhill)} (threshold "
        f"{GAIN_WAY_DOWN:.0%}).",
        particular="check the signs of the loss, of the gradient and of the optimizer's step: one of them is wrong, as "
        "with a score that is to grow, `loss = -score`.",
    )
