"""Every detector on hand-made evidence, just below and just above each of its thresholds."""

import math
from dataclasses import fields, replace
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_landscape.diagnosis import DETECTORS, diagnose, needs_more_evidence
from lightning_landscape.diagnosis.learning import beats_constant, has_learned
from lightning_landscape.evidence import (
    CAUSES,
    Activity,
    BatchContents,
    BeforeAndAfter,
    BestConstant,
    Cause,
    Curvature,
    Descent,
    Divergence,
    EntryContents,
    Evidence,
    GradientScale,
    HeldTensors,
    InputUse,
    Line,
    LinearFit,
    LossLevel,
    Outputs,
    Part,
    Parts,
    Plateau,
    Restart,
    RestartedRun,
    Schedule,
    StartingPoint,
    Symmetry,
    Trend,
    Trials,
    UpdateStatistics,
    Verdict,
)
from lightning_landscape.tracking.progress import Progress
from lightning_landscape.tracking.step_record import StepRecord

PLATEAU = Plateau(step=300, since=100)
STALLED = Trend(window=100, level=2.3, progress=0.0, margin=0.01, tolerance=0.012)
UNLEARNED = LossLevel(start=2.3, best=2.29, now=2.3)
LEARNED = LossLevel(start=2.3, best=1.0, now=1.0)
MIDWAY = Schedule(learning_rate=0.1, peak=0.1, elapsed=0.5)
ENDED = Schedule(learning_rate=0.001, peak=0.1, elapsed=0.9)
MOVING = UpdateStatistics(update_ratio=1e-3, travelled=0.5, no_grad_share=0.0, not_in_optimizer=0.0)
STILL = replace(MOVING, update_ratio=0.0, travelled=0.0)
EVEN = GradientScale(norm=0.5, relative=2.0, groups={"first": 0.5, "last": 0.5})
FADING = GradientScale(norm=0.5, relative=2.0, groups={"first": 1e-7, "middle": 1e-3, "last": 0.5})
ACTIVE = Activity(dead=0.1, dead_layer="relu", saturated=0.1, saturated_layer="tanh", layers=2, samples=64)
NAN = Divergence(step=250, finite=False, start=2.3, now=math.nan)

# The only finding about this run is that its loss has stalled at its starting value.
BASE = Evidence(PLATEAU, STALLED, UNLEARNED, MIDWAY, MOVING, EVEN, ACTIVE)
USED = InputUse(loss=2.0, shuffled=2.5, moved=0.3, varied=True)
UNUSED = InputUse(loss=2.0, shuffled=2.0, moved=0.0, varied=True)
UNPAIRED = replace(UNUSED, paired=False)
"""the loss depends on the inputs alone"""
FAINT = InputUse(loss=0.691129, shuffled=0.691124, moved=4e-5, varied=True, targets=("1",))
"""a nearly constant predictor: with the targets of another batch, a batch has nearly the loss of that batch"""
NOTHING_GAINED = Trials(
    {"adam": 0.0, "line search": 0.0, "learning rate x0.1": 0.0, "this optimizer": 0.0, "learning rate x10": 0.0},
    steps=40,
    relative_gradient=0.01,
    decay_pull=0.0,
    samples=64,
)
NO_BETTER = Restart(
    gain=0.0,
    seeds=2,
    steps=300,
    fallen=0.5,
    own=RestartedRun(0.0, 100, fallen=0.5),
    adam=RestartedRun(0.0, 300, fallen=0.5),
    tenth=RestartedRun(0.0, 60, fallen=0.5),
)
TWINS = Symmetry(share=0.75, layer="net.0")
NOISY = replace(STALLED, progress=-1.0, margin=1.0)
"""a trend that is too noisy to tell whether the loss falls"""


def relative_gain(relative_gradient=0.01, decay_pull=0.0, **gains):
    """Return trials with these gains; underscores in their names stand for spaces."""
    named = {name.replace("_", " "): gain for name, gain in gains.items()}
    return replace(
        NOTHING_GAINED,
        gains={**NOTHING_GAINED.gains, **named},
        relative_gradient=relative_gradient,
        decay_pull=decay_pull,
    )


def curved(drop=0.0, lambda_min=-1.0, lambda_max=1.0):
    """Return curvature at a loss of 2, which falls by this share on held-out batches and by much more on the others."""
    return Curvature(
        lambda_min=lambda_min,
        lambda_max=lambda_max,
        residual_min=0.0,
        residual_max=0.0,
        error=0.0,
        loss=2.0,
        gradient_norm=0.0,
        relative_gradient=0.0,
        products=9,
        method="double backward",
        reason=None,
        parameters=9,
        samples=64,
        descent=Descent((-1.0, 0.0), (0.1, 2.0), (2.0 - 2.0 * drop, 2.0)),
    )


def cause(*changed):
    verdict = diagnose(BASE.including(*changed))
    return verdict.cause if verdict is not None else None


BODY = Part(
    name="body",
    share=1.0,
    trainable=True,
    frozen_since=None,
    group=0,
    learning_rate=0.1,
    reached=True,
    grad_norm=0.1,
    norm=10.0,
    initial_norm=10.0,
    distance=3.0,
)
TESTED = (Parts((), (), step=300), NOTHING_GAINED, NO_BETTER)
"""the readings that a verdict `settled` needs beside those of `BASE`: nothing that was tried does better"""


def cause_when_tested(*changed):
    """Return the cause that is found in these readings if everything else was tested and shows nothing."""
    kinds = {type(reading) for reading in changed}
    return cause(*(reading for reading in TESTED if type(reading) not in kinds), *changed)


def test_a_stalled_run_without_any_other_evidence_is_undecided():
    assert cause() is Cause.UNDECIDED


def test_there_is_no_verdict_without_evidence():
    assert diagnose(Evidence()) is None
    assert diagnose(Evidence(PLATEAU, MOVING, EVEN, ACTIVE, MIDWAY)) is None


@pytest.mark.parametrize(("margin", "stuck"), [(2 * 0.012 * 2.3 - 1e-9, True), (2 * 0.012 * 2.3 + 1e-9, False)])
def test_undecided_is_an_alarm_only_if_the_stall_test_has_power(margin, stuck):
    verdict = diagnose(BASE.including(replace(STALLED, progress=-1.0, margin=margin)))
    assert verdict.cause is Cause.UNDECIDED
    assert verdict.stuck is stuck


@pytest.mark.parametrize(("now", "word"), [(math.nan, "NaN"), (math.inf, "infinite"), (-math.inf, "infinite")])
def test_a_loss_that_is_not_finite_has_diverged_and_the_reason_shows_it(now, word):
    verdict = diagnose(BASE.including(replace(NAN, now=now)))
    assert verdict.cause is Cause.DIVERGED
    assert f"is {word} and has not become finite again; it started at 2.3." in verdict.reason
    verdict = diagnose(BASE.including(replace(NAN, now=now, start=math.nan)))
    assert f"The training loss is {word} and was never finite." in verdict.reason


def test_a_growing_loss_has_diverged_without_any_other_evidence():
    verdict = diagnose(Evidence(Divergence(step=250, finite=True, start=2.3, now=1e4)))
    assert verdict.cause is Cause.DIVERGED
    assert "grew from 2.3 to 1e+04" in verdict.reason
    later = diagnose(Evidence(Divergence(step=250, finite=True, start=2.3, now=1e4, before=1.1)))
    assert "grew from 1.1 to 1e+04" in later.reason


def test_a_loss_that_falls_without_bound_has_diverged_and_its_sign_is_to_be_checked():
    before = BeforeAndAfter(best=-3e4, now=-3e4)
    verdict = diagnose(Evidence(Divergence(step=250, finite=True, start=-2.3, now=-3e4), before))
    assert (verdict.cause, verdict.stuck) == (Cause.DIVERGED, True)
    assert "fell from -2.3 to -3e+04" in verdict.reason
    assert verdict.advice.startswith("check the sign of the loss")


RUNS_DOWN = LossLevel(-2.3, -170.0, -170.0, floor=-340.0, floor_measured=False, runs_down=True)


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ((RUNS_DOWN,), "it ran from -2.3 to -170 without levelling off"),
        (
            (replace(RUNS_DOWN, runs_down=False), replace(NOTHING_GAINED, gains={"adam": 6806.0})),
            "40 steps on a copy lower it more than 6,806 times as far as the whole run has",
        ),
    ],
)
def test_a_loss_that_falls_without_end_is_neither_settled_nor_an_alarm(readings, words):
    verdict = diagnose(BASE.including(*TESTED, *readings))
    assert (verdict.cause, verdict.stuck, verdict.code) == (Cause.UNDECIDED, False, "LL209 no-lowest-loss")
    assert words in verdict.reason
    assert str(verdict).startswith("[LL209 no-lowest-loss] step 300: the loss falls without end")


def test_a_large_gain_shows_nothing_where_the_lowest_loss_is_known():
    level = replace(RUNS_DOWN, runs_down=False, floor_measured=True)
    verdict = diagnose(BASE.including(*TESTED, level, replace(NOTHING_GAINED, gains={"adam": 6806.0})))
    assert verdict.finding is None


@pytest.mark.parametrize("field", ["not_in_optimizer", "no_grad_share"])
@pytest.mark.parametrize(
    ("share", "found"), [(0.3, Cause.UNDECIDED), (0.3001, Cause.NOT_UPDATING), (1.0, Cause.NOT_UPDATING)]
)
def test_a_run_is_not_updating_if_over_30_percent_of_the_parameters_are_not_trained(field, share, found):
    assert cause(replace(MOVING, **{field: share})) is found


@pytest.mark.parametrize("field", ["not_in_optimizer", "no_grad_share"])
def test_untrained_parameters_are_no_fault_of_a_run_that_has_learned(field):
    assert cause_when_tested(LEARNED, replace(MOVING, **{field: 1.0})) is Cause.SETTLED


