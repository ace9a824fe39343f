"""How much is known of a loss that stands still: for how long it does, and what was not tested yet."""

from __future__ import annotations

from lightning_landscape.diagnosis.learning import is_far_above_zero, on_plateau
from lightning_landscape.diagnosis.thresholds import (
    ELAPSED_LATE,
    GAIN_CLEAR,
    LENGTH_UNDECIDED,
    PARAMETERS_UNREACHED,
    STEPS_EARLY,
    UNMOVED,
)
from lightning_landscape.evidence import Evidence, Parts, Plateau, Restart, Schedule, Schedulers, Trend, Trials

LEAST_STRETCH_OF_RUN, LEAST_STRETCH_OF_SCHEDULE = 0.05, 0.25
"""A rate that has been at its end for less than these shares, of the run and of the time before, may rise again: a
cosine cycle is there for 6% of its length"""


def schedule_ended_early(evidence: Evidence) -> bool:
    """Return whether the rate came to its end long before the run does, and has stayed there.

    In a run of unknown length, it must have stayed there for longer than it had lasted. A rate that is only multiplied
    by the same factor again and again, as by `StepLR` or `ExponentialLR`, does not rise again, so it need not have
    stayed there.
    """
    schedule = evidence.get(Schedule)
    if schedule is None or schedule.ended_after is None:
        return False
    since_then, share = schedule.steps - schedule.ended_after, schedule.ended_at_share
    if share is None or schedule.planned_steps is None:
        return since_then > schedule.ended_after
    schedulers = evidence.get(Schedulers)
    only = schedulers.schedulers if schedulers is not None else ()
    if len(only) == 1 and (only[0].length_name == "step_size" or only[0].decay is not None):
        return share < ELAPSED_LATE
    least = min(LEAST_STRETCH_OF_RUN * schedule.planned_steps, LEAST_STRETCH_OF_SCHEDULE * schedule.ended_after)
    return share < ELAPSED_LATE and since_then >= least


def too_early(evidence: Evidence) -> bool:
    """Return whether less than a tenth of the run has passed; of a run of unknown length, fewer than 200 steps.

    Many runs pause in their first steps, and a loss that has just come down from a bad start looks flat beside it.
    """
    schedule = evidence.get(Schedule)
    if schedule is not None and schedule.elapsed is not None:
        return schedule.elapsed < LENGTH_UNDECIDED
    plateau = evidence.get(Plateau)
    steps = schedule.steps if schedule is not None and schedule.steps else plateau.step if plateau is not None else 0
    return steps < STEPS_EARLY


def is_asked(evidence: Evidence) -> bool:
    """Return whether the user has asked for this diagnosis."""
    plateau = evidence.get(Plateau)
    return plateau is not None and plateau.asked


def has_trend(evidence: Evidence) -> bool:
    """Return whether the trend of the loss is known, or the user has asked for the diagnosis of a run without one."""
    return evidence.get(Trend) is not None or is_asked(evidence)


def lasts(evidence: Evidence) -> bool:
    """Return whether the loss has stood still for a tenth of the run, and a test with enough power has shown it.

    Of a run of unknown length, for a tenth of the steps so far, and at least 200.
    """
    plateau, schedule = evidence.get(Plateau), evidence.get(Schedule)
    if plateau is None or not proven(evidence):
        return False
    planned = None if schedule is None else schedule.planned_steps
    least = LENGTH_UNDECIDED * planned if planned else max(STEPS_EARLY, LENGTH_UNDECIDED * plateau.step)
    return plateau.step - plateau.since >= least


def proven(evidence: Evidence) -> bool:
    """Return whether noise cannot be what hides a fall of the loss; a single test on the same batches is not enough.

    Where the loss was not watched and the user asks for a diagnosis, it is assumed that the loss stands still.
    """
    plateau, trend = evidence.get(Plateau), evidence.get(Trend)
    if trend is None and is_asked(evidence):
        return True
    return (plateau is not None and plateau.proven) or (trend is not None and trend.proven and trend.batches is None)


def stands_still(evidence: Evidence) -> float:
    """Return the share of the model that an optimizer trains and that still has its initial values, in [0, 1]."""
    parts = evidence.get(Parts)
    return 0.0 if parts is None else parts.share(lambda part: part.trainable and part.held and part.unmoved)


def stopped_without(evidence: Evidence) -> bool:
    """Return whether the loss has stopped far above zero, and a large part of the model gets a gradient of zeros only.

    That part has its initial values, and no trial with the rest of the model lowers the loss any further.
    """
    parts, trials = evidence.get(Parts), evidence.get(Trials)
    if parts is None or trials is None or trials.best > GAIN_CLEAR:
        return False
    share = parts.share(lambda p: p.trainable and p.held and p.unmoved and p.reached is not False)
    return share > PARAMETERS_UNREACHED and on_plateau(evidence, parts) and is_far_above_zero(evidence)


def untested(evidence: Evidence) -> list[str]:
    """Return what has to be tested before a loss that stands still may be called settled, and was not."""
    restart = evidence.get(Restart) or Restart(gain=0.0, seeds=0, steps=0)
    redrawn = restart.own_gain is not None or restart.adam_gain is not None
    # At a smaller rate, a run that does not come down at its own rate in as many steps moves even less.
    unmoved = restart.own is not None and restart.own.fallen is not None and abs(restart.own.fallen) < UNMOVED
    tests = {
        "whether every part of the model moves": evidence.get(Parts) is not None,
        "smaller and larger learning rates": evidence.get(Trials) is not None,
        "new initial weights": redrawn,
        "the initial weights at a smaller learning rate": unmoved or restart.smaller_rate_gain is not None,
    }
    if schedule_ended_early(evidence):
        tests["the learning rate from before the schedule ended"] = restart.usual_rate is not None
    return [name for name, tested in tests.items() if not tested]
