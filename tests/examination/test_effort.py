"""How much work an examination may take: decided by counting gradients, and by a clock only once."""

from __future__ import annotations

import itertools
import math

import pytest

from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import OverBudgetError
from lightning_landscape.examination.account import Account, ProbeReason
from lightning_landscape.examination.effort import FAST, FEWEST, GRADIENTS, Effort
from lightning_landscape.examination.spending import Budget, Spending
from lightning_landscape.examination.stopwatch import PLANNED, SAMPLED, SEVERAL, TIMED, Brake, Stopwatch
from lightning_landscape.module_surface.meter import Meter
from tests.clocks import HandClock


def account(gradients=500, *, sliced=False):
    made = Account()
    made.effort = Effort("auto", gradients, sliced=sliced, picture_every_n_steps=1)
    return made


def timed(clock, seconds, batches=TIMED):
    """A stopwatch that has seen batches of this length."""
    stopwatch = Stopwatch(clock, horizon=1000)
    for _ in range(batches):
        stopwatch.begin_batch()
        clock.move(seconds)
        stopwatch.end_batch()
    stopwatch.count(batches)
    return stopwatch


# The choice.


@pytest.mark.parametrize("effort", ["fast", "", None, 3, "Auto"])
def test_an_unknown_effort_is_refused_with_the_four_that_there_are(effort):
    with pytest.raises(ValueError, match=r"'auto', 'light', 'standard', 'thorough', got "):
        LandscapeMonitor(effort=effort)


@pytest.mark.parametrize("effort", ["light", "thorough"])
def test_a_budget_that_contradicts_the_effort_is_refused_with_both(effort):
    with pytest.raises(ValueError, match=f"effort='{effort}'.*budget=0.02"):
        LandscapeMonitor(effort=effort, budget=0.02)


@pytest.mark.parametrize("given", [{"probes": [len]}, {"every_n_steps": 50}, {"loss_fn": len}])
def test_what_would_have_no_effect_with_the_light_effort_is_refused(given):
    with pytest.raises(ValueError, match=f"effort='light' runs no examination, so {next(iter(given))}="):
        LandscapeMonitor(effort="light", **given)
    assert LandscapeMonitor(effort="light", probes=()) is not None


@pytest.mark.parametrize("share", [0, -0.1, 1.5, math.nan, True, "2%"])
def test_a_budget_that_is_no_share_is_refused_with_its_value(share):
    with pytest.raises(ValueError, match=f"budget must be a share above 0 and at most 1, got {share!r}"):
        LandscapeMonitor(budget=share)


def test_the_work_halves_with_each_doubling_of_a_batch_and_never_falls_below_the_fewest():
    found = [Effort.chosen("auto", FAST * 2.0**halvings).gradients for halvings in range(-6, 9)]
    assert found == [*[500] * 7, 250, 125, 62, *[FEWEST] * 5]


def test_the_time_of_a_batch_is_rounded_and_the_report_says_why_there_is_less_work_than_usual():
    for seconds in (0.0005, FAST, 2 * FAST, 4 * FAST, 8 * FAST, 1.0):
        assert Effort.chosen("auto", seconds).gradients == Effort.chosen("auto", 1.33 * seconds).gradients
    assert "a batch took about 40 ms or more" in Effort.chosen("auto", 0.05).sentence()
    assert "ms" not in Effort.chosen("auto", 0.02).sentence()
    assert "ms" not in Effort.chosen("standard", 0.5).sentence()


@pytest.mark.parametrize("setting", GRADIENTS)
def test_a_named_effort_asks_no_clock(setting):
    assert {Effort.chosen(setting, seconds).gradients for seconds in (None, 1e-4, 10.0)} == {GRADIENTS[setting]}


def test_only_slow_batches_are_examined_in_slices():
    assert [Effort.chosen("auto", seconds).sliced for seconds in (0.001, 0.15, 0.17, 5.0)] == [False, False, True, True]


def test_the_first_batches_are_timed_and_their_median_counts():
    clock = HandClock()
    stopwatch = Stopwatch(clock)
    assert stopwatch.batch_seconds is None
    for seconds in (3.0, 0.01, 0.01, 0.02, 3600.0, 0.01):
        stopwatch.begin_batch()
        clock.move(seconds)
        stopwatch.end_batch()
    assert stopwatch.batch_seconds == pytest.approx(0.015)


def test_loading_validation_and_checks_between_two_batches_are_no_part_of_them():
    clock = HandClock()
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


def test_without_an_effort_nothing_is_limited():
    for occasion in ProbeReason:
        assert Account().allowance(occasion, 0) is None
        assert Account().can_afford(occasion, 0, 10**9)


def test_the_first_diagnosis_takes_the_whole_and_all_together_at_most_twice_that():
    found, taken = account(), []
    for _ in range(20):
        taken.append(found.allowance(ProbeReason.DIAGNOSIS, 0))
        found.spend(ProbeReason.DIAGNOSIS, taken[-1])
    assert taken[:4] == [500, 250, 125, 62]
    assert sum(taken) <= 1000