@pytest.mark.parametrize(("relative", "found"), [(1e-3, Cause.UNDECIDED), (1.001e-3, Cause.NOT_UPDATING)])
def test_weights_that_do_not_move_despite_a_gradient_are_not_updated(relative, found):
    assert cause(STILL, replace(EVEN, relative=relative)) is found


def test_weights_that_move_a_little_or_were_not_measured_are_not_called_motionless():
    assert cause(replace(STILL, travelled=1e-30)) is Cause.LEARNING_RATE_TOO_SMALL
    assert cause(replace(STILL, travelled=None)) is Cause.UNDECIDED


def test_weights_that_do_not_move_after_the_end_of_a_schedule_are_no_alarm():
    ended_at_zero = Schedule(learning_rate=0.0, peak=0.1, elapsed=0.9)
    assert cause(STILL, LEARNED, ended_at_zero) is Cause.SCHEDULED_END
    assert cause(STILL, LEARNED, replace(ended_at_zero, elapsed=0.3)) is Cause.LEARNING_RATE_TOO_SMALL


@pytest.mark.parametrize(
    ("rate", "elapsed", "found"),
    [
        (0.00499, 0.7, Cause.SCHEDULED_END),
        (0.00501, 0.7, Cause.UNDECIDED),
        (0.001, 0.601, Cause.SCHEDULED_END),
        (0.001, 0.6, Cause.UNDECIDED),
        (0.001, None, Cause.UNDECIDED),
    ],
)
def test_a_learning_rate_below_5_percent_of_its_peak_in_the_last_40_percent_of_the_run_is_a_scheduled_end(
    rate, elapsed, found
):
    assert cause(Schedule(rate, 0.1, elapsed)) is found


@pytest.mark.parametrize(
    ("activity", "found"),
    [
        (replace(ACTIVE, dead=0.9899), Cause.UNDECIDED),
        (replace(ACTIVE, dead=0.99), Cause.FLAT_REGION),
        (replace(ACTIVE, saturated=0.8999), Cause.UNDECIDED),
        (replace(ACTIVE, saturated=0.9), Cause.FLAT_REGION),
    ],
)
def test_a_dead_or_saturated_layer_makes_the_region_flat(activity, found):
    assert cause_when_tested(activity) is found
    assert cause_when_tested(activity, LEARNED) is Cause.SETTLED


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ({"first": 0.99e-4, "last": 1.0}, Cause.FLAT_REGION),
        ({"first": 1e-4, "last": 1.0}, Cause.UNDECIDED),
        ({"first": 0.0, "last": 1.0}, Cause.UNDECIDED),
        ({"only": 1e-9}, Cause.UNDECIDED),
        ({"first": 1.0, "last": 1e-9}, Cause.UNDECIDED),
    ],
)
def test_a_gradient_that_vanishes_towards_the_input_makes_the_region_flat(groups, found):
    assert cause_when_tested(replace(EVEN, groups=groups)) is found
    assert cause_when_tested(replace(EVEN, groups=groups), LEARNED) is Cause.SETTLED


def test_a_gradient_that_is_zero_everywhere_does_not_vanish_towards_the_input():
    assert cause(GradientScale(0.0, 0.0, {"first": 0.0, "last": 0.0})) is Cause.UNDECIDED


@pytest.mark.parametrize(("now", "found"), [(0.85 * 2.3, Cause.SETTLED), (0.8501 * 2.3, Cause.UNDECIDED)])
def test_a_run_whose_training_loss_fell_by_15_percent_has_settled(now, found):
    assert cause_when_tested(LossLevel(2.3, now, now)) is found


@pytest.mark.parametrize(("now", "found"), [(0.9 * 2.3, Cause.SETTLED), (0.9001 * 2.3, Cause.UNDECIDED)])
def test_a_run_whose_loss_on_fixed_batches_fell_by_10_percent_has_settled(now, found):
    assert cause_when_tested(LossLevel(2.3, now, now), StartingPoint(2.3, now)) is found


def test_if_the_first_steps_blew_the_loss_up_the_very_first_loss_is_its_start():
    blown_up = LossLevel(start=20.0, best=2.2, now=2.3, first=2.3)
    assert cause_when_tested(blown_up) is Cause.UNDECIDED
    assert cause_when_tested(replace(blown_up, first=None)) is Cause.SETTLED
    assert (
        cause_when_tested(replace(blown_up, first=10.1)) is Cause.SETTLED
    )  # the first losses are less than twice the very first


@pytest.mark.parametrize(("now", "travelled", "stuck"), [(1.21, 0.31, True), (1.19, 0.31, False), (1.21, 0.29, False)])
def test_large_updates_with_a_loss_above_its_start_are_an_alarm_even_in_noise(now, travelled, stuck):
    level = LossLevel(start=2.3, best=2.0, now=now * 2.3)
    verdict = diagnose(BASE.including(NOISY, level, replace(MOVING, travelled=travelled)))
    assert (verdict.cause, verdict.stuck) == (Cause.UNDECIDED, stuck)


def test_a_run_has_learned_if_it_uses_its_inputs_or_if_that_is_unknown_if_its_loss_is_low():
    def known(*changed):
        return has_learned(BASE.including(*changed))

    assert known(UNLEARNED, replace(UNUSED, shuffled=2.0 * 1.0201))
    assert not known(LEARNED, replace(UNUSED, shuffled=2.0 * 1.0199))
    assert not known(LossLevel(1.0, 1.0, 1.2001), USED)
    assert known(LossLevel(1.0, 1.0, 1.2), USED)
    assert known(LossLevel(1.0, 0.85, 0.85))
    assert not known(LossLevel(1.0, 0.8501, 0.8501))
    assert known(LossLevel(1.0, 0.9, 0.9), replace(UNUSED, paired=False))
    assert not known(LossLevel(1.0, 0.9, 0.9001))
    assert not has_learned(Evidence())


def test_the_loss_of_the_initial_weights_on_fixed_batches_takes_precedence_over_the_first_losses():
    assert has_learned(BASE.including(UNLEARNED, StartingPoint(loss=1.0, now=0.9)))
    assert not has_learned(BASE.including(LEARNED, StartingPoint(loss=1.0, now=0.9001)))
    assert not has_learned(BASE.including(LEARNED, USED, StartingPoint(loss=1.0, now=1.2001)))
    assert cause_when_tested(replace(MOVING, not_in_optimizer=1.0), StartingPoint(loss=1.0, now=0.9)) is Cause.SETTLED
    assert (
        cause_when_tested(replace(MOVING, not_in_optimizer=1.0), LEARNED, StartingPoint(loss=1.0, now=0.9001))
        is Cause.NOT_UPDATING
    )
    assert diagnose(BASE.including(StartingPoint(loss=1.0, now=0.9001))).stuck


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_starting_point_that_is_not_finite_is_ignored(loss):
    assert has_learned(BASE.including(LEARNED, StartingPoint(loss=loss, now=1.0)))
    assert not has_learned(BASE.including(UNLEARNED, StartingPoint(loss=loss, now=1.0)))
    assert has_learned(BASE.including(LEARNED, StartingPoint(loss=1.0, now=loss)))


def test_without_targets_the_use_of_inputs_does_not_show_whether_a_run_has_learned():
    assert has_learned(BASE.including(LEARNED, UNPAIRED))
    assert not has_learned(BASE.including(UNLEARNED, UNPAIRED))


@pytest.mark.parametrize(("pull", "found"), [(0.2999, Cause.UNDECIDED), (0.3, Cause.SETTLED), (1.0, Cause.SETTLED)])
def test_a_run_whose_weight_decay_balances_the_gradient_has_settled(pull, found):
    assert cause_when_tested(relative_gain(decay_pull=pull)) is found


@pytest.mark.parametrize(("gain", "found"), [(0.1, Cause.SETTLED), (0.11, Cause.UNDECIDED), (0.41, Cause.SLOW)])
def test_a_loss_without_targets_that_fell_and_that_no_trial_lowers_has_settled(gain, found):
    assert cause_when_tested(LEARNED, UNPAIRED, relative_gain(adam=gain, relative_gradient=0.2)) is found


@pytest.mark.parametrize(
    ("gain", "restart", "found"),
    [
        (0.01, NO_BETTER, Cause.SETTLED),
        (0.011, NO_BETTER, Cause.UNDECIDED),
        (0.01, replace(NO_BETTER, gain=0.01), Cause.SETTLED),
        (0.01, replace(NO_BETTER, gain=0.011), Cause.UNDECIDED),
    ],
)
def test_a_loss_without_targets_that_did_not_fall_has_settled_only_if_trials_gain_almost_nothing(gain, restart, found):
    assert cause_when_tested(UNPAIRED, relative_gain(adam=gain), restart) is found


def test_a_loss_without_targets_that_did_not_fall_is_called_settled_only_after_a_restart():
    evidence = BASE.including(UNPAIRED, relative_gain())
    assert diagnose(evidence).cause is Cause.UNDECIDED
    assert needs_more_evidence(evidence)


def test_a_run_without_targets_never_has_nothing_to_learn():
    assert cause_when_tested(UNPAIRED, NOTHING_GAINED, replace(NO_BETTER, gain=-0.5)) is Cause.SETTLED
    assert cause_when_tested(UNPAIRED, relative_gain(adam=0.1), replace(NO_BETTER, gain=-0.5)) is Cause.UNDECIDED


@pytest.mark.parametrize("level", [UNLEARNED, LEARNED])
def test_a_nearly_constant_predictor_has_not_settled(level):
    assert not FAINT.unpaired
    assert not has_learned(BASE.including(level, FAINT))
    assert cause(level, FAINT, NOTHING_GAINED) is Cause.UNDECIDED  # so a restart is tried
    assert cause(level, FAINT, NOTHING_GAINED, NO_BETTER) is Cause.NOTHING_TO_LEARN


