"""Findings on the learning-rate schedule: it ended too early, it is stepped at the wrong times, or it was impatient."""

from __future__ import annotations

import math

from lightning_landscape.diagnosis.learning import going_on, has_fallen, share_of_start, way_to_go
from lightning_landscape.diagnosis.proof import schedule_ended_early
from lightning_landscape.diagnosis.thresholds import ELAPSED_LATE, GAIN_CLEAR, GAIN_SMALL, SHARE_OF_START_LOW
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    Finding,
    Plateau,
    Restart,
    Schedule,
    Scheduler,
    Schedulers,
    Trials,
    UpdateStatistics,
)
from lightning_landscape.evidence.findings import Weight

SHARE_BEFORE_A_PLATEAU_SHOWS = 0.1
"""The stall test compares windows of 5% of the run or more, so a loss that stood still before this share of the run
cannot be told from one that had just begun to fall"""
SHARE_OF_TARGET_LOW = 0.5
"""A warm-up that has brought the rate to this share of its target has done its work"""
WAY_TO_GO_NONE = 0.05
"""If a short run at the usual rate gains a smaller part of the way than this, hardly anything is left to gain"""
SHARE_OF_PEAK_NONE = 0.01
"""Below this share of its peak, a rate at which the weights stand still has come to its end"""
EXCESS = 10.0
"""A schedule that is this many times shorter than the run's number of optimizer steps does not count these"""
CUTS = ("step_size", "milestones")
"""Settings that say when the rate is cut, and not how long the schedule is"""
LONGEST_WARMUP = 10.0
"""Warm-ups that count epochs have up to about this many, so a longer one counts optimizer steps"""


def schedule_ended(evidence: Evidence) -> Finding | None:
    """Return a finding if the learning rate came to its end although much of the run was left.

    Where the rates before are not known, as at a checkpoint, it has come to its end if it is next to nothing and no
    step changes the weights. A scheduler that watches a metric is left to `impatient_plateau_scheduler`.
    """
    schedule, schedulers = evidence.get(Schedule), schedulers_in(evidence)
    watches_metric = any(scheduler.watches_metric for scheduler in schedulers)
    if schedule is None or watches_metric:
        return None
    early, at_rest = schedule_ended_early(evidence), _is_at_rest(evidence, schedule)
    if not early and not at_rest:
        return None
    planned = schedule.planned_steps
    of_run = f" of {planned}" if planned is not None else ""
    if early:
        sentence = (
            f"The learning-rate schedule ended after {schedule.ended_after} steps{of_run}: the learning rate was "
            f"{schedule.usual:.3g} before, has been below 1% of that since then, and is {schedule.learning_rate:.3g} "
            "now."
        )
    else:
        sentence = (
            f"The learning-rate schedule has ended: the learning rate was {schedule.peak:.3g}, and is "
            f"{schedule.learning_rate:.3g} after {schedule.steps} steps{of_run}, so that no step changes the weights."
        )
    in_epochs = next((scheduler for scheduler in schedulers if counts_epochs(scheduler, schedule)), None)
    if in_epochs is not None:
        what = with_length(in_epochs)
        sentence += f" {what} is stepped after every optimizer step (`interval`: 'step')"
        sentence += ", so it may have been meant to count epochs." if in_epochs.length is None else "."
    weight = _weight(evidence, schedule) if early else "evidence"
    return Finding("schedule-ended", Cause.LEARNING_RATE_TOO_SMALL, sentence, slower(in_epochs), weight)


def slower(in_epochs: Scheduler | None) -> str:
    """Return how a schedule is made to last for the whole run.

    Args:
        in_epochs: a scheduler that is made to count epochs, and counts optimizer steps; None if none is.
    """
    if in_epochs is None:
        return (
            "a learning-rate schedule as long as the run, such as `CosineAnnealingLR(optimizer, "
            "T_max=self.trainer.estimated_stepping_batches)` with `'interval': 'step'` in `configure_optimizers`."
        )
    advice = (
        "let the scheduler count epochs, in `configure_optimizers`: `return {'optimizer': optimizer, "
        "'lr_scheduler': {'scheduler': scheduler, 'interval': 'epoch'}}`"
    )
    return advice + ("." if in_epochs.length is None else f"; or {in_steps(in_epochs)}.")