def test_what_a_diagnosis_does_not_take_is_there_for_the_next():
    found = account()
    found.spend(ProbeReason.DIAGNOSIS, 100)
    assert found.allowance(ProbeReason.DIAGNOSIS, 100) == 450


def test_looks_take_two_percent_of_the_steps_and_nothing_of_what_a_diagnosis_may_take():
    found = account()
    assert found.allowance(ProbeReason.SCHEDULE, 1000) == 20
    assert not found.can_afford(ProbeReason.SCHEDULE, 600, 14)
    assert found.can_afford(ProbeReason.SCHEDULE, 1000, 14)
    found.spend(ProbeReason.SCHEDULE, 19)
    assert found.allowance(ProbeReason.SCHEDULE, 1000) == 1
    assert found.allowance(ProbeReason.DIAGNOSIS, 1000) == 500


def test_in_a_long_run_a_late_plateau_is_examined_in_full_again():
    found = account()
    found.spend(ProbeReason.DIAGNOSIS, 1000)
    assert found.allowance(ProbeReason.DIAGNOSIS, 100) == 2
    assert found.allowance(ProbeReason.DIAGNOSIS, 100_000) == 500
    found.spend(ProbeReason.DIAGNOSIS, 500)
    assert found.allowance(ProbeReason.SCHEDULE, 100_000) == 2000 - 500


def test_a_first_diagnosis_is_made_in_any_case_and_a_later_one_of_the_same_plateau_waits():
    found = account()
    found.spend(ProbeReason.DIAGNOSIS, 990)
    assert found.can_afford(ProbeReason.DIAGNOSIS, 100, 14)
    assert not found.can_afford(ProbeReason.REPEATED_DIAGNOSIS, 100, 14)


def test_an_account_goes_on_where_it_was_saved_and_a_new_setting_is_chosen_anew():
    found = account(250)
    found.spend(ProbeReason.DIAGNOSIS, 100)
    found.spend(ProbeReason.SCHEDULE, 7)
    same, other = Account(), Account()
    same.load_state_dict(found.state_dict(), "auto")
    other.load_state_dict(found.state_dict(), "thorough")
    assert same.state_dict() == found.state_dict()
    assert other.effort is None
    assert other.spent == 107


def test_what_a_remedy_needs_is_neither_limited_nor_charged():
    found = account()
    found.spend(ProbeReason.DIAGNOSIS, 1000)
    assert found.allowance(ProbeReason.REMEDY, 0) is None
    found.spend(ProbeReason.REMEDY, 80)
    assert found.spent == 1000


# The meter.


def test_a_forward_pass_is_a_third_of_a_gradient_and_a_hessian_product_two():
    meter = Meter(HandClock())
    meter.forward()
    meter.backward()
    assert meter.gradients == 1
    meter.product()
    assert meter.gradients == 3


def test_beyond_its_limit_nothing_is_evaluated():
    meter = Meter(HandClock())
    meter.product()
    with meter.limited(1.2, "1 that it had announced"):
        meter.forward()
        meter.backward()
        with pytest.raises(OverBudgetError, match="after 1 gradients of one batch, of 1 that it had announced"):
            meter.forward()
    meter.forward()


def test_a_jump_of_the_clock_is_one_slow_evaluation():
    clock = HandClock()
    meter = Meter(clock)
    for seconds in (0.01, 0.01, 86_400.0, 0.01, -500.0):
        clock.move(seconds)
        meter.forward()
    assert meter.seconds < 1.0


# One check.


def spending(found, occasion=ProbeReason.DIAGNOSIS, steps=100, clock=None, **known):
    clock = clock or HandClock()
    meter = Meter(clock)
    return Spending(found, occasion, steps, meter, Brake(timed(clock, 0.01)), **known)


def evaluate(check, gradients):
    for _ in range(gradients):
        check.meter.forward()
        check.meter.backward()


def test_what_follows_a_diagnosis_has_a_purse_of_its_own():
    found = account()
    check = spending(found)
    evaluate(check, 300)
    check.charge()
    assert check.left() == 200
    assert check.left(follow_up=True) == 350  # half of what is left of twice 500
    evaluate(check, 50)
    check.charge(follow_up=True)
    assert (check.left(), check.left(follow_up=True)) == (200, 300)
    assert found.spent == 350


def test_a_sliced_diagnosis_takes_a_quarter_of_the_steps_and_goes_on_at_the_next_check():
    found = account(60, sliced=True)
    first = spending(found, steps=80)
    assert first.left() == 20
    assert first.waits(30)
    assert not first.waits(61)
    evaluate(first, 20)
    first.charge()
    later = spending(found, steps=300, budget=first.budget)
    assert later.left() == 40