def test_a_run_whose_inputs_are_all_the_same_has_nothing_to_learn():
    assert cause(replace(USED, varied=False)) is Cause.NOTHING_TO_LEARN


@pytest.mark.parametrize("trial", ["adam", "line search", "learning rate x10"])
@pytest.mark.parametrize(
    ("travelled", "slope", "gain", "changed", "found"),
    [
        (0.00499, 0.3, 0.15, [], True),
        (0.005, 0.3, 0.15, [], False),
        (0.00499, 0.2999, 0.15, [], False),
        (0.00499, 0.3, 0.1499, [], False),
        (0.00499, 0.3, 0.4, [LEARNED], True),
        (0.00499, 0.3, 0.3999, [LEARNED], False),
        (None, 0.3, 0.15, [], False),
    ],
)
def test_tiny_updates_on_a_slope_mean_that_the_learning_rate_is_too_small(
    trial, travelled, slope, gain, changed, found
):
    creeping = replace(MOVING, travelled=travelled)
    tried = relative_gain(relative_gradient=slope, **{trial: gain})
    assert (cause(creeping, tried, *changed) is Cause.LEARNING_RATE_TOO_SMALL) is found


@pytest.mark.parametrize("trial", ["mean of the path", "learning rate x0.1"])
@pytest.mark.parametrize(
    ("travelled", "now", "gain", "found"),
    [
        (0.3001, 0.8001, 0.1501, True),
        (0.3, 0.8001, 0.1501, False),
        (0.3001, 0.8, 0.1501, False),
        (0.3001, 0.8001, 0.15, False),
        (0.3001, 1.2001, 0.0, True),
        (0.3001, 1.2, 0.0, False),
        (None, 1.2001, 0.0, False),
    ],
)
def test_large_updates_without_progress_mean_that_the_learning_rate_is_too_large_if_shorter_steps_do_better(
    trial, travelled, now, gain, found
):
    far = replace(MOVING, travelled=travelled)
    assert (
        cause(far, LossLevel(1.0, 0.8, now), relative_gain(**{trial: gain})) is Cause.LEARNING_RATE_TOO_LARGE
    ) is found


@pytest.mark.parametrize(
    ("share", "gain", "found"),
    [(0.5001, 0.1, Cause.SADDLE_POINT), (0.5, 0.1, Cause.SETTLED), (0.5001, 0.0999, Cause.SETTLED)],
)
def test_duplicate_units_make_a_saddle_if_a_restart_does_better(share, gain, found):
    assert cause_when_tested(LEARNED, replace(TWINS, share=share), replace(NO_BETTER, gain=gain)) is found
    assert cause_when_tested(LEARNED, replace(TWINS, share=share)) is Cause.SETTLED


@pytest.mark.parametrize(("gain", "found"), [(0.1, Cause.FLAT_REGION), (0.0999, Cause.SETTLED)])
def test_a_saturated_layer_of_a_run_that_has_learned_counts_if_a_restart_does_better(gain, found):
    assert cause_when_tested(LEARNED, replace(ACTIVE, saturated=0.9), replace(NO_BETTER, gain=gain)) is found


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ([relative_gain(adam=0.1501)], Cause.SADDLE_POINT),
        ([relative_gain(adam=0.15)], Cause.UNDECIDED),
        ([relative_gain(), curved(drop=0.0501)], Cause.SADDLE_POINT),
        ([relative_gain(), curved(drop=0.0499)], Cause.UNDECIDED),
        ([LEARNED, relative_gain(adam=0.4001), curved(drop=0.0501)], Cause.SADDLE_POINT),
        ([LEARNED, relative_gain(adam=0.4), curved(drop=0.0501)], Cause.UNDECIDED),
        ([LEARNED, relative_gain(adam=0.4001, relative_gradient=0.0999)], Cause.SADDLE_POINT),
        ([LEARNED, relative_gain(adam=0.4001, relative_gradient=0.1)], Cause.SLOW),
        ([LEARNED, relative_gain(adam=0.4, relative_gradient=0.1)], Cause.UNDECIDED),
        ([FADING, relative_gain(adam=0.5)], Cause.FLAT_REGION),
        ([FADING, relative_gain(adam=0.5), curved(drop=0.0501)], Cause.SADDLE_POINT),
    ],
)
def test_a_way_down_that_the_run_does_not_find_makes_a_saddle(changed, found):
    assert cause_when_tested(*changed) is found


def test_negative_curvature_alone_is_no_alarm():
    nowhere = curved(drop=0.0)
    assert nowhere.descent.drop > 1
    assert cause_when_tested(LEARNED, relative_gain(), nowhere) is Cause.SETTLED
    assert cause_when_tested(relative_gain(), replace(nowhere, descent=None)) is Cause.UNDECIDED
    assert cause_when_tested(relative_gain(), replace(nowhere, loss=0.0)) is Cause.UNDECIDED
    on_one_half_only = replace(nowhere, descent=replace(nowhere.descent, held_out=None))
    assert cause_when_tested(relative_gain(), on_one_half_only) is Cause.UNDECIDED


@pytest.mark.parametrize(
    ("gain", "slope", "lambda_min", "found"),
    [
        (0.0999, 0.0999, -0.0099, Cause.UNDECIDED),
        (0.1, 0.0999, -0.0099, Cause.POOR_MINIMUM),
        (0.1, 0.0999, -0.0101, Cause.SADDLE_POINT),
        (0.1, 0.1, -0.0099, Cause.SADDLE_POINT),
        (0.1, 0.0999, None, Cause.SADDLE_POINT),
        (0.1, 0.0999, math.nan, Cause.SADDLE_POINT),
    ],
)
def test_if_only_a_restart_does_better_the_curvature_tells_a_minimum_from_a_saddle(gain, slope, lambda_min, found):
    bent = [] if lambda_min is None else [curved(lambda_min=lambda_min)]
    assert cause(relative_gain(relative_gradient=slope), replace(NO_BETTER, gain=gain), *bent) is found


@pytest.mark.parametrize(
    ("gain", "now", "changed", "found"),
    [
        (0.2, 0.5, [], Cause.POOR_MINIMUM),
        (0.1999, 0.5, [], Cause.SETTLED),
        (0.2, 0.36, [], Cause.POOR_MINIMUM),  # 0.072 of the 0.712 from the start to the end of the restart
        (0.2, 0.35, [], Cause.SETTLED),  # 0.07 of 0.72 are less than a tenth of the way
        (0.3, 0.5, [NOISY], Cause.UNDECIDED),
        (0.5, 0.5, [replace(MIDWAY, elapsed=0.09)], Cause.UNDECIDED),
    ],
)
def test_a_run_that_has_learned_is_in_a_poor_minimum_if_a_restart_comes_visibly_lower(gain, now, changed, found):
    level = LossLevel(1.0, now, now)
    assert cause_when_tested(level, relative_gain(), replace(NO_BETTER, gain=gain), *changed) is found


@pytest.mark.parametrize(("error", "found"), [(0.2, Cause.SADDLE_POINT), (0.3, Cause.UNDECIDED)])
def test_a_restart_on_few_samples_shows_nothing_within_two_standard_errors(error, found):
    run = RestartedRun(0.5, 100, fallen=0.5, error=error)
    assert cause(UNUSED, relative_gain(), Restart(0.5, seeds=1, steps=100, fallen=0.5, adam=run)) is found


def restarted(**runs):
    """Return a reading of restarts with these gains by kind, each of 100 steps."""
    best = max(runs.get("own", -1.0), runs.get("adam", -1.0))
    by_kind = {kind: RestartedRun(gain, 100, fallen=0.5) for kind, gain in runs.items()}
    return Restart(best, seeds=1, steps=100, fallen=0.5, **by_kind)


@pytest.mark.parametrize(
    ("runs", "found", "stuck"),
    [
        ({"own": 0.3, "going_on": 0.0}, Cause.POOR_MINIMUM, True),
        ({"own": 0.29, "going_on": 0.0}, Cause.UNDECIDED, False),
        ({"own": 0.5, "going_on": 0.21}, Cause.UNDECIDED, False),
        ({"own": 0.0, "adam": 0.9, "going_on": 0.0}, Cause.UNDECIDED, False),
    ],
)
def test_in_noise_only_the_runs_own_optimizer_from_new_weights_shows_a_poor_minimum(runs, found, stuck):
    verdict = diagnose(BASE.including(NOISY, LossLevel(1.0, 0.5, 0.5), relative_gain(), restarted(**runs)))
    assert (verdict.cause, verdict.stuck) == (found, stuck)


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ({"own": 0.0, "tenth": 0.2}, Cause.LEARNING_RATE_TOO_LARGE),
        ({"own": 0.0, "tenth": 0.1999}, Cause.SETTLED),
        ({"own": 0.0, "tenth": 0.0, "hundredth": 0.2}, Cause.LEARNING_RATE_TOO_LARGE),
        ({"own": 0.1, "tenth": 0.2999}, Cause.SETTLED),  # another initialisation gains half of it
        ({"own": 0.0, "tenth": 0.3, "going_on": 0.11}, Cause.SETTLED),
    ],
)
def test_initial_weights_that_do_better_at_a_smaller_rate_show_that_the_rate_is_too_large(runs, found):
    learned = [LossLevel(2.3, 1.8, 1.8), USED, TESTED[0], relative_gain()]
    verdict = diagnose(BASE.including(*learned, restarted(**runs)))
    assert (verdict.cause, verdict.stuck) == (found, found is Cause.LEARNING_RATE_TOO_LARGE)
    dead = diagnose(BASE.including(relative_gain(), UNUSED, replace(ACTIVE, dead=1.0), restarted(**runs)))
    assert (dead.cause is Cause.LEARNING_RATE_TOO_LARGE) is (found is Cause.LEARNING_RATE_TOO_LARGE)


