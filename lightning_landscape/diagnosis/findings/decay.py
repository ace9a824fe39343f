"""Schedulers that have brought the learning rate far down, or will do so within the first epoch."""

from __future__ import annotations

from dataclasses import replace

from lightning_landscape.diagnosis.findings.schedule import (
    counts_epochs,
    interval,
    schedulers_in,
    slower,
    with_length,
)
from lightning_landscape.evidence import Cause, Evidence, Finding, Parts, Schedule, Schedulers, Verdict

GONE_AFTER_AN_EPOCH = 1e-8
"""Below this share of the first rate after one epoch, a rate that decays by one factor is below a ten-thousandth of it
from the middle of that epoch on: however many epochs are planned, the schedule was meant to count them"""
FAR_BELOW_PEAK = 0.1
"""Below this share of its peak, a rate that is too small is not the rate that was chosen, but what is left of it"""


def gone_after_an_epoch(evidence: Evidence) -> Finding | None:
    """Return `wrong-interval` if a scheduler that multiplies the rate after every optimizer step ends it in one epoch.

    That is certain after the first step, since the factor and the number of steps are known.
    """
    schedulers = evidence.get(Schedulers)
    if schedulers is None or not schedulers.steps_per_epoch or len(schedulers.schedulers) != 1:
        return None
    (only,) = schedulers.schedulers
    if only.decay is None or only.interval != "step":
        return None
    steps = schedulers.steps_per_epoch / only.frequency
    left = only.decay**steps
    if left >= GONE_AFTER_AN_EPOCH:
        return None
    factor = f"{only.kind} multiplies the learning rate by {only.decay:.3g} on average"
    if only.length is None:
        factor = f"{only.kind} multiplies the learning rate by {only.decay:.3g}"
    return Finding(
        "wrong-interval",
        Cause.LEARNING_RATE_TOO_SMALL,
        f"{factor} after every {interval(only)}, and an epoch has {schedulers.steps_per_epoch:.0f} optimizer steps: at "
        f"the end of the first epoch, only {left:.1g} times the first learning rate is left.",
        slower(only),
        "certain",
    )


def naming_the_scheduler(evidence: Evidence, verdict: Verdict) -> Verdict:
    """Return the verdict that the rate is too small, with the rate, and what a scheduler has to do with it, first."""
    schedule, schedulers, parts = evidence.get(Schedule), schedulers_in(evidence), evidence.get(Parts)
    if schedule is None:
        return verdict
    given = max((group.base_rate or 0.0 for group in parts.groups), default=0.0) if parts is not None else 0.0
    if schedulers and 0 < schedule.peak < FAR_BELOW_PEAK * given:
        factor = f"{schedule.learning_rate / given:.3g}"
        sentence = (
            f"The learning rate is {schedule.learning_rate:.3g} and was never above {schedule.peak:.3g}. The optimizer "
            f"was given {given:.3g}, which `{schedulers[0].kind}` multiplies by {factor} now."
        )
        advice = f"let the schedule return a factor, 1 for the whole rate, not the rate itself: it returns {factor}."
        return replace(verdict, reason=f"{sentence}\n{verdict.reason}", advice=f"{advice}\n{verdict.advice}".strip())
    if not schedulers or schedule.share_of_peak >= FAR_BELOW_PEAK:
        return replace(verdict, reason=f"The learning rate is {schedule.learning_rate:.3g}.\n{verdict.reason}")
    in_epochs = next((scheduler for scheduler in schedulers if counts_epochs(scheduler, schedule)), None)
    which = in_epochs or schedulers[0]
    sentence = (
        f"The learning rate is {schedule.learning_rate:.3g}, and its peak was {schedule.peak:.3g}: "
        f"{with_length(which).rstrip(',')}, which is stepped once per {interval(which)}, has brought it down."
    )
    advice = slower(in_epochs)
    if which.watches_metric:
        advice = f"more patience, and a limit: `{which.kind}(optimizer, patience=10, min_lr=1e-2 * lr)`."
    return replace(verdict, reason=f"{sentence}\n{verdict.reason}", advice=f"{advice}\n{verdict.advice}".strip())