def test_an_unlimited_check_is_charged_all_the_same():
    found = account()
    check = spending(found, ProbeReason.SCHEDULE, unlimited=True)
    assert check.left() is None
    evaluate(check, 5)
    check.charge()
    assert found.allowance(ProbeReason.SCHEDULE, 1000) == 15


def test_a_purse_survives_a_checkpoint():
    assert Budget.from_dict(Budget(60, 12.5).to_dict()) == Budget(60, 12.5)
    assert Budget.from_dict(Budget().to_dict()).left is None


# The brake.


def test_an_examination_that_takes_several_times_what_was_planned_is_ended_and_one_that_takes_twice_is_not():
    clock = HandClock()
    brake, meter = Brake(timed(clock, 0.01)), Meter(clock)
    for _ in range(100):
        clock.move(2 * PLANNED / 100)
        meter.forward()
    assert brake.left(meter, 500, first=True) is None
    for _ in range(100):
        clock.move(SEVERAL * PLANNED / 100)
        meter.forward()
    assert brake.left(meter, 500, first=True) == 0
    assert "several times the planned time" in brake.reason(meter, 500)[0]
    assert brake.left(meter, None, first=True) is None  # what is not limited is not ended


def test_what_a_remedy_needs_is_not_ended_by_the_clock():
    clock = HandClock()
    check = Spending(account(), ProbeReason.REMEDY, 100, Meter(clock), Brake(timed(clock, 0.01), 1e-9))
    assert check.left() is None


def test_what_is_left_out_names_the_setting_with_which_it_would_be_included():
    assert spending(account(500)).why_left_out(700.0, 480)[1] == "effort='thorough'"
    assert spending(account(62)).why_left_out(700.0, 40)[1] == "effort='standard'"
    assert spending(account(500), ProbeReason.SCHEDULE).why_left_out(4.0, 2) == (
        "needs 4 gradients of one batch, 2 are left",
        "every_n_steps=...",
    )
    thorough = Account()
    thorough.effort = Effort.chosen("thorough", 0.001)
    assert spending(thorough).why_left_out(7000.0, 1400) == ("needs 7000 gradients of one batch, 1400 are left", "")


def test_a_budget_ends_what_exceeds_its_share_but_not_the_shortest_first_diagnosis():
    clock = HandClock()
    stopwatch, meter = timed(clock, 0.01), Meter(clock)  # 1000 steps of 10 ms: a share of 10 s
    brake = Brake(stopwatch, 0.2)
    assert brake.left(meter, 500, first=False) == pytest.approx(200, abs=4)
    with stopwatch.spending():
        clock.move(5.0)
    assert brake.left(meter, 500, first=False) == 0
    assert brake.left(meter, 500, first=True) == FEWEST
    assert brake.reason(meter, 500) == ("budget=0.2 of the training time is used up", "budget=None")


# What watching costs.


def test_the_overhead_is_the_time_spent_over_that_of_training():
    clock = HandClock()
    stopwatch = Stopwatch(clock, 1000)
    assert stopwatch.overhead == 0.0
    clock.move(10.0)
    with stopwatch.spending():
        clock.move(0.5)
    assert stopwatch.overhead == pytest.approx(0.05)
    assert stopwatch.notes() == []
    stopwatch.count(1)
    assert stopwatch.notes() == ["watching took 0.5 s, 5.0% of the training time"]
    stopwatch.end()
    clock.move(1000.0)
    assert stopwatch.overhead == pytest.approx(0.05)


def test_one_batch_in_17_stands_for_the_hooks_of_all_and_what_is_spent_in_them_is_not_counted_twice():
    clock = HandClock()
    stopwatch = Stopwatch(clock, 1000)
    sampled = []
    for batch in range(1, 3 * SAMPLED):
        clock.move(0.1)
        if stopwatch.sampling:
            sampled.append(batch)
            start = stopwatch.training
            clock.move(0.001)
            with stopwatch.spending():
                clock.move(0.5)
            stopwatch.sample(start)
        assert stopwatch.end_batch() == batch
    assert sampled == [SAMPLED + 1, 2 * SAMPLED + 1]
    assert stopwatch.spent == pytest.approx(2 * (0.5 + SAMPLED * 0.001))


def test_a_clock_that_stands_still_divides_nothing_by_zero():
    clock = HandClock()
    stopwatch = Stopwatch(clock, 10)
    stopwatch.count(10)
    assert stopwatch.overhead == 0.0
    with stopwatch.spending():
        clock.move(1.0)
    assert stopwatch.overhead == 0.0
    assert Brake(stopwatch, 0.02).left(Meter(clock), 500, first=False) == 0


def test_pictures_on_the_way_are_rarer_where_steps_are_quick():
    every = [Effort.chosen("auto", seconds).picture_every_n_steps for seconds in (0.001, 0.01, 0.1, 1.0, 100.0)]
    assert every == [16384, 2048, 256, 16, 1]
    assert all(a > b for a, b in itertools.pairwise(every))