def test_restarts_that_blew_up_show_nothing():
    blown_up = RestartedRun(-0.1, 60, fallen=-0.3)
    verdict = diagnose(
        BASE.including(LEARNED, *TESTED[:2], replace(NO_BETTER, own=blown_up, adam=blown_up, tenth=blown_up))
    )
    assert verdict.cause is Cause.UNDECIDED
    assert "new initial weights; the initial weights at a smaller learning rate." in verdict.reason


@pytest.mark.parametrize("missing", range(3))
def test_a_run_has_settled_only_if_everything_was_tested(missing):
    known = [LEARNED, *TESTED[:missing], *TESTED[missing + 1 :]]
    verdict = diagnose(BASE.including(*known))
    assert (verdict.cause, verdict.stuck) == (Cause.UNDECIDED, False)
    named = ["every part of the model moves", "smaller and larger learning rates", "new initial weights"][missing]
    assert f"Not tested: {'whether ' * (missing == 0)}{named}" in verdict.reason
    assert diagnose(BASE.including(LEARNED, *TESTED)).cause is Cause.SETTLED


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"share": 0.0101}, Cause.UNDECIDED),
        ({"share": 0.01}, Cause.SETTLED),
        ({"distance": 1e-9}, Cause.SETTLED),
        ({"group": None}, Cause.SETTLED),
        ({"trainable": False}, Cause.SETTLED),
    ],
)
def test_nothing_is_settled_while_a_part_that_is_trained_has_its_initial_values(changed, found):
    part = replace(BODY, **{"share": 0.5, "distance": 0.0, **changed})
    verdict = diagnose(BASE.including(LEARNED, *TESTED[1:], Parts((part,), (), step=300)))
    assert (verdict.cause, verdict.stuck) == (found, False)
    assert ("still has its initial values" in verdict.reason) is (found is Cause.UNDECIDED)


def test_a_smaller_rate_needs_no_test_if_the_runs_own_rate_hardly_moves_new_weights():
    still = replace(NO_BETTER, tenth=None, own=RestartedRun(0.0, 100, fallen=0.0199))
    assert cause_when_tested(LEARNED, still) is Cause.SETTLED
    moving = replace(still, own=RestartedRun(0.0, 100, fallen=0.02))
    verdict = diagnose(BASE.including(LEARNED, *TESTED[:2], moving))
    assert verdict.cause is Cause.UNDECIDED
    assert "Not tested: the initial weights at a smaller learning rate." in verdict.reason


@pytest.mark.parametrize(
    ("changed", "early"),
    [
        ([replace(MIDWAY, elapsed=0.0999)], True),
        ([replace(MIDWAY, elapsed=0.1)], False),
        ([replace(MIDWAY, elapsed=None, steps=199)], True),
        ([replace(MIDWAY, elapsed=None, steps=200)], False),
    ],
)
def test_nothing_is_settled_or_slow_in_the_first_tenth_of_a_run(changed, early):
    assert cause_when_tested(LEARNED, *changed) is (Cause.UNDECIDED if early else Cause.SETTLED)
    tried = relative_gain(adam=0.5, relative_gradient=0.2)
    assert cause_when_tested(LEARNED, tried, *changed) is (Cause.UNDECIDED if early else Cause.SLOW)


@pytest.mark.parametrize(("since", "stuck"), [(240, True), (241, False)])
def test_undecided_is_an_alarm_only_after_a_tenth_of_the_run_without_a_fall(since, stuck):
    planned = Schedule(learning_rate=0.1, peak=0.1, elapsed=0.5, steps=300)  # of 600 steps
    verdict = diagnose(BASE.including(Plateau(step=300, since=since), planned))
    assert (verdict.cause, verdict.stuck) == (Cause.UNDECIDED, stuck)


def test_a_gradient_that_is_exactly_0_does_not_vanish():
    assert cause(FADING) is Cause.FLAT_REGION
    cut_off = replace(FADING, groups={"first": 0.0, "middle": 0.1, "last": 0.5})
    assert cause(cut_off) is Cause.UNDECIDED
    rounded_away = replace(FADING, groups={"first": 0.0, "middle": 1e-7, "last": 0.5})
    assert "0 in first" not in diagnose(BASE.including(rounded_away)).reason
    assert cause(rounded_away) is Cause.FLAT_REGION


NO_BETTER_THAN_A_CONSTANT = Outputs((), 64, 1.0, best_constant=BestConstant("mse_loss", loss=1.0, constant=1.0))


def test_undecided_lists_what_was_found_and_what_mends_it_in_place_of_saying_that_nothing_shows_why():
    unheld = HeldTensors(("body",), 0.2, 0.2)
    verdict = diagnose(BASE.including(*TESTED, unheld, LEARNED, NO_BETTER_THAN_A_CONSTANT))
    assert verdict.cause is Cause.UNDECIDED
    assert "no measurement shows why" not in verdict.reason
    assert "this was found: No optimizer holds 20% of the trainable parameters: `body`." in verdict.reason
    assert "A prediction that ignores the inputs would do about as well" in verdict.reason
    assert verdict.tries[0].startswith("pass all of them to the optimizer")
    assert any("overfit_batches=1" in line for line in verdict.tries)


def test_undecided_says_that_no_measurement_shows_why_only_where_nothing_was_found():
    assert "no measurement shows why" in diagnose(BASE).reason


def test_undecided_asks_for_more_batches_in_noise_and_for_more_effort_where_something_was_not_tested():
    tries = diagnose(BASE.including(LEARNED, NOISY, *TESTED)).advice
    assert "accumulate_grad_batches=4" in tries
    assert "thorough" not in tries
    assert 'effort="thorough"' in diagnose(BASE).advice
    assert "accumulate_grad_batches" not in diagnose(BASE).advice


@pytest.mark.parametrize(("spread", "judged"), [(0.2, False), (0.5, True)], ids=["clear", "within the spread"])
def test_a_loss_that_fell_although_the_initial_weights_do_better_now_is_no_judge(spread, judged):
    level = LossLevel(start=1.0, best=0.2, now=0.2, spread=spread)
    better_before = StartingPoint(loss=0.3, now=1.1)
    verdict = diagnose(BASE.including(level, better_before, *TESTED))
    assert verdict.stuck is judged
    assert ("depends on more than the weights and the batch" in verdict.reason) is not judged
    assert ('monitor="reward"' in verdict.advice) is not judged


@pytest.mark.parametrize(("spread", "stuck"), [(0.1, False), (0.5, True)], ids=["clear", "within the spread"])
def test_a_loss_without_targets_that_has_clearly_fallen_has_learned_whatever_is_added_to_it(spread, stuck):
    shifted = LossLevel(start=6.5, best=5.7, now=5.7, spread=spread)  # the fall is only 12% of the height
    noisy = replace(UNPAIRED, loss=5.7, shuffled=5.7)
    assert diagnose(BASE.including(shifted, noisy, StartingPoint(6.3, 5.7))).stuck is stuck


def test_a_loss_of_the_inputs_alone_that_a_constant_prediction_reaches_has_not_settled():
    still = replace(UNPAIRED, loss=1.0, shuffled=1.0)
    assert cause_when_tested(LEARNED, still) is Cause.SETTLED
    verdict = diagnose(BASE.including(*TESTED, LEARNED, still, NO_BETTER_THAN_A_CONSTANT))
    assert verdict.cause is Cause.UNDECIDED
    assert "A prediction that ignores the inputs would do about as well" in verdict.reason
    assert "such as the KL divergence of a VAE" in verdict.tries[0]


def test_nothing_is_settled_while_noise_hides_whether_the_loss_falls():
    verdict = diagnose(BASE.including(LEARNED, NOISY, *TESTED))
    assert (verdict.cause, verdict.stuck) == (Cause.UNDECIDED, False)
    assert "Noise hides whether the loss still falls." in verdict.reason


def test_a_plateau_that_was_proven_later_counts_as_proven():
    undecided = diagnose(BASE.including(NOISY))
    assert not undecided.stuck
    assert diagnose(BASE.including(NOISY, replace(PLATEAU, proven=True))).stuck


@pytest.mark.parametrize(("shuffled", "found"), [(2.0398, Cause.NOTHING_TO_LEARN), (2.0402, Cause.SETTLED)])
def test_there_is_nothing_to_learn_if_neither_the_run_nor_a_restart_uses_the_inputs(shuffled, found):
    tried = [replace(UNUSED, shuffled=shuffled), relative_gain(), NO_BETTER]
    assert cause_when_tested(*tried) is found
    for missing in range(3):
        kept = tried[:missing] + tried[missing + 1 :]
        assert cause(*kept) is Cause.UNDECIDED


