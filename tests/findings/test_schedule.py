"""Findings on the learning-rate schedule: on evidence made by hand, and on the runs of the docs."""

from dataclasses import replace

import pytest

from lightning_landscape.diagnosis.findings.schedule import impatient_plateau_scheduler, schedule_ended, wrong_interval
from lightning_landscape.evidence import (
    Cause,
    Evidence,
    LossLevel,
    Plateau,
    Schedule,
    Scheduler,
    Schedulers,
    Trials,
    UpdateStatistics,
)
from tests.findings.examples import alarms, fit_example

PLATEAU = Plateau(step=120, since=50)
ENDED = Schedule(
    0.0, 0.1, elapsed=0.12, first=0.1, median=0.0, steps=120, ended_after=40, usual=0.1, declining_since=20
)
POLYNOMIAL = Scheduler("PolynomialLR", "step", length=40, length_name="total_iters", target_rate=0.1)
UNFALLEN, FALLEN = LossLevel(2.3, 2.25, 2.25), LossLevel(2.3, 1.2, 1.2)


def schedulers(*found, steps_per_epoch=20.0):
    return Schedulers(found, steps_per_epoch)


def trials(adam, own=0.0):
    return Trials({"adam": adam, "this optimizer": own}, 40, relative_gradient=0.5, decay_pull=0.0, samples=64)


def ended(*readings, schedule=ENDED, scheduler=POLYNOMIAL, plateau=PLATEAU):
    found = schedule_ended(Evidence(plateau, schedule, schedulers(scheduler), *readings))
    return found and found.weight


def test_a_schedule_that_counts_epochs_and_is_stepped_by_steps_is_named_with_the_line_to_change():
    found = schedule_ended(Evidence(PLATEAU, ENDED, schedulers(POLYNOMIAL), UNFALLEN))
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_SMALL, "evidence")
    assert "ended after 40 steps of 1000" in found.sentence
    assert "PolynomialLR with total_iters=40" in found.sentence
    assert "'interval': 'epoch'" in found.advice
    assert "total_iters=self.trainer.estimated_stepping_batches" in found.advice


@pytest.mark.parametrize(
    ("scheduler", "named"),
    [
        (Scheduler("StepLR", "step", length=10, length_name="step_size"), "StepLR with step_size=10 is stepped"),
        (Scheduler("MultiStepLR", "step", length=25, length_name="milestones"), "MultiStepLR, whose last milestone is"),
    ],
)
def test_a_scheduler_that_cuts_the_rate_is_not_told_to_do_so_at_the_end_of_the_run(scheduler, named):
    still_falling = replace(ENDED, learning_rate=1e-12)
    found = schedule_ended(Evidence(PLATEAU, still_falling, schedulers(scheduler), UNFALLEN))
    assert named in found.sentence
    assert "was 0.1 before, has been below 1% of that since then, and is 1e-12 now" in found.sentence
    assert f"give `{scheduler.length_name}` in optimizer steps: epochs times `len(dataloader)`" in found.advice


def test_a_schedule_that_is_stepped_by_epochs_is_told_to_last_longer():
    found = schedule_ended(Evidence(PLATEAU, ENDED, schedulers(replace(POLYNOMIAL, interval="epoch")), UNFALLEN))
    assert "'interval': 'epoch'" not in found.advice
    assert "as long as the run" in found.advice


@pytest.mark.parametrize(
    "schedule",
    [
        replace(ENDED, ended_after=None, usual=None, declining_since=None),
        replace(ENDED, steps=900, elapsed=0.9, ended_after=850),  # the usual end of a schedule
        replace(ENDED, steps=44, elapsed=0.044),  # a cosine cycle is near 0 for as long as this
        replace(ENDED, elapsed=None, steps=79),  # of a run of unknown length, that is not most
    ],
)
def test_a_rate_that_has_not_ended_early_is_no_finding(schedule):
    assert ended(UNFALLEN, schedule=schedule) is None


def test_a_rate_that_was_only_cut_does_not_rise_again_and_so_has_ended_at_once():
    just_ended, steps = replace(ENDED, steps=44, elapsed=0.044), Scheduler("StepLR", "step", 1, 10, "step_size")
    assert ended(UNFALLEN, schedule=just_ended, scheduler=steps) == "evidence"
    late = replace(ENDED, steps=860, elapsed=0.86, ended_after=855)
    assert ended(UNFALLEN, schedule=late, scheduler=steps) is None


def test_in_a_run_of_unknown_length_most_of_the_steps_must_have_come_after_the_end():
    assert ended(UNFALLEN, schedule=replace(ENDED, elapsed=None, steps=81)) == "evidence"


def test_a_rate_that_has_come_to_nothing_at_a_checkpoint_is_named_where_the_weights_rest():
    unknown = Schedule(6e-47, 0.05, None, steps=1425, ended_after=1424, usual=0.05, declining_since=1420)
    at_rest = UpdateStatistics(0.0, 0.0, 0.0, 0.0)
    found = schedule_ended(Evidence(PLATEAU, unknown, schedulers(POLYNOMIAL), UNFALLEN, at_rest))
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_SMALL, "evidence")
    assert "was 0.05, and is 6e-47 after 1425 steps, so that no step changes the weights" in found.sentence
    assert "'interval': 'epoch'" in found.advice
    for others in [
        (replace(unknown, elapsed=0.9), at_rest),  # the usual end of a schedule
        (replace(unknown, learning_rate=0.01), at_rest),
        (unknown, replace(at_rest, travelled=1e-6)),
    ]:
        assert schedule_ended(Evidence(PLATEAU, UNFALLEN, schedulers(POLYNOMIAL), *others)) is None
    assert schedule_ended(Evidence(unknown, UNFALLEN, schedulers(POLYNOMIAL), at_rest)) is None, "no plateau"


