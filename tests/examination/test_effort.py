"""How much a diagnosis may compute: gradients are counted, and the clock is read once to choose the effort."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import pytest

from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import OverBudgetError
from lightning_landscape.examination.account import BESIDE, Account, ProbeReason
from lightning_landscape.examination.effort import FAST_BATCH_SECONDS, FEWEST_GRADIENTS, GRADIENTS, Effort
from lightning_landscape.examination.limits import NAMES, Limits
from lightning_landscape.examination.spending import Budget, Spending
from lightning_landscape.examination.stopwatch import (
    HOOKS_TIMED_EVERY,
    MAX_EXCESS,
    PLANNED_SECONDS,
    TIMED_BATCHES,
    Brake,
    Stopwatch,
)
from lightning_landscape.module_surface.meter import Meter
from tests.clocks import ManualClock


def new_account(gradients=500, *, sliced=False):
    made = Account()
    made.effort = Effort("auto", gradients, sliced=sliced, picture_every_n_steps=1)
    return made


def timed(clock, seconds, batches=TIMED_BATCHES):
    """Return a stopwatch that has timed batches of this length."""
    stopwatch = Stopwatch(clock, horizon=1000)
    for _ in range(batches):
        stopwatch.begin_batch()
        clock.move(seconds)
        stopwatch.end_batch()
    stopwatch.count(batches)
    return stopwatch


# The choice of the effort.


@pytest.mark.parametrize("effort", ["fast", "", None, 3, "Auto"])
def test_an_unknown_effort_is_refused_with_the_four_settings(effort):
    with pytest.raises(ValueError, match=r"'auto', 'light', 'standard', 'thorough', got "):
        LandscapeMonitor(effort=effort)


@pytest.mark.parametrize("effort", ["light", "thorough"])
def test_a_budget_that_contradicts_the_effort_is_refused_with_both_values(effort):
    with pytest.raises(ValueError, match=f"effort='{effort}'.*budget=0.02"):
        LandscapeMonitor(effort=effort, budget=0.02)


@pytest.mark.parametrize("given", [{"probes": [len]}, {"every_n_steps": 50}, {"loss_fn": lambda module, batch: 0}])
def test_an_argument_without_effect_with_the_light_effort_is_refused(given):
    with pytest.raises(ValueError, match=f"effort='light' runs no probes, so {next(iter(given))}="):
        LandscapeMonitor(effort="light", **given)
    assert LandscapeMonitor(effort="light", probes=()) is not None


@pytest.mark.parametrize("share", [0, -0.1, 1.5, math.nan, True, "2%"])
def test_a_budget_outside_0_and_1_is_refused_with_its_value(share):
    with pytest.raises(ValueError, match=f"budget must be a share above 0 and at most 1, got {share!r}"):
        LandscapeMonitor(budget=share)


def test_gradients_halve_with_each_doubling_of_the_batch_time_down_to_the_fewest():
    gradients = [Effort.chosen("auto", FAST_BATCH_SECONDS * 2.0**halvings).gradients for halvings in range(-6, 9)]
    assert gradients == [*[500] * 7, 250, 125, 62, *[FEWEST_GRADIENTS] * 5]


def test_the_batch_time_is_rounded_and_the_report_says_why_there_are_fewer_gradients():
    for seconds in (0.0005, *(FAST_BATCH_SECONDS * factor for factor in (1, 2, 4, 8)), 1.0):
        assert Effort.chosen("auto", seconds).gradients == Effort.chosen("auto", 1.33 * seconds).gradients
    assert "a batch took about 40 ms or more" in Effort.chosen("auto", 0.05).sentence()
    assert "ms" not in Effort.chosen("auto", 0.02).sentence()
    assert "ms" not in Effort.chosen("standard", 0.5).sentence()


@pytest.mark.parametrize("setting", GRADIENTS)
def test_a_named_effort_does_not_depend_on_the_batch_time(setting):
    assert {Effort.chosen(setting, seconds).gradients for seconds in (None, 1e-4, 10.0)} == {GRADIENTS[setting]}


def test_only_with_slow_batches_is_a_diagnosis_spread_over_checks():
    assert [Effort.chosen("auto", seconds).sliced for seconds in (0.001, 0.15, 0.17, 5.0)] == [False, False, True, True]


def test_the_batch_time_is_the_median_of_the_first_batches():
    clock = ManualClock()
    stopwatch = Stopwatch(clock)
    assert stopwatch.batch_seconds is None
    for seconds in (3.0, 0.01, 0.01, 0.02, 3600.0, 0.01):
        stopwatch.begin_batch()
        clock.move(seconds)
        stopwatch.end_batch()
    assert stopwatch.batch_seconds == pytest.approx(0.015)


def test_the_batch_time_excludes_loading_validation_and_checks():
    clock = ManualClock()
    stopwatch = Stopwatch(clock)
    for _ in range(5):
        stopwatch.begin_batch()
        clock.move(0.02)
        stopwatch.end_batch()
        clock.move(9.0)
        with stopwatch.spending():
            clock.move(9.0)
    assert stopwatch.batch_seconds == pytest.approx(0.02)


# The account.


def test_a_look_at_the_wiring_and_at_the_lowest_loss_may_compute_13_gradients_whatever_the_effort():
    account = Account()
    assert account.allowance(ProbeReason.FIRST_LOOK, 0) == 13
    account.spend(ProbeReason.FIRST_LOOK, 1.0)
    account.load_state_dict(account.state_dict(), "auto")
    assert account.spent == 1.0
    account.effort = Effort("standard", 500, sliced=False, picture_every_n_steps=1)
    assert account.allowance(ProbeReason.DIAGNOSIS, 10) == 500, "a look leaves the budget of the first diagnosis"


def test_without_an_effort_nothing_else_is_limited():
    for reason in set(ProbeReason) - BESIDE.keys():
        assert Account().allowance(reason, 0) is None
        assert Account().can_afford(reason, 0, 10**9)


def test_the_first_diagnosis_may_use_its_full_budget_and_all_together_twice_as_much():
    account, allowances = new_account(), []
    for _ in range(20):
        allowances.append(account.allowance(ProbeReason.DIAGNOSIS, 0))
        account.spend(ProbeReason.DIAGNOSIS, allowances[-1])
    assert allowances[:4] == [500, 250, 125, 62]
    assert sum(allowances) <= 1000


@pytest.mark.parametrize(("first", "second"), [(500, 250), (250, 125), (125, 125), (62, 62)])
def test_a_diagnosis_that_finishes_an_earlier_one_may_use_enough_for_a_restart(first, second):
    account = new_account(first)
    account.spend(ProbeReason.DIAGNOSIS, first)
    assert account.allowance(ProbeReason.UNFINISHED_DIAGNOSIS, 100) == second
    assert account.can_afford(ProbeReason.UNFINISHED_DIAGNOSIS, 100, 5)
    account.spend(ProbeReason.UNFINISHED_DIAGNOSIS, first)
    assert account.allowance(ProbeReason.UNFINISHED_DIAGNOSIS, 100) in (0, 1), "what the 100 steps have earned"


def test_a_later_diagnosis_of_what_may_be_noise_uses_what_scheduled_measurements_leave_and_else_waits():
    account = new_account(125)
    assert account.allowance(ProbeReason.PROBABLE_PLATEAU, 100) == 125, "the first of the run"
    account.spend(ProbeReason.PROBABLE_PLATEAU, 125)
    assert not account.can_afford(ProbeReason.PROBABLE_PLATEAU, 1000, 5)
    assert account.can_afford(ProbeReason.REPEATED_DIAGNOSIS, 1000, 5), "a plateau that is proven by now"
    assert account.allowance(ProbeReason.PROBABLE_PLATEAU, 100_000) == 125


def test_gradients_that_a_diagnosis_does_not_use_are_left_for_the_next():
    account = new_account()
    account.spend(ProbeReason.DIAGNOSIS, 100)
    assert account.allowance(ProbeReason.DIAGNOSIS, 100) == 450


def test_scheduled_measurements_may_use_1_percent_of_the_steps_and_none_of_the_budget_of_diagnoses():
    account = new_account()
    assert account.allowance(ProbeReason.SCHEDULE, 2000) == 20
    assert not account.can_afford(ProbeReason.SCHEDULE, 1200, 14)
    assert account.can_afford(ProbeReason.SCHEDULE, 2000, 14)
    account.spend(ProbeReason.SCHEDULE, 19)
    assert account.allowance(ProbeReason.SCHEDULE, 2000) == 1
    assert account.allowance(ProbeReason.DIAGNOSIS, 2000) == 500


@pytest.mark.parametrize(("gradients", "for_tests"), [(0, 0), (60, 18), (125, 18), (500, 62), (1500, 187)])
def test_tests_of_the_loss_may_use_an_eighth_of_a_diagnosis_and_enough_for_two_where_it_is_small(gradients, for_tests):
    account = new_account(gradients)
    assert account.allowance(ProbeReason.STALL_TEST, steps=0) == for_tests
    account.spend(ProbeReason.STALL_TEST, for_tests)
    assert account.allowance(ProbeReason.STALL_TEST, steps=0) == 0


def test_in_a_long_run_tests_of_the_loss_may_also_use_half_a_percent_of_the_steps():
    account = new_account(60)
    account.spend(ProbeReason.SCHEDULE, 100)
    account.spend(ProbeReason.STALL_TEST, 18)
    assert account.allowance(ProbeReason.STALL_TEST, steps=10_000) == 50


def test_in_a_long_run_a_late_plateau_has_the_full_budget_again():
    account = new_account()
    account.spend(ProbeReason.DIAGNOSIS, 1000)
    assert account.allowance(ProbeReason.DIAGNOSIS, 100) == 1
    assert account.allowance(ProbeReason.DIAGNOSIS, 100_000) == 500
    account.spend(ProbeReason.DIAGNOSIS, 500)
    assert account.allowance(ProbeReason.SCHEDULE, 100_000) == 1000 - 500


def test_the_first_diagnosis_of_a_plateau_may_always_begin_and_a_repeated_one_waits():
    account = new_account()
    account.spend(ProbeReason.DIAGNOSIS, 990)
    assert account.can_afford(ProbeReason.DIAGNOSIS, 100, 14)
    assert not account.can_afford(ProbeReason.REPEATED_DIAGNOSIS, 100, 14)


def test_a_loaded_account_continues_and_chooses_the_effort_anew_for_another_setting():
    account = new_account(250)
    account.spend(ProbeReason.DIAGNOSIS, 100)
    account.spend(ProbeReason.SCHEDULE, 7)
    same, other = Account(), Account()
    same.load_state_dict(account.state_dict(), "auto")
    other.load_state_dict(account.state_dict(), "thorough")
    assert same.state_dict() == account.state_dict()
    assert other.effort is None
    assert other.spent == 107


def test_gradients_for_a_remedy_are_neither_limited_nor_counted():
    account = new_account()
    account.spend(ProbeReason.DIAGNOSIS, 1000)
    assert account.allowance(ProbeReason.REMEDY, 0) is None
    account.spend(ProbeReason.REMEDY, 80)
    assert account.spent == 1000


# The meter.


def test_a_forward_pass_is_a_third_of_a_gradient_and_a_hessian_product_two():
    meter = Meter(ManualClock())
    meter.forward()
    meter.backward()
    assert meter.gradients == 1
    meter.product()
    assert meter.gradients == 3


def test_beyond_its_limit_the_meter_raises_an_error():
    meter = Meter(ManualClock())
    meter.product()
    with meter.limited(1.2, "1 that it had announced"):
        meter.forward()
        meter.backward()
        with pytest.raises(OverBudgetError, match="after 1 gradients of one batch, of 1 that it had announced"):
            meter.forward()
    meter.forward()


def test_a_jump_of_the_clock_counts_as_one_slow_evaluation():
    clock = ManualClock()
    meter = Meter(clock)
    for seconds in (0.01, 0.01, 86_400.0, 0.01, -500.0):
        clock.move(seconds)
        meter.forward()
    assert meter.seconds < 1.0


# One check.


def spending(account, reason=ProbeReason.DIAGNOSIS, steps=100, clock=None, **known):
    clock = clock or ManualClock()
    meter = Meter(clock)
    return Spending(account, reason, steps, meter, Brake(timed(clock, 0.01)), **known)


def evaluate(check, gradients):
    for _ in range(gradients):
        check.meter.forward()
        check.meter.backward()


def test_follow_up_probes_have_a_budget_of_their_own():
    account = new_account()
    check = spending(account)
    evaluate(check, 300)
    check.charge()
    assert check.left() == 200
    assert check.left(follow_up=True) == 350  # half of what is left of twice 500
    evaluate(check, 50)
    check.charge(follow_up=True)
    assert (check.left(), check.left(follow_up=True)) == (200, 300)
    assert account.spent == 350


def test_a_diagnosis_in_slices_uses_a_sixth_of_the_steps_so_far_and_continues_at_the_next_check():
    account = new_account(60, sliced=True)
    first = spending(account, steps=120)
    assert first.left() == 20
    assert first.waits(30)
    assert not first.waits(61)
    evaluate(first, 20)
    first.charge()
    assert spending(account, steps=150, budget=first.budget).left() == 5  # a sixth of all steps so far, less 20
    assert spending(account, steps=400, budget=first.budget).left() == 40


def test_gradients_of_an_unlimited_check_are_counted():
    account = new_account()
    check = spending(account, ProbeReason.SCHEDULE, unlimited=True)
    assert check.left() is None
    evaluate(check, 5)
    check.charge()
    assert account.allowance(ProbeReason.SCHEDULE, 1000) == 5


def test_a_budget_survives_a_checkpoint():
    assert Budget.from_dict(Budget(60, 12.5).to_dict()) == Budget(60, 12.5)
    assert Budget.from_dict(Budget().to_dict()).left is None


# The brake.


def test_the_brake_ends_probes_after_5_times_the_planned_time_and_not_after_twice():
    clock = ManualClock()
    brake, meter = Brake(timed(clock, 0.01)), Meter(clock)
    for _ in range(100):
        clock.move(2 * PLANNED_SECONDS / 100)
        meter.forward()
    assert brake.left(meter, 500, first=True) is None
    for _ in range(100):
        clock.move(MAX_EXCESS * PLANNED_SECONDS / 100)
        meter.forward()
    assert brake.left(meter, 500, first=True) == 0
    assert "several times the planned time" in brake.reason(meter, 500)[0]
    assert brake.left(meter, None, first=True) is None  # probes without a limit are not ended


def test_the_clock_does_not_end_a_measurement_for_a_remedy():
    clock = ManualClock()
    check = Spending(new_account(), ProbeReason.REMEDY, 100, Meter(clock), Brake(timed(clock, 0.01), 1e-9))
    assert check.left() is None


def test_the_note_on_a_probe_that_is_left_out_names_the_setting_that_includes_it():
    assert spending(new_account(500)).why_left_out(700.0, 480)[1] == "effort='thorough'"
    assert spending(new_account(62)).why_left_out(700.0, 40)[1] == "effort='standard'"
    assert spending(new_account(500), ProbeReason.SCHEDULE).why_left_out(4.0, 2) == (
        "needs 4 gradients of one batch, 2 are left",
        "every_n_steps=...",
    )
    thorough = Account()
    thorough.effort = Effort.chosen("thorough", 0.001)
    assert spending(thorough).why_left_out(7000.0, 1400) == ("needs 7000 gradients of one batch, 1400 are left", "")


def test_the_budget_ends_probes_above_its_share_but_not_the_shortest_first_diagnosis():
    clock = ManualClock()
    stopwatch, meter = timed(clock, 0.01), Meter(clock)  # 1000 steps of 10 ms: a share of 10 s
    brake = Brake(stopwatch, 0.2)
    assert brake.left(meter, 500, first=False) == pytest.approx(200, abs=4)
    with stopwatch.spending():
        clock.move(5.0)
    assert brake.left(meter, 500, first=False) == 0
    assert brake.left(meter, 500, first=True) == FEWEST_GRADIENTS
    assert brake.reason(meter, 500) == ("budget=0.2 of the training time is used up", "budget=None")


# The time that the monitor takes.


def test_the_overhead_is_the_time_of_the_monitor_over_that_of_training():
    clock = ManualClock()
    stopwatch = Stopwatch(clock, 1000)
    assert stopwatch.overhead == 0.0
    clock.move(10.0)
    with stopwatch.spending():
        clock.move(0.5)
    assert stopwatch.overhead == pytest.approx(0.05)
    assert stopwatch.notes() == []
    stopwatch.count(1)
    assert stopwatch.notes() == ["watching and diagnosing took 0.5 s"]
    stopwatch.end()
    clock.move(1000.0)
    assert stopwatch.overhead == pytest.approx(0.05)


def test_hooks_of_one_batch_in_17_are_timed_and_a_check_within_them_is_counted_once():
    clock = ManualClock()
    stopwatch = Stopwatch(clock, 1000)
    sampled = []
    for batch in range(1, 3 * HOOKS_TIMED_EVERY):
        clock.move(0.1)
        if stopwatch.sampling:
            sampled.append(batch)
            start = stopwatch.training
            clock.move(0.001)
            with stopwatch.spending():
                clock.move(0.5)
            stopwatch.sample(start)
        assert stopwatch.end_batch() == batch
    assert sampled == [HOOKS_TIMED_EVERY + 1, 2 * HOOKS_TIMED_EVERY + 1]
    assert stopwatch.spent == pytest.approx(2 * (0.5 + HOOKS_TIMED_EVERY * 0.001))


def test_a_clock_that_stands_still_causes_no_division_by_zero():
    clock = ManualClock()
    stopwatch = Stopwatch(clock, 10)
    stopwatch.count(10)
    assert stopwatch.overhead == 0.0
    with stopwatch.spending():
        clock.move(1.0)
    assert stopwatch.overhead == 0.0
    assert Brake(stopwatch, 0.02).left(Meter(clock), 500, first=False) == 0


def test_pictures_during_the_run_are_rarer_where_steps_are_fast():
    every = [Effort.chosen("auto", seconds).picture_every_n_steps for seconds in (0.001, 0.01, 0.1, 1.0, 100.0)]
    assert every == [65536, 8192, 1024, 64, 1]
    assert all(a > b for a, b in itertools.pairwise(every))


def test_pictures_are_drawn_with_a_verdict_and_else_when_the_run_is_twice_as_long_up_to_a_longest_gap():
    limits = Limits("standard", None, limits_schedule=True)
    limits.account.effort = Effort("standard", 500, sliced=False, picture_every_n_steps=10)
    drawn = [steps for steps in range(5, 500, 5) if limits.may_draw(steps, verdict=False)]
    assert drawn == [10, 20, 40, 80, 160, 240, 320, 400, 480]
    assert limits.may_draw(500, verdict=True)
    assert not limits.may_draw(575, verdict=False)
    assert limits.may_draw(580, verdict=False)


def test_a_test_of_the_loss_that_is_left_out_names_the_effort_and_lines_that_are_left_out_their_interval():
    limits, host = Limits("standard", None, limits_schedule=True), SimpleNamespace(from_first_rank=lambda value: value)
    limits.account = new_account()
    limits.account.spend(ProbeReason.STALL_TEST, 62)
    assert not limits.cover(host, ProbeReason.STALL_TEST, 100, 9)
    assert not limits.cover(host, ProbeReason.SCHEDULE, 100, 5)
    assert limits.left_out[NAMES[ProbeReason.STALL_TEST]][1] == "effort='thorough'"
    assert limits.left_out[NAMES[ProbeReason.SCHEDULE]][1] == "every_n_steps=..."


def test_what_is_left_out_is_said_once():
    limits = Limits("standard", None, limits_schedule=True)
    limits.left_out = {
        "LossLine(anchor='initial', points=11)": ("too few", "every_n_steps=..."),
        NAMES[ProbeReason.SCHEDULE]: ("too few", "every_n_steps=..."),
        "LossLine(anchor='best', points=11)": ("too few", "every_n_steps=..."),
    }
    assert limits.notes() == ["left out to save time: lines to earlier weights (to include: every_n_steps=...)"]
    del limits.left_out["LossLine(anchor='initial', points=11)"], limits.left_out["LossLine(anchor='best', points=11)"]
    assert "regular lines to earlier weights" in limits.notes()[0]