@pytest.mark.parametrize(
    ("samples", "targets", "rare", "found"),
    [
        (63, 63, 0.8, Cause.UNDECIDED),
        (64, 64, 0.8, Cause.NOTHING_TO_LEARN),
        (8, 512, 0.8, Cause.NOTHING_TO_LEARN),
        (512, 512, 0.1, Cause.UNDECIDED),
    ],
    ids=["too few", "enough", "a target for each token", "one in a hundred is not 0"],
)
def test_trials_on_few_targets_do_not_show_that_there_is_nothing_to_learn(samples, targets, rare, found):
    entry = EntryContents("1", target=True, size=1.0, mean_size=rare, spread=1.0, values=targets // 2)
    contents = BatchContents(4, (entry,))
    trials = replace(relative_gain(), samples=samples, batches=8)
    assert cause(UNUSED, trials, NO_BETTER, contents) is found


@pytest.mark.parametrize(
    ("loss", "error", "learned"),
    [(2.1, 0.5, True), (2.3, 0.01, False), (2.3, 0.2, None), (3.0, 0.2, False)],
    ids=["better", "no better", "too few samples to tell", "clearly worse"],
)
def test_predictions_are_no_better_than_a_constant_only_if_the_samples_are_enough_to_tell(loss, error, learned):
    best = BestConstant("cross_entropy", loss, constant=2.3, error=error)
    assert beats_constant(Evidence(Outputs((), 64, loss, best_constant=best))) is learned


def test_a_verdict_says_what_was_tried_the_best_first_apart_from_its_reason():
    tried = relative_gain(adam=0.5, relative_gradient=0.5, **{"line search": 0.7, "learning rate x10": -math.inf})
    for known in (tried,), (LEARNED, tried):
        verdict = diagnose(BASE.including(*known))
        assert verdict.tried.startswith(
            "40 steps each of a copy of the run on 1 batch, scored on other batches: a line search along the gradient "
            "lowers the loss by 70%; Adam at a learning rate of 0.01 lowers the loss by 50%; "
        )
        assert "ten times the learning rate makes the loss infinite or NaN" in verdict.tried
        assert "each of a copy" not in verdict.reason
    assert diagnose(BASE).tried == ""


def test_a_plateau_that_may_be_noise_is_no_alarm_in_a_run_that_has_learned():
    noisy = replace(STALLED, progress=-1.0, margin=1.0)
    assert not noisy.powered
    found = [LEARNED, relative_gain(adam=0.5)]
    assert diagnose(BASE.including(*found)).stuck
    quiet = diagnose(BASE.including(*found, noisy))
    assert (quiet.cause, quiet.stuck) == (Cause.SADDLE_POINT, False)
    assert diagnose(BASE.including(relative_gain(adam=0.5), noisy, UNUSED)).stuck
    assert not diagnose(
        BASE.including(relative_gain(adam=0.5), noisy)
    ).stuck  # only noisy losses show that it has not learned
    assert diagnose(BASE.including(LEARNED, noisy, NAN)).stuck


def test_more_expensive_probes_run_only_while_they_can_change_the_verdict():
    def open_(*changed):
        return needs_more_evidence(BASE.including(*changed))

    assert needs_more_evidence(Evidence())
    assert open_()
    assert open_(LEARNED)
    assert open_(replace(ACTIVE, saturated=1.0))
    assert open_(replace(ACTIVE, saturated=0.9), relative_gain())
    assert not open_(replace(ACTIVE, saturated=0.9), relative_gain(), NO_BETTER)
    assert open_(LEARNED, relative_gain())
    assert not open_(LEARNED, *TESTED)
    grown = replace(BODY, norm=31.0)
    assert open_(relative_gain(adam=0.5), Parts((grown,), (), step=300))  # the steps may have been too large
    assert not open_(relative_gain(adam=0.5), Parts((replace(BODY, norm=29.0),), (), step=300))
    assert open_(relative_gain())
    assert not open_(relative_gain(adam=0.5))
    assert open_(relative_gain(adam=0.5), TWINS)
    assert not open_(relative_gain(adam=0.5), TWINS, NO_BETTER)
    assert open_(UNUSED, relative_gain(), NO_BETTER)
    assert not open_(ENDED)
    assert not open_(NAN)


EVERYTHING = (
    *(PLATEAU, STALLED, UNLEARNED, NAN, MIDWAY, MOVING, EVEN, ACTIVE, USED, relative_gain(adam=0.5), curved(drop=0.5)),
    *(NO_BETTER, TWINS, StartingPoint(loss=2.3, now=2.29)),
)


def test_without_trials_the_verdict_names_no_cause_whatever_else_is_missing():
    readings = [reading for reading in EVERYTHING if reading is not NAN]
    for size in range(len(readings) + 1):
        for known in combinations(readings, size):
            evidence = Evidence(*known)
            verdict = diagnose(evidence)
            if evidence.get(Trend) is not None and evidence.get(LossLevel) is not None:
                assert verdict is not None
            if evidence.get(Trials) is None and verdict is not None:
                assert verdict.cause in {Cause.UNDECIDED, Cause.SETTLED}
            needs_more_evidence(evidence)


NUMBERS = st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf]))


def of_any_numbers(reading):
    """Return a strategy for readings of this class with any floats."""
    floats = {f.name: NUMBERS for f in fields(reading) if isinstance(getattr(reading, f.name), float)}
    changed = {name: st.dictionaries(st.sampled_from(sorted(value)), NUMBERS) for name, value in _mappings(reading)}
    return st.builds(lambda **values: replace(reading, **values), **floats, **changed)


def _mappings(reading):
    found = [(f.name, getattr(reading, f.name)) for f in fields(reading)]
    return [(name, value) for name, value in found if isinstance(value, dict)]


@settings(max_examples=300, deadline=None)
@given(st.tuples(*(st.none() | of_any_numbers(reading) for reading in EVERYTHING)))
def test_detectors_accept_any_numbers(readings):
    evidence = Evidence(*(reading for reading in readings if reading is not None))
    verdict = diagnose(evidence)
    assert verdict is None or (verdict.reason and isinstance(verdict.stuck, bool))
    needs_more_evidence(evidence)


TRAVEL_SMALL = replace(MOVING, travelled=0.001)


@pytest.mark.parametrize(
    ("both", "found"),
    [
        ([replace(ACTIVE, dead=1.0), replace(MOVING, not_in_optimizer=1.0)], Cause.FLAT_REGION),
        ([replace(MOVING, not_in_optimizer=1.0), LossLevel(1.0, 1.0, 2.0), relative_gain()], Cause.NOT_UPDATING),
        ([relative_gain(**{"learning rate x0.1": 0.2}), ENDED], Cause.LEARNING_RATE_TOO_LARGE),
        ([ENDED, relative_gain(adam=0.5)], Cause.SCHEDULED_END),
        ([STILL, relative_gain(decay_pull=1.0)], Cause.NOT_UPDATING),
        ([relative_gain(decay_pull=1.0, adam=0.5)], Cause.SETTLED),
        ([replace(USED, varied=False), relative_gain(adam=0.5)], Cause.NOTHING_TO_LEARN),
        ([TRAVEL_SMALL, relative_gain(adam=0.5, relative_gradient=1.0)], Cause.LEARNING_RATE_TOO_SMALL),
        (
            [TRAVEL_SMALL, relative_gain(adam=0.5, relative_gradient=1.0), replace(ACTIVE, saturated=1.0)],
            Cause.LEARNING_RATE_TOO_SMALL,
        ),
        ([replace(ACTIVE, saturated=1.0), relative_gain(adam=0.5)], Cause.FLAT_REGION),
        ([relative_gain(adam=0.5), replace(NO_BETTER, gain=0.5), curved(lambda_min=0.0)], Cause.SADDLE_POINT),
        ([FADING, relative_gain(), replace(NO_BETTER, gain=0.5), curved(lambda_min=0.0)], Cause.FLAT_REGION),
        ([relative_gain(), UNUSED, replace(NO_BETTER, gain=0.5), curved(lambda_min=0.0)], Cause.POOR_MINIMUM),
    ],
)
def test_of_two_causes_the_one_in_the_training_setup_is_named(both, found):
    assert cause_when_tested(*both) is found


def test_of_several_causes_the_first_in_the_list_is_named():
    """When the cause that comes first is removed, the next one is named, and so on."""
    explanations = [
        (NAN, None, Cause.DIVERGED),
        (replace(ACTIVE, dead=1.0), ACTIVE, Cause.FLAT_REGION),
        (replace(STILL, no_grad_share=1.0), STILL, Cause.NOT_UPDATING),
        (ENDED, MIDWAY, Cause.SCHEDULED_END),
        (STILL, MOVING, Cause.NOT_UPDATING),
        (FADING, EVEN, Cause.FLAT_REGION),
    ]
    present = {type(reading): reading for reading in BASE}
    for bad, _, _ in reversed(explanations):
        present[type(bad)] = bad
    for bad, good, expected in explanations:
        assert diagnose(Evidence(*present.values())).cause is expected
        del present[type(bad)]
        if good is not None:
            present[type(good)] = good
    assert diagnose(Evidence(*present.values())).cause is Cause.UNDECIDED


def test_the_order_of_readings_does_not_change_the_verdict():
    readings = [STALLED, UNLEARNED, STILL, FADING, ENDED]
    verdicts = {diagnose(Evidence(*order)) for order in permutations(readings)}
    assert len(verdicts) == 1