def test_a_schedule_that_ended_is_a_note_while_the_loss_still_falls():
    found = schedule_ended(Evidence(ENDED, schedulers(POLYNOMIAL), UNFALLEN))
    assert found.weight == "note"


@pytest.mark.parametrize(
    ("readings", "weight"),
    [
        ((FALLEN,), "note"),  # it may have converged
        ((FALLEN, trials(adam=0.1)), "note"),
        ((FALLEN, trials(adam=0.5)), "evidence"),
        ((FALLEN, trials(adam=0.5, own=0.45)), "note"),
        ((LossLevel(2.3, 0.5, 0.5), trials(adam=0.5)), "note"),  # far down, and the rest may be noise
    ],
)
def test_after_a_fall_only_trials_show_that_the_rate_ended_too_early(readings, weight):
    assert ended(*readings) == weight


def test_a_loss_that_had_stopped_falling_before_the_rate_declined_has_another_reason():
    late = replace(ENDED, steps=500, elapsed=0.5, ended_after=300, declining_since=200)
    assert ended(UNFALLEN, schedule=late, plateau=Plateau(400, since=100)) == "note"
    assert ended(UNFALLEN, schedule=late, plateau=Plateau(400, since=200)) == "evidence"
    assert ended(UNFALLEN, trials(adam=0.0), schedule=late, plateau=Plateau(400, since=200)) == "note"


def test_a_scheduler_that_watches_a_metric_is_called_impatient_with_its_patience_and_cuts():
    watching = Scheduler("ReduceLROnPlateau", "step", monitor="train_loss", patience=2, factor=0.1)
    evidence = Evidence(PLATEAU, replace(ENDED, learning_rate=1e-5), schedulers(watching), UNFALLEN)
    found = impatient_plateau_scheduler(evidence)
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_SMALL, "evidence")
    assert "4 times in the first 40 steps" in found.sentence
    assert "with patience=2, it cuts the rate once more than 2 values of train_loss in a row" in found.sentence
    assert schedule_ended(evidence) is None
    assert impatient_plateau_scheduler(evidence.including(schedulers(POLYNOMIAL))) is None


def test_cuts_that_follow_a_loss_that_stands_still_are_not_impatient():
    watching = Scheduler("ReduceLROnPlateau", "epoch", monitor="loss", patience=5, factor=0.1)
    late = replace(ENDED, steps=500, elapsed=0.5, ended_after=300, declining_since=200)
    evidence = Evidence(Plateau(400, since=100), late, schedulers(watching), UNFALLEN)
    assert impatient_plateau_scheduler(evidence).weight == "note"


WARMING_UP = Schedule(1e-5, 1e-5, elapsed=0.1, first=1e-5, median=1e-5, steps=100)
ONE_CYCLE = Scheduler("OneCycleLR", "epoch", 1, 1000, "total_steps", 299, "warmup_iters", target_rate=0.1)


def test_a_warm_up_that_counts_steps_and_is_stepped_by_epochs_is_named():
    found = wrong_interval(Evidence(PLATEAU, WARMING_UP, schedulers(ONE_CYCLE)))
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_SMALL, "evidence")
    assert "OneCycleLR with total_steps=1000 is stepped once per epoch" in found.sentence
    assert "it needs 299 epochs for that, and the run has 50" in found.sentence
    assert "'interval': 'step'" in found.advice
    assert wrong_interval(Evidence(WARMING_UP, schedulers(ONE_CYCLE))).weight == "note"


@pytest.mark.parametrize(
    ("schedule", "scheduler"),
    [
        (WARMING_UP, replace(ONE_CYCLE, interval="step")),
        (WARMING_UP, replace(ONE_CYCLE, warmup=50)),  # it ends with the run
        (replace(WARMING_UP, elapsed=1.0), replace(ONE_CYCLE, warmup=10)),  # a warm-up of epochs, in a short run
        (replace(WARMING_UP, peak=0.06), ONE_CYCLE),
        (WARMING_UP, replace(ONE_CYCLE, warmup=None)),  # the rate does not rise
        (replace(WARMING_UP, elapsed=None), ONE_CYCLE),
        (WARMING_UP, Scheduler("ReduceLROnPlateau", "epoch", target_rate=0.1, patience=2, factor=0.1)),
    ],
)
def test_other_schedules_are_not_stepped_at_the_wrong_interval(schedule, scheduler):
    assert wrong_interval(Evidence(PLATEAU, schedule, schedulers(scheduler))) is None


def test_the_length_of_an_unknown_warm_up_follows_from_its_rise():
    rising = replace(WARMING_UP, learning_rate=2e-4, peak=2e-4, first=1e-4)  # 2e-5 per epoch
    function = Scheduler("LambdaLR", "epoch", target_rate=0.1)
    assert "needs 4995 epochs" in wrong_interval(Evidence(PLATEAU, rising, schedulers(function))).sentence
    first_epoch = replace(rising, steps=30, elapsed=0.03)
    assert wrong_interval(Evidence(PLATEAU, first_epoch, schedulers(function))) is None


@pytest.mark.slow
@pytest.mark.parametrize("finding", ["schedule-ended", "wrong-interval", "impatient-plateau-scheduler"])
def test_the_failing_example_gets_the_finding_and_the_mended_one_no_alarm(finding, without_pictures):
    assert alarms(fit_example("data.md", finding, "broken", 400)) == [finding]
    assert alarms(fit_example("data.md", finding, "mended", 400)) == []