def impatient_plateau_scheduler(evidence: Evidence) -> Finding | None:
    """Return a finding if a scheduler that watches a metric has cut the rate to nothing although much was left."""
    schedule = evidence.get(Schedule)
    scheduler = next((scheduler for scheduler in schedulers_in(evidence) if scheduler.watches_metric), None)
    if schedule is None or scheduler is None or schedule.usual is None or not schedule_ended_early(evidence):
        return None
    cuts = "several times"
    if scheduler.factor and 0 < scheduler.factor < 1 and schedule.learning_rate > 0:
        cuts = f"{round(math.log(schedule.learning_rate / schedule.usual) / math.log(scheduler.factor))} times"
    every = interval(scheduler)
    metric = f" of {scheduler.monitor}" if scheduler.monitor else ""
    return Finding(
        "impatient-plateau-scheduler",
        Cause.LEARNING_RATE_TOO_SMALL,
        f"{scheduler.kind} has cut the learning rate {cuts} in the first {schedule.ended_after} steps, from "
        f"{schedule.usual:.3g} to {schedule.learning_rate:.3g}: with patience={scheduler.patience}, it cuts the rate "
        f"once more than {scheduler.patience} values{metric} in a row, one per {every}, are no new best. Noise alone "
        "can do that.",
        "more patience, and a limit: `ReduceLROnPlateau(optimizer, patience=10, min_lr=1e-2 * lr)` with `'interval': "
        "'epoch'` and a monitored validation loss, in `configure_optimizers`; or a schedule that watches nothing.",
        _weight(evidence, schedule),
    )


def wrong_interval(evidence: Evidence) -> Finding | None:
    """Return a finding if a warm-up that counts optimizer steps is stepped once per epoch, so that it never ends."""
    schedule, schedulers = evidence.get(Schedule), evidence.get(Schedulers)
    if schedule is None or schedulers is None or not schedulers.steps_per_epoch or schedulers.steps_per_epoch < 2:
        return None
    planned = schedule.planned_steps
    epochs = None if planned is None else planned / schedulers.steps_per_epoch
    for scheduler in schedulers.schedulers:
        if scheduler.interval != "epoch" or scheduler.watches_metric or not scheduler.target_rate:
            continue
        if schedule.peak >= SHARE_OF_TARGET_LOW * scheduler.target_rate:
            continue
        needed = _epochs_of_warmup(scheduler, schedule, schedulers)
        if needed is None or epochs is None or needed <= max(epochs, LONGEST_WARMUP):
            continue
        return Finding(
            "wrong-interval",
            Cause.LEARNING_RATE_TOO_SMALL,
            f"The learning rate is {schedule.learning_rate:.3g} and was never above {schedule.peak:.3g}, although it "
            f"is to rise to {scheduler.target_rate:.3g}: {with_length(scheduler)} is stepped once per "
            f"{interval(scheduler)}, so it needs {needed:.0f} epochs for that, and the run has {epochs:.0f}.",
            "step the schedule after every optimizer step, in `configure_optimizers`: `return {'optimizer': optimizer, "
            "'lr_scheduler': {'scheduler': scheduler, 'interval': 'step'}}`. Lightning's default is 'epoch'.",
            "evidence" if evidence.get(Plateau) is not None else "note",
        )
    return None


def rate_of_zero(evidence: Evidence) -> Finding:
    """Return `zero-learning-rate` for a run whose learning rate has been 0 from the start, with its scheduler."""
    why = ""
    advice = "set the learning rate in `configure_optimizers`: `torch.optim.Adam(self.parameters(), lr=1e-3)`."
    by_epoch = [scheduler.kind for scheduler in schedulers_in(evidence) if scheduler.interval == "epoch"]
    if by_epoch:
        why = f" `{by_epoch[0]}` begins at 0 and is stepped once per epoch, so nothing is trained until the next epoch."
        advice = "step the schedule after every optimizer step, `{'scheduler': scheduler, 'interval': 'step'}`, in "
        advice += "`configure_optimizers`; or let it begin above 0."
    sentence = f"The learning rate has been 0 from the start, so the weights have not moved.{why}"
    return Finding("zero-learning-rate", Cause.NOT_UPDATING, sentence, advice)


def schedulers_in(evidence: Evidence) -> tuple[Scheduler, ...]:
    """Return the learning-rate schedulers of the run; nothing where they are not known."""
    schedulers = evidence.get(Schedulers)
    return () if schedulers is None else schedulers.schedulers