def test_a_reading_that_no_detector_uses_does_not_change_the_verdict():
    line = Line("initial", (0.0, 0.5, 1.0, 1.5), (2.0, 9.0, 1.0, 1.0), barrier=7.5, monotone=False, samples=64)
    assert diagnose(BASE.including(line)) == diagnose(BASE)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ([replace(MOVING, not_in_optimizer=0.8)], ["80%", "threshold 30%"]),
        ([replace(MOVING, no_grad_share=0.8)], ["80%", "threshold 30%"]),
        ([STILL], ["2", "threshold 0.001"]),
        ([ENDED], ["1.0% of its peak", "threshold 5%", "after 90% of the run"]),
        ([replace(ACTIVE, dead=1.0)], ["relu", "100%", "threshold 99%", "64 samples"]),
        ([replace(ACTIVE, saturated=0.95)], ["tanh", "95%", "threshold 90%"]),
        ([FADING], ["1e-07 in first", "0.5 in last", "2e-07", "threshold 0.0001"]),
        (
            [TRAVEL_SMALL, relative_gain(adam=0.5, relative_gradient=1.0)],
            ["add up to 0.001 times", "threshold 0.005", "gradient is 1 ", "threshold 0.3", "by 50% (threshold 15%)"],
        ),
        ([relative_gain(**{"mean of the path": 0.2})], ["up to 0.5 times", "threshold 0.3", "by 20% (threshold 15%)"]),
        ([LossLevel(1.0, 1.0, 2.0), relative_gain()], ["up to 0.5 times", "above its start (ratio 2, threshold 1.2)"]),
        ([relative_gain(decay_pull=1.0)], ["is 1 times as large", "thresholds 0.3 and 3.3"]),
        (
            [TWINS, replace(NO_BETTER, gain=0.5)],
            ["net.0", "75%", "threshold 50%", "by 50% in 300 steps (threshold 10%)"],
        ),
        (
            [relative_gain(), curved(drop=0.5)],
            ["held-out loss falls by 50% (threshold 5%)", "relative gradient is 0.01"],
        ),
        (
            [relative_gain(adam=0.5)],
            ["40 steps of Adam on a copy lower the held-out loss by 50% (threshold 15%)", "is 0.01"],
        ),
        (
            [relative_gain(), replace(NO_BETTER, gain=0.5)],
            ["Of 2 runs", "Adam at a learning rate of 0.01", "50% below the present loss in 300 steps (threshold 10%)"],
        ),
        (
            [relative_gain(), UNUSED, NO_BETTER],
            ["does not raise", "threshold 2%", "best trial leaves", "from new weights leaves"],
        ),
        (
            [LEARNED, relative_gain(adam=0.5, relative_gradient=0.2)],
            ["40 steps of Adam on a copy lower the held-out loss by 50% (threshold 40%)"],
        ),
        ([LEARNED, *TESTED], ["from 2.3 to 1 "]),
        ([], ["at 2.3"]),
    ],
)
def test_the_reason_shows_the_value_against_its_threshold(changed, shown):
    reason = diagnose(BASE.including(*changed)).reason
    assert STALLED.sentence() in reason
    assert all(part in reason for part in shown), reason


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ([], "train on a single batch: "),
        ([LEARNED, *TESTED], ""),
        ([ENDED], ""),
        ([STILL], ""),
        ([FADING], "residual connections between "),
        ([NAN], ""),
        ([replace(ACTIVE, dead=1.0)], "re-initialise "),
    ],
)
def test_a_verdict_has_its_step_the_start_of_the_plateau_and_its_evidence(changed, advice):
    known = BASE.including(*changed)
    verdict = diagnose(known)
    assert (verdict.step, verdict.since) == (300, 100)
    assert verdict.evidence == known
    assert verdict.advice.startswith(advice) if advice else verdict.advice == CAUSES[verdict.cause].advice
    assert verdict.stuck is (verdict.cause not in {Cause.SETTLED, Cause.SCHEDULED_END})


@pytest.mark.parametrize(
    ("best", "best_now", "error", "cause"),
    [
        (0.3, None, 0.1, Cause.DIVERGED),  # the earlier weights do better on the present batches
        (8.9, None, 0.1, Cause.UNDECIDED),
        (8.9, None, 0.01, Cause.DIVERGED),
        (0.3, 20.0, 0.1, Cause.UNDECIDED),  # a target network has changed
        (20.0, 0.3, 0.1, Cause.DIVERGED),
    ],
)
def test_a_growing_loss_is_no_alarm_where_earlier_weights_do_no_better_on_the_present_batches(
    best, best_now, error, cause
):
    before = BeforeAndAfter(now=9.0, best=best, start=2.3, error=error, batches=4, best_now=best_now)
    verdict = diagnose(Evidence(Divergence(step=80, finite=True, start=2.3, now=9.0), before))
    assert (verdict.cause, verdict.stuck) == (cause, cause is Cause.DIVERGED)
    nan = diagnose(Evidence(Divergence(step=80, finite=False, start=2.3, now=math.nan), before))
    assert nan.cause is Cause.DIVERGED


def test_the_reason_of_a_divergence_does_not_include_the_trend():
    assert "fallen" not in diagnose(BASE.including(NAN)).reason


def test_a_detector_of_your_own_is_a_function_and_its_position_is_its_priority():
    def mine(evidence):
        return Verdict(Cause.SLOW, 1, 1, stuck=False, reason="mine") if evidence.get(Trend) else None

    assert diagnose(BASE, [mine, *DETECTORS]).reason == "mine"
    assert diagnose(BASE, [*DETECTORS, mine]).cause is Cause.UNDECIDED
    assert diagnose(Evidence(), [mine]) is None
    assert diagnose(BASE, []) is None


def smaller_steps(gain, own=0.0):
    return replace(NOTHING_GAINED, gains={**NOTHING_GAINED.gains, "learning rate x0.1": gain, "this optimizer": own})


@pytest.mark.parametrize(("gain", "own", "stuck"), [(0.41, 0.0, True), (0.39, 0.0, False), (0.6, 0.3, False)])
def test_a_learning_rate_that_is_too_large_is_an_alarm_in_noise_if_shorter_steps_are_much_better(gain, own, stuck):
    level = LossLevel(start=2.3, best=1.9, now=2.0)
    verdict = diagnose(BASE.including(NOISY, USED, level, MOVING, smaller_steps(gain, own)))
    assert (verdict.cause, verdict.stuck) == (Cause.LEARNING_RATE_TOO_LARGE, stuck)


@pytest.mark.parametrize(("own", "too_large"), [(0.09, True), (0.11, False)])
def test_a_rate_is_not_too_large_if_going_on_does_half_as_well_as_shorter_steps(own, too_large):
    level = LossLevel(start=2.3, best=2.1, now=2.2)
    found = cause(USED, level, MOVING, smaller_steps(0.2, own))
    assert (found is Cause.LEARNING_RATE_TOO_LARGE) is too_large


@pytest.mark.parametrize(("now", "expected"), [(0.61, Cause.LEARNING_RATE_TOO_LARGE), (0.59, Cause.SETTLED)])
def test_much_better_shorter_steps_count_from_60_percent_of_the_start(now, expected):
    level = LossLevel(start=2.3, best=1.0, now=now * 2.3)
    assert cause_when_tested(USED, level, MOVING, smaller_steps(0.9)) is expected


@pytest.mark.parametrize(("first", "expected"), [(2.1, Cause.LEARNING_RATE_TOO_LARGE), (1.9, Cause.UNDECIDED)])
def test_first_steps_that_blew_the_loss_up_mean_that_the_learning_rate_is_too_large(first, expected):
    level = LossLevel(start=2.3 * first, best=2.2, now=2.2)
    changed = [NOISY, USED, level, MOVING, *TESTED, StartingPoint(loss=2.3, now=2.2)]
    verdict = diagnose(BASE.including(*changed))
    assert verdict.cause is expected
    assert verdict.stuck is (expected is Cause.LEARNING_RATE_TOO_LARGE)


@pytest.mark.parametrize(("frozen", "expected"), [(0.91, Cause.NOT_UPDATING), (0.89, Cause.NOTHING_TO_LEARN)])
def test_a_run_with_over_90_percent_frozen_parameters_and_no_gain_is_not_updating(frozen, expected):
    assert cause(replace(MOVING, frozen=frozen), UNUSED, NOTHING_GAINED, NO_BETTER) is expected


def test_a_frozen_body_is_no_fault_if_the_head_learns():
    assert cause_when_tested(replace(MOVING, frozen=0.99), USED, LEARNED, NOTHING_GAINED) is Cause.SETTLED
    assert cause_when_tested(replace(MOVING, frozen=0.99), UNUSED, relative_gain(adam=0.5)) is Cause.SADDLE_POINT


@pytest.mark.parametrize(("own", "stuck"), [(0.021, False), (0.019, True)])
def test_a_noisy_run_whose_own_optimizer_still_gains_is_no_alarm(own, stuck):
    verdict = diagnose(BASE.including(NOISY, UNUSED, relative_gain(adam=0.5, this_optimizer=own)))
    assert (verdict.cause, verdict.stuck) == (Cause.SADDLE_POINT, stuck)


@pytest.mark.parametrize(("gain", "own", "stuck"), [(0.41, 0.0, True), (0.39, 0.0, False), (0.8, 0.03, False)])
def test_duplicate_units_are_an_alarm_in_noise_if_a_restart_is_much_better(gain, own, stuck):
    verdict = diagnose(
        BASE.including(NOISY, USED, TWINS, relative_gain(this_optimizer=own), replace(NO_BETTER, gain=gain))
    )
    assert (verdict.cause, verdict.stuck) == (Cause.SADDLE_POINT, stuck)


@pytest.mark.parametrize(("tenfold", "found"), [(0.0019, Cause.LEARNING_RATE_TOO_SMALL), (0.0021, Cause.UNDECIDED)])
def test_a_gain_in_proportion_to_the_step_means_that_the_learning_rate_is_too_small(tenfold, found):
    gains = {"adam": 0.02, "this optimizer": 1e-4, "learning rate x10": tenfold}
    trials = replace(NOTHING_GAINED, gains={**NOTHING_GAINED.gains, **gains}, relative_gradient=0.2)
    assert cause(TRAVEL_SMALL, trials) is found
    assert cause(TRAVEL_SMALL, replace(trials, relative_gradient=0.05)) is Cause.UNDECIDED  # the slope is too small


@pytest.mark.parametrize(
    ("gains", "proven", "found"),
    [
        ({}, True, Cause.LEARNING_RATE_TOO_SMALL),
        ({}, False, Cause.SLOW),  # noise may hide that the loss falls
        ({"learning rate x10": 0.005}, True, Cause.SLOW),  # not in proportion
        ({"adam": 0.3, "line search": 0.3}, True, Cause.UNDECIDED),
    ],
)
def test_a_run_that_has_learned_stands_on_a_slope_if_the_gain_grows_in_proportion_to_the_step(gains, proven, found):
    measured = {"adam": 0.8, "line search": 0.5, "this optimizer": 0.001, "learning rate x10": 0.01, **gains}
    trials = replace(NOTHING_GAINED, gains={**NOTHING_GAINED.gains, **measured}, relative_gradient=2.0)
    plateau = Plateau(step=600, since=300, proven=proven)
    noisy = replace(STALLED, margin=1.0)
    verdict = diagnose(BASE.including(USED, LossLevel(2.3, 1.0, 1.0), trials, plateau, noisy))
    assert verdict.cause is found
    assert verdict.stuck is (found is Cause.LEARNING_RATE_TOO_SMALL)
    risen = diagnose(BASE.including(USED, LossLevel(0.3, 0.3, 1.0), trials, plateau, noisy))
    assert risen.cause is not Cause.LEARNING_RATE_TOO_SMALL  # the targets may move with the model


