"""Findings on the learning-rate schedule: on evidence made by hand, and on the runs of the docs."""

from dataclasses import replace

import pytest

from lightning_landscape.diagnosis import diagnose
from lightning_landscape.diagnosis.findings.decay import gone_after_an_epoch
from lightning_landscape.diagnosis.findings.schedule import impatient_plateau_scheduler, schedule_ended, wrong_interval
from lightning_landscape.evidence import (
    BestConstant,
    Cause,
    Evidence,
    LossLevel,
    OptimizerGroup,
    Outputs,
    Parts,
    Plateau,
    Schedule,
    Scheduler,
    Schedulers,
    Trend,
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


EXPONENTIAL = Scheduler("ExponentialLR", "step", decay=0.9)


def test_a_rate_that_is_gone_after_one_epoch_is_certain_after_the_first_step():
    found = gone_after_an_epoch(Evidence(schedulers(EXPONENTIAL, steps_per_epoch=200.0)))
    assert (found.name, found.weight) == ("wrong-interval", "certain")
    assert "ExponentialLR multiplies the learning rate by 0.9 after every optimizer step" in found.sentence
    assert "an epoch has 200 optimizer steps: at the end of the first epoch, only 7e-10 times" in found.sentence
    assert "'interval': 'epoch'" in found.advice
    halving = Scheduler("StepLR", "step", length=2, length_name="step_size", decay=0.5**0.5)
    assert "by 0.707 on average" in gone_after_an_epoch(Evidence(schedulers(halving, steps_per_epoch=200.0))).sentence


@pytest.mark.parametrize(
    ("found", "steps_per_epoch"),
    [
        ([EXPONENTIAL], 170.0),  # a hundred-millionth is left
        ([EXPONENTIAL], None),
        ([replace(EXPONENTIAL, interval="epoch")], 200.0),
        ([replace(EXPONENTIAL, interval="manual")], 200.0),
        ([replace(EXPONENTIAL, frequency=20)], 200.0),
        ([replace(EXPONENTIAL, decay=None)], 200.0),
        ([EXPONENTIAL, POLYNOMIAL], 200.0),  # another one may raise it again
    ],
)
def test_a_rate_that_lasts_or_may_rise_again_is_not_gone_after_an_epoch(found, steps_per_epoch):
    assert gone_after_an_epoch(Evidence(schedulers(*found, steps_per_epoch=steps_per_epoch))) is None


def test_a_rate_that_is_multiplied_again_and_again_has_ended_as_soon_as_it_is_gone():
    just_ended = replace(ENDED, steps=44, elapsed=0.044)
    assert ended(UNFALLEN, schedule=just_ended, scheduler=EXPONENTIAL) == "evidence"
    assert ended(UNFALLEN, schedule=just_ended, scheduler=replace(EXPONENTIAL, decay=None)) is None


SLOPE = (
    Trend(window=100, level=2.3, progress=0.0, margin=0.01, tolerance=0.012),
    UpdateStatistics(update_ratio=1e-5, travelled=1e-3, no_grad_share=0.0, not_in_optimizer=0.0),
    trials(adam=0.7),
    UNFALLEN,
)
"""a run on a slope whose weights hardly move"""


@pytest.mark.parametrize(
    ("scheduler", "named", "advice"),
    [
        (
            Scheduler("StepLR", "step", 1, 10, "step_size", decay=0.93),
            "StepLR with step_size=10, which is stepped once per optimizer step",
            "let the scheduler count epochs",
        ),
        (
            Scheduler("CosineAnnealingLR", "epoch", 1, 5, "T_max"),
            "CosineAnnealingLR with T_max=5",
            "as long as the run",
        ),
        (Scheduler("ReduceLROnPlateau", "epoch", patience=2, factor=0.1), "ReduceLROnPlateau", "more patience"),
    ],
)
def test_a_rate_that_is_too_small_since_a_scheduler_has_cut_it_is_said_with_the_scheduler_first(
    scheduler, named, advice
):
    cut = Schedule(3e-4, 0.05, elapsed=0.15, first=0.05, median=0.005, steps=69)
    verdict = diagnose(Evidence(Plateau(69, 24), cut, schedulers(scheduler, steps_per_epoch=44.0), *SLOPE))
    assert (verdict.cause, verdict.finding) == (Cause.LEARNING_RATE_TOO_SMALL, None)
    assert verdict.reason.startswith("The learning rate is 0.0003, and its peak was 0.05: ")
    assert named in verdict.reason
    assert verdict.tries[0].startswith(advice) or advice in verdict.tries[0]
    assert len(verdict.tries) > 1


def test_a_schedule_that_returns_the_rate_in_place_of_a_factor_is_said_with_both_numbers():
    low = Schedule(1e-6, 1e-6, elapsed=0.15, first=1e-6, median=1e-6, steps=69)
    group = OptimizerGroup(0, 0, learning_rate=1e-6, base_rate=1e-3, weight_decay=0.0, parts=("net",))
    of_run = schedulers(Scheduler("LambdaLR", "step"), steps_per_epoch=44.0)
    verdict = diagnose(Evidence(Plateau(69, 24), low, of_run, Parts((), (group,), step=69), *SLOPE))
    assert verdict.cause is Cause.LEARNING_RATE_TOO_SMALL
    assert verdict.reason.startswith(
        "The learning rate is 1e-06 and was never above 1e-06. The optimizer was given 0.001, which `LambdaLR` "
        "multiplies by 0.001 now."
    )
    assert verdict.tries[0].startswith("let the schedule return a factor")


@pytest.mark.parametrize(("loss", "named"), [(0.0013, True), (2.3, False)])
def test_a_loss_that_is_a_small_multiple_of_a_loss_function_is_said_with_the_factor(loss, named):
    seen = Outputs((), 64, loss, best_constant=BestConstant("cross_entropy", loss=2.3, constant=2.3))
    verdict = diagnose(Evidence(Plateau(69, 24), Schedule(0.1, 0.1, elapsed=0.15, steps=69), seen, *SLOPE))
    assert verdict.cause is Cause.LEARNING_RATE_TOO_SMALL
    assert "The learning rate is 0.1." in verdict.reason
    assert ("0.00057 times the `cross_entropy`" in verdict.reason) is named
    assert verdict.tries[0].startswith("return `F.cross_entropy(...)` itself") is named


def test_a_constant_rate_that_is_too_small_is_blamed_on_no_scheduler():
    for schedule, found in [
        (Schedule(3e-4, 3e-4, elapsed=0.15, steps=69), [Scheduler("StepLR", "step", 1, 10, "step_size")]),
        (Schedule(3e-4, 0.05, elapsed=0.15, steps=69), []),
    ]:
        verdict = diagnose(Evidence(Plateau(69, 24), schedule, schedulers(*found), *SLOPE))
        assert verdict.cause is Cause.LEARNING_RATE_TOO_SMALL
        assert "peak" not in verdict.reason
        assert "schedule" not in verdict.advice


@pytest.mark.slow
@pytest.mark.parametrize("finding", ["schedule-ended", "wrong-interval", "impatient-plateau-scheduler"])
def test_the_failing_example_gets_the_finding_and_the_mended_one_no_alarm(finding, without_pictures):
    assert alarms(fit_example("data.md", finding, "broken", 400)) == [finding]
    assert alarms(fit_example("data.md", finding, "mended", 400)) == []