def _is_at_rest(evidence: Evidence, schedule: Schedule) -> bool:
    """Return whether the rate has come to nothing at a time that is unknown, and the weights no longer move at all."""
    updates = evidence.get(UpdateStatistics)
    late = schedule.elapsed is not None and schedule.elapsed > ELAPSED_LATE
    if evidence.get(Plateau) is None or updates is None or updates.travelled != 0 or late:
        return False
    return schedule.share_of_peak < SHARE_OF_PEAK_NONE


def _weight(evidence: Evidence, schedule: Schedule) -> Weight:
    """Return "evidence" if the end of the rate explains the plateau, else "note".

    It explains nothing if the loss had stopped falling before the rate declined. Nor does it if the loss has come down
    and neither a trial on a copy nor going on at the usual rate lowers it further: such a run may have converged.
    """
    plateau, trials = evidence.get(Plateau), evidence.get(Trials)
    if plateau is None:
        return "note"
    at = schedule.ended_at_share
    at_once = at is not None and at < SHARE_BEFORE_A_PLATEAU_SHOWS
    declined_first = schedule.declining_since is not None and plateau.since >= schedule.declining_since
    if not at_once and not declined_first:
        return "note"
    if has_fallen(evidence):
        more_to_gain = trials is not None and trials.best - max(0.0, trials.own) > GAIN_CLEAR
        if more_to_gain and share_of_start(evidence) > SHARE_OF_START_LOW:
            return "evidence"
        restart = evidence.get(Restart)
        gain = 0.0 if restart is None else restart.usual_rate_gain or 0.0
        # A short run at the usual rate shows only a part of what the steps that are left would gain.
        at_usual_rate = gain - going_on(evidence) > GAIN_SMALL and way_to_go(evidence, gain) > WAY_TO_GO_NONE
        return "evidence" if at_usual_rate else "note"
    nothing_helps = trials is not None and trials.best < GAIN_SMALL
    return "note" if nothing_helps and not at_once else "evidence"


def counts_epochs(scheduler: Scheduler, schedule: Schedule) -> bool:
    """Return whether a scheduler that is stepped after every optimizer step is far too short to count these."""
    if scheduler.interval != "step":
        return False
    if scheduler.length is None or schedule.planned_steps is None:
        return True
    return EXCESS * scheduler.length * scheduler.frequency <= schedule.planned_steps


def in_steps(scheduler: Scheduler) -> str:
    """Return how a scheduler is told to count the optimizer steps of the run."""
    if scheduler.length_name in CUTS:
        return f"give `{scheduler.length_name}` in optimizer steps: epochs times `len(dataloader)`"
    steps = "self.trainer.estimated_stepping_batches"
    steps = f"`{scheduler.length_name}={steps}`" if scheduler.length_name else f"it is `{steps}`"
    return f"give it the number of optimizer steps of the run: {steps}"


def _epochs_of_warmup(scheduler: Scheduler, schedule: Schedule, schedulers: Schedulers) -> float | None:
    """Return the epochs in which a scheduler that is stepped per epoch reaches its target; None if that is unknown.

    Where the length of its warm-up is not known, the rate is taken to rise on as it has.
    """
    if scheduler.warmup is not None:
        return float(scheduler.warmup * scheduler.frequency)
    if schedule.first is None or not schedulers.steps_per_epoch or scheduler.target_rate is None:
        return None
    epochs = schedule.steps / schedulers.steps_per_epoch
    rise = schedule.learning_rate - schedule.first
    return epochs * (scheduler.target_rate - schedule.first) / rise if epochs >= 2 and rise > 0 else None


def interval(scheduler: Scheduler) -> str:
    """Return the time between two steps of a scheduler in words."""
    unit = {"step": "optimizer step", "epoch": "epoch"}.get(scheduler.interval, "call of your code")
    return unit if scheduler.frequency == 1 else f"{scheduler.frequency} {unit}s"


def with_length(scheduler: Scheduler) -> str:
    """Return the scheduler with the setting that says how long it is, as in "StepLR with step_size=30"."""
    if scheduler.length_name == "milestones":
        return f"{scheduler.kind}, whose last milestone is {scheduler.length},"
    if scheduler.length is not None:
        return f"{scheduler.kind} with {scheduler.length_name}={scheduler.length}"
    return f"{scheduler.kind} with {scheduler.warmup_name}={scheduler.warmup}" if scheduler.warmup else scheduler.kind