def test_a_gradient_of_exactly_zero_is_a_flat_region_even_if_the_inputs_are_used():
    nothing = replace(NOTHING_GAINED, relative_gradient=0.0)
    verdict = diagnose(BASE.including(NOISY, USED, nothing))
    assert (verdict.cause, verdict.stuck) == (Cause.FLAT_REGION, True)
    assert "exactly zero on all 64 samples" in verdict.reason
    assert cause_when_tested(USED, replace(nothing, relative_gradient=1e-12)) is Cause.SETTLED
    assert cause_when_tested(nothing, curved(drop=0.0)) is not Cause.FLAT_REGION  # there is curvature


@pytest.mark.parametrize(("adam", "kappa", "found"), [
    (0.06, 0.0009, Cause.SADDLE_POINT), (0.04, 0.0009, Cause.FLAT_REGION), (0.06, 0.0011, Cause.FLAT_REGION)
])  # fmt: skip
def test_at_a_critical_point_a_smaller_gain_is_enough_for_a_saddle_even_if_the_gradient_vanishes_towards_the_input(
    adam, kappa, found
):
    assert cause(UNUSED, FADING, relative_gain(adam=adam, relative_gradient=kappa)) is found


def test_weights_that_return_to_the_initial_weights_are_not_updated():
    back = diagnose(BASE.including(NOISY, USED, StartingPoint(loss=2.3, now=2.3)))
    assert (back.cause, back.stuck) == (Cause.NOT_UPDATING, True)
    assert "to the last bit" in back.reason
    assert cause(USED, StartingPoint(loss=2.3, now=2.3 + 1e-15)) is not Cause.NOT_UPDATING


RISING = replace(STALLED, progress=-0.5, margin=0.1)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, Cause.DIVERGED),
        ({"line search": 0.04}, Cause.UNDECIDED),
        ({"learning rate x0.1": 0.01}, Cause.UNDECIDED),
        ({"this optimizer": -0.04}, Cause.UNDECIDED),
        ({"learning rate x0.1": -0.3}, Cause.UNDECIDED),
    ],
)
def test_a_run_has_diverged_if_its_steps_raise_the_loss_and_a_step_against_the_gradient_lowers_it(changed, found):
    gains = {"line search": 0.1, "this optimizer": -0.2, "learning rate x0.1": -0.02, **changed}
    trials = replace(NOTHING_GAINED, gains={**NOTHING_GAINED.gains, **gains})
    assert cause(RISING, LossLevel(2.3, 2.3, 2.5), trials) is found
    assert cause(replace(RISING, margin=0.6), LossLevel(2.3, 2.3, 2.5), trials) is not Cause.DIVERGED


@pytest.mark.parametrize(("best", "found"), [(1.14, Cause.LEARNING_RATE_TOO_LARGE), (1.16, Cause.UNDECIDED)])
def test_a_loss_that_rose_to_twice_its_lowest_value_means_that_the_learning_rate_is_too_large(best, found):
    assert cause(LossLevel(2.3, best, 2.3), NOTHING_GAINED) is found


def test_a_loss_that_rose_since_the_data_have_changed_does_not_show_large_steps():
    changed = BeforeAndAfter(now=2.2, best=4.0, start=2.3, error=0.1, batches=4)
    assert cause(LossLevel(2.3, 1.0, 2.3), NOTHING_GAINED) is Cause.LEARNING_RATE_TOO_LARGE
    assert cause(LossLevel(2.3, 1.0, 2.3), NOTHING_GAINED, changed) is not Cause.LEARNING_RATE_TOO_LARGE


@pytest.mark.parametrize(("first", "found"), [(0.9, Cause.LEARNING_RATE_TOO_LARGE), (1.2, Cause.FLAT_REGION)])
def test_dead_units_after_first_steps_that_blew_up_mean_that_the_learning_rate_is_too_large(first, found):
    assert cause(replace(ACTIVE, dead=1.0), UNUSED, StartingPoint(loss=first, now=2.3)) is found


@pytest.mark.parametrize(("rise", "found"), [(9.9, Cause.FLAT_REGION), (10.1, Cause.LEARNING_RATE_TOO_LARGE)])
def test_where_the_start_was_not_measured_the_first_batch_shows_that_large_steps_killed_the_units(rise, found):
    blown_up = LossLevel(start=2.3 * rise, best=2.3, now=2.3, first=2.3)
    assert cause(replace(ACTIVE, dead=1.0), UNUSED, blown_up) is found


@pytest.mark.parametrize(("rise", "found"), [(9.9, Cause.FLAT_REGION), (10.1, Cause.LEARNING_RATE_TOO_LARGE)])
def test_the_scatter_of_losses_that_blow_up_does_not_hide_that_they_do(rise, found):
    start = StartingPoint(loss=2.3, now=2.3, batches=2)
    blown_up = LossLevel(start=2.3 * rise, best=2.3, now=2.3, first=2.3, start_spread=2.3 * rise)
    assert cause(replace(ACTIVE, dead=1.0), UNUSED, start, blown_up) is found


@pytest.mark.parametrize(("travelled", "found"), [(9e-5, Cause.LEARNING_RATE_TOO_SMALL), (2e-4, Cause.UNDECIDED)])
def test_weights_that_hardly_move_on_a_slope_mean_that_the_learning_rate_is_too_small_whatever_the_data_are(
    travelled, found
):
    standing, slope = replace(MOVING, travelled=travelled), relative_gain(relative_gradient=0.31)
    assert cause(standing, UNUSED, slope) is found
    assert cause(standing, UNUSED, relative_gain(relative_gradient=0.29)) is Cause.UNDECIDED
    assert cause(standing, UNUSED, slope, replace(ACTIVE, saturated=0.9)) is Cause.FLAT_REGION


@pytest.mark.parametrize(("travelled", "found"), [(9e-5, Cause.LEARNING_RATE_TOO_SMALL), (2e-4, Cause.UNDECIDED)])
def test_weights_that_hardly_move_need_no_trials_where_there_was_no_time_for_them(travelled, found):
    standing = replace(MOVING, travelled=travelled)
    assert cause(standing) is found
    assert needs_more_evidence(BASE.including(standing))  # trials would say what helps
    assert cause(standing, replace(EVEN, relative=0.29)) is Cause.UNDECIDED


@pytest.mark.parametrize("flat", [replace(ACTIVE, saturated=1.0), FADING])
@pytest.mark.parametrize(("rise", "found"), [(9.9, Cause.FLAT_REGION), (10.1, Cause.LEARNING_RATE_TOO_LARGE)])
def test_a_flat_region_to_which_the_first_steps_have_led_means_that_the_learning_rate_is_too_large(flat, rise, found):
    assert cause_when_tested(flat, LossLevel(start=2.3 * rise, best=2.3, now=2.3, first=2.3)) is found


@pytest.mark.parametrize(
    ("tenth", "tenfold", "found"),
    [(0.16, 0.51, False), (0.16, 0.1599, True), (0.16, 0.16, False), (0.15, 0.51, False), (0.0, 0.15, True)],
)
@pytest.mark.parametrize("now", [0.9, 1.3])
def test_a_learning_rate_is_not_too_large_if_ten_times_as_much_gains_more_than_shorter_steps(
    tenth, tenfold, now, found
):
    tried = relative_gain(**{"learning rate x0.1": tenth, "learning rate x10": tenfold})
    assert (cause(LossLevel(1.0, 0.4, now), tried) is Cause.LEARNING_RATE_TOO_LARGE) is found


@pytest.mark.parametrize(
    ("gain", "fallen", "found"),
    [
        (-2.81, None, Cause.UNDECIDED),
        (-math.inf, None, Cause.UNDECIDED),
        (-0.99, None, Cause.NOTHING_TO_LEARN),
        (-0.1, -0.21, Cause.UNDECIDED),
        (-math.inf, 0.5, Cause.UNDECIDED),
        (-2.81, 0.5, Cause.NOTHING_TO_LEARN),  # it has memorised its own batches
        (-0.1, -0.19, Cause.NOTHING_TO_LEARN),
    ],
)
def test_a_restart_that_blew_up_does_not_show_that_there_is_nothing_to_learn(gain, fallen, found):
    run = RestartedRun(gain, 300, fallen=fallen, seeds=2)
    verdict = diagnose(BASE.including(UNUSED, relative_gain(), Restart(gain, 2, 300, fallen=fallen, adam=run)))
    assert verdict.cause is found
    assert ("The loss blew up in the restart of 300 steps" in verdict.reason) is (found is Cause.UNDECIDED)


@pytest.mark.parametrize(
    ("spread", "batches", "found"),
    [
        (8.0, 16, Cause.UNDECIDED),  # 2.5 standard errors of 8 * sqrt(1/10 + 1/16) are 8.06
        (3.7, 16, Cause.LEARNING_RATE_TOO_LARGE),  # here they are 3.73
        (3.8, 16, Cause.UNDECIDED),
        (3.7, 3, Cause.UNDECIDED),
        (8.0, 0, Cause.LEARNING_RATE_TOO_LARGE),
        (None, 16, Cause.LEARNING_RATE_TOO_LARGE),
    ],
)
def test_a_rise_in_the_first_steps_counts_only_if_the_spread_of_single_batches_does_not_explain_it(
    spread, batches, found
):
    level = LossLevel(start=2.3 + 3.75, best=2.2, now=2.2, start_spread=spread)
    started = StartingPoint(loss=2.3, now=2.2, batches=batches)
    assert cause_when_tested(NOISY, USED, level, MOVING, NOTHING_GAINED, started) is found
    killed = Cause.LEARNING_RATE_TOO_LARGE if found is Cause.LEARNING_RATE_TOO_LARGE else Cause.FLAT_REGION
    assert cause_when_tested(replace(ACTIVE, dead=1.0), UNUSED, level, started) is killed


def test_one_hard_batch_among_the_first_does_not_mean_that_the_learning_rate_is_too_large():
    def found(losses):
        progress = Progress(horizon=1000)
        for step, loss in enumerate(losses + [1.0] * 40):
            progress.update(StepRecord(step, 0, loss, learning_rate=0.1, stepped=True))
        return cause_when_tested(
            progress.level, NOISY, USED, MOVING, NOTHING_GAINED, StartingPoint(1.0, now=0.99, batches=8)
        )

    assert found([0.9, 1.1, 0.8, 1.0, 18.0, 0.9, 1.2, 0.8, 1.1, 0.9]) is Cause.UNDECIDED
    assert found([1.0, 1.2, 2.0, 3.5, 3.0, 2.8, 3.1, 2.9, 3.0, 2.8]) is Cause.LEARNING_RATE_TOO_LARGE


@pytest.mark.parametrize("relative", [1.001e-3, 9.0])
@pytest.mark.parametrize(
    ("left", "found"),
    [(0.0, Cause.SETTLED), (0.0999, Cause.SETTLED), (0.1, Cause.NOT_UPDATING), (2.0, Cause.NOT_UPDATING)],
)
def test_weights_that_do_not_move_because_their_decay_cancels_the_gradient_have_settled(relative, left, found):
    changed = [replace(STILL, left_by_decay=left), replace(EVEN, relative=relative)]
    verdict = diagnose(BASE.including(*changed))
    assert (verdict.cause, verdict.stuck) == (found, found is Cause.NOT_UPDATING)
    assert cause_when_tested(*changed, relative_gain(decay_pull=1.0, adam=0.5)) is found
    assert cause_when_tested(replace(MOVING, left_by_decay=left)) is Cause.UNDECIDED  # the weights move


APART = [replace(MOVING, not_in_optimizer=0.5), replace(MOVING, no_grad_share=0.5)]
"""half of the parameters are not trained"""


def hidden(spread=0.1, start=100.5, now=100.1, shuffled=100.3):
    """Return readings of a loss that fell by 0.4 above a constant of 100; with other targets it rises by 0.2."""
    level = LossLevel(start, now, now, spread=spread)
    return [level, StartingPoint(start, now), InputUse(now, shuffled, moved=0.3, varied=True)]


@pytest.mark.parametrize("movement", APART)
@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (hidden(), False),
        (hidden(spread=0.0), False),
        (hidden(spread=0.134), True),  # 3 * 0.134 = 0.402
        (hidden(shuffled=100.299), True),
        (hidden(now=100.6, shuffled=101.0), True),
        (hidden()[:2], False),
        (hidden(spread=None)[:2], True),
        (hidden(spread=0.134)[:2], True),
    ],
)
def test_untrained_parameters_are_no_fault_if_the_others_learn_although_a_constant_hides_it(movement, changed, found):
    verdict = diagnose(BASE.including(movement, *changed))
    assert (verdict.cause is Cause.NOT_UPDATING) is found
    still = replace(movement, travelled=0.0)
    assert cause(still, replace(EVEN, relative=0.0), *changed) is Cause.NOT_UPDATING


@pytest.mark.parametrize(
    ("movement", "gains", "found"),
    [
        (APART[0], {"learning rate x10": 0.16}, False),
        (APART[0], {"this optimizer": 0.16}, False),
        (APART[0], {"learning rate x10": 0.15}, True),
        (APART[0], {"adam": 0.9, "line search": 0.9}, True),  # these trials move all parameters
        (APART[1], {"adam": 0.16}, False),
        (APART[1], {"adam": 0.15}, True),
    ],
)
def test_untrained_parameters_are_no_fault_if_the_others_can_lower_the_loss(movement, gains, found):
    assert (cause(movement, relative_gain(**gains)) is Cause.NOT_UPDATING) is found


def test_trials_are_run_before_a_model_with_untrained_parameters_is_called_not_updating():
    for movement in APART:
        assert needs_more_evidence(BASE.including(movement))
        assert not needs_more_evidence(BASE.including(movement, relative_gain()))
        assert not needs_more_evidence(BASE.including(replace(movement, travelled=0.0)))


@pytest.mark.parametrize(("shuffled", "found"), [(100.299, True), (100.3, False)])
def test_a_constant_in_the_loss_does_not_hide_that_the_inputs_are_used(shuffled, found):
    verdict = diagnose(BASE.including(*hidden(shuffled=shuffled), relative_gain(), NO_BETTER))
    assert (verdict.cause is Cause.NOTHING_TO_LEARN, verdict.stuck) == (found, found)
    assert diagnose(BASE.including(*hidden(shuffled=shuffled))).stuck is found


@pytest.mark.parametrize(
    ("own", "found"), [(0.0, Cause.SADDLE_POINT), (0.04, Cause.SADDLE_POINT), (0.06, Cause.UNDECIDED)]
)
def test_a_way_down_that_the_runs_own_optimizer_finds_as_well_is_no_saddle(own, found):
    assert cause(relative_gain(adam=0.2, this_optimizer=own), UNUSED) is found


@pytest.mark.parametrize(("own", "stuck"), [(0.02, True), (0.021, False)])
def test_a_run_that_goes_down_by_itself_is_not_held_back_by_the_shape_of_the_loss(own, stuck):
    verdict = diagnose(BASE.including(FADING, relative_gain(this_optimizer=own), UNUSED))
    assert (verdict.cause, verdict.stuck) == (Cause.FLAT_REGION, stuck)


def test_inputs_that_the_model_uses_are_not_said_to_tell_nothing():
    risen = replace(UNLEARNED, now=3.0)  # what it had learned is lost
    shown = (relative_gain(), NO_BETTER, risen, replace(MOVING, travelled=0.1))
    assert cause(*shown, UNUSED) is Cause.NOTHING_TO_LEARN
    assert cause(*shown, USED) is not Cause.NOTHING_TO_LEARN


def test_a_rate_that_was_decayed_to_nothing_makes_no_saddle():
    assert cause(relative_gain(adam=0.5), UNUSED) is Cause.SADDLE_POINT
    decayed = replace(MIDWAY, learning_rate=0.0049)
    assert cause(relative_gain(adam=0.5), UNUSED, decayed) is not Cause.SADDLE_POINT


def test_where_similar_samples_have_similar_targets_the_model_may_mix_the_samples():
    shown = (relative_gain(), NO_BETTER, UNUSED, replace(MOVING, travelled=0.1))
    agreeing = Outputs((), samples=64, loss=2.3, targets_agree=5.0)
    assert "what mixes the samples of a batch" in diagnose(BASE.including(*shown, agreeing)).advice
    verdict = diagnose(BASE.including(*shown, replace(agreeing, targets_agree=4.9)))
    assert verdict.cause is Cause.NOTHING_TO_LEARN
    assert "mixes the samples" not in verdict.advice


@pytest.mark.parametrize(
    ("readings", "nothing"),
    [
        ([], True),
        ([LinearFit(0.1, by_chance=0.01, samples=128)], False),
        ([LinearFit(0.01, by_chance=0.02, samples=128)], True),
        ([LinearFit(-0.1, by_chance=-0.2, samples=128)], True),
        ([Outputs((), 64, 2.3, targets_agree=9.0, targets_agree_at_loss=5.0)], False),  # nothing is mixed
        ([Outputs((), 64, 2.3, targets_agree=9.0, targets_agree_at_loss=1.0)], True),
        ([Outputs((), 64, 2.3, targets_agree=9.0, targets_agree_at_loss=1.0), LinearFit(0.1, 0.01, 128)], True),
        ([Outputs((), 64, 2.3, targets_agree=9.0, targets_agree_at_loss=3.0), LinearFit(0.1, 0.01, 128)], False),
    ],
)
def test_it_is_not_said_that_there_is_nothing_to_learn_where_the_inputs_are_seen_to_help(readings, nothing):
    shown = (relative_gain(), NO_BETTER, UNUSED, replace(MOVING, travelled=0.1), *readings)
    assert (cause(*shown) is Cause.NOTHING_TO_LEARN) is nothing


def test_weights_at_rest_whose_gradient_is_gone_at_the_step_are_not_updated_and_the_advice_names_zero_grad():
    resting = replace(MOVING, travelled=0.0)
    gone = GradientScale(0.0, 0.0, {"net": 0.0})
    verdict = diagnose(BASE.including(UNUSED, resting, gone, relative_gain(relative_gradient=2.0, adam=0.9)))
    assert verdict.cause is Cause.NOT_UPDATING
    assert "before `self.manual_backward(loss)`" in verdict.advice
    none = replace(MOVING, travelled=None, update_ratio=None, no_grad_share=1.0)
    unseen = BASE.including(UNUSED, none, gone, relative_gain(relative_gradient=2.0, adam=0.9))
    assert diagnose(unseen).cause is Cause.NOT_UPDATING
    moving = BASE.including(UNUSED, MOVING, gone, relative_gain(relative_gradient=2.0, adam=0.9))
    assert diagnose(moving).cause is not Cause.NOT_UPDATING
    flat = BASE.including(UNUSED, resting, gone, relative_gain(relative_gradient=0.0))
    assert "zero_grad" not in diagnose(flat).advice
