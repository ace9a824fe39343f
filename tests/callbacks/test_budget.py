"""What a monitor may cost, on a clock that stands still but where it is told to move."""

from __future__ import annotations

import math

import pytest

from lightning_landscape import LandscapeMonitor
from lightning_landscape.callbacks import budget as module
from lightning_landscape.callbacks.budget import (
    FEWEST_GRADIENTS,
    FIRST,
    IN_FULL,
    LEAST,
    PICTURES,
    SAMPLED,
    Budget,
    Occasion,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def trained(clock, budget, steps: int, each: float) -> None:
    clock.now += steps * each
    budget.count(steps)


def spend(clock, budget, seconds: float) -> None:
    with budget.spending():
        clock.now += seconds


def allowed(budget, occasion):
    with budget.probing(occasion) as allowance:
        return allowance


def test_before_the_first_step_nobody_counts(clock):
    assert allowed(Budget(0.02, 100), Occasion.FIRST_EXAMINATION) is None
    assert Budget(0.02, 100).overhead == 0.0


def test_the_overhead_is_the_time_spent_over_that_of_training(clock):
    budget = Budget(0.02, 1000)
    trained(clock, budget, 100, 0.1)
    spend(clock, budget, 0.5)
    assert budget.overhead == pytest.approx(0.05)
    assert budget.notes() == [
        "watching took 0.5 s, 5.0% of the training time (budget 0.02, or 1.2 s where that is more)"
    ]


def test_one_batch_in_17_stands_for_the_hooks_of_all_and_what_is_spent_in_them_is_not_counted_twice(clock):
    budget = Budget(0.02, 1000)
    sampled = []
    for batch in range(1, 3 * SAMPLED):
        clock.now += 0.1
        if budget.sampling:
            sampled.append(batch)
            start = budget.training
            clock.now += 0.001
            spend(clock, budget, 0.5)
            budget.sample(start)
        assert budget.end_batch() == batch
    assert sampled == [SAMPLED + 1, 2 * SAMPLED + 1]
    assert budget.spent == pytest.approx(2 * (0.5 + SAMPLED * 0.001))


def test_a_long_run_may_spend_its_share_of_what_it_will_take(clock):
    budget = Budget(0.02, 100_000)
    trained(clock, budget, 1000, 0.1)
    assert allowed(budget, Occasion.FIRST_EXAMINATION).gradients == pytest.approx(2000, abs=1)
    spend(clock, budget, 50.0)
    assert allowed(budget, Occasion.EXAMINATION).gradients == pytest.approx(1500, abs=1)


def test_an_allowance_runs_out_as_the_clock_goes_on(clock):
    budget = Budget(0.02, 100_000)
    trained(clock, budget, 1000, 0.1)
    allowance = allowed(budget, Occasion.FIRST_EXAMINATION)
    clock.now += 150.0
    assert allowance.gradients == pytest.approx(500, abs=1)
    clock.now += 1000.0
    assert allowance.gradients == 0


def test_where_nothing_is_left_the_first_examination_of_an_episode_is_shorter_and_the_others_wait(clock):
    budget = Budget(0.02, 100_000)
    trained(clock, budget, 1000, 0.1)
    spend(clock, budget, 300.0)
    assert allowed(budget, Occasion.FIRST_EXAMINATION).gradients == pytest.approx(FIRST * 2000, abs=1)
    assert budget.pays(Occasion.FIRST_EXAMINATION)
    assert not budget.pays(Occasion.EXAMINATION)
    assert not budget.pays(Occasion.LOOK)


def test_where_nobody_counts_everything_is_paid_for_and_nothing_told(clock):
    budget = Budget(None, 100)
    trained(clock, budget, 50, 0.1)
    spend(clock, budget, 1000.0)
    assert budget.pays(Occasion.EXAMINATION)
    assert budget.pays(Occasion.LOOK)
    assert allowed(budget, Occasion.EXAMINATION) is None
    assert budget.notes() == []


def test_dear_steps_leave_the_shortest_trials(clock):
    budget = Budget(0.02, 1200)
    trained(clock, budget, 100, 0.05)
    spend(clock, budget, 10.0)
    assert allowed(budget, Occasion.FIRST_EXAMINATION).gradients == pytest.approx(FEWEST_GRADIENTS, abs=1)


@pytest.mark.parametrize(("each", "gradients"), [(0.001, IN_FULL), (0.01, LEAST / 0.01)])
def test_a_run_of_seconds_is_examined_in_full_and_a_minute_is_not(clock, each, gradients):
    budget = Budget(0.02, 1200)
    trained(clock, budget, 100, each)
    assert allowed(budget, Occasion.FIRST_EXAMINATION).gradients == pytest.approx(gradients, abs=1)


def test_a_look_that_can_wait_waits_for_the_time_that_pays_for_it(clock):
    budget = Budget(0.02, 100_000)
    trained(clock, budget, 1000, 0.1)  # 2 s earned, half of them for what can wait
    assert not budget.pays(Occasion.LOOK)
    trained(clock, budget, 9000, 0.1)
    assert budget.pays(Occasion.LOOK)
    spend(clock, budget, 19.0)
    assert not budget.pays(Occasion.LOOK)


def test_what_a_short_run_may_spend_in_full_keeps_no_look_from_it(clock):
    budget = Budget(0.02, 800)
    trained(clock, budget, 100, 0.011)  # 1500 of its steps are 16 s
    assert budget.pays(Occasion.LOOK)


def test_after_the_fit_the_clock_stands_still(clock):
    budget = Budget(0.02, 1000)
    trained(clock, budget, 100, 0.1)
    spend(clock, budget, 0.5)
    budget.end()
    clock.now += 1000.0
    assert budget.training == pytest.approx(10.0)
    assert budget.overhead == pytest.approx(0.05)


def test_a_run_of_unknown_length_may_spend_its_share_of_what_has_passed(clock):
    budget = Budget(0.02)
    trained(clock, budget, 100_000, 0.1)
    assert allowed(budget, Occasion.EXAMINATION).gradients == pytest.approx(2000, abs=1)


def test_a_clock_that_stands_still_divides_nothing_by_zero(clock):
    budget = Budget(0.02, 10)
    budget.count(10)
    assert allowed(budget, Occasion.FIRST_EXAMINATION) is None
    assert budget.overhead == 0.0
    spend(clock, budget, 1.0)
    assert budget.overhead == 0.0


@pytest.mark.parametrize("share", [0, -0.1, 1.5, math.nan, True, "2%"])
def test_a_share_that_is_none_is_refused_with_its_value(share):
    with pytest.raises(ValueError, match=f"budget must be a share above 0 and at most 1, got {share!r}"):
        LandscapeMonitor(budget=share)


def test_pictures_that_could_wait_leave_enough_for_those_at_the_end_and_take_half_of_what_is_earned_at_most(clock):
    budget = Budget(0.02, 100_000)
    trained(clock, budget, 10_000, 0.1)  # 20 s earned
    assert budget.can_draw
    with budget.drawing():
        clock.now += 3.0
    assert budget.can_draw  # two more like it fit into 10 s
    with budget.drawing():
        clock.now += 3.0
    assert not budget.can_draw  # only those at the end do
    assert Budget(None).can_draw


def test_in_a_run_of_a_minute_only_the_pictures_that_cannot_wait_are_paid_for(clock):
    budget = Budget(0.02, 600)
    trained(clock, budget, 599, 0.1)
    assert not budget.can_draw
    trained(clock, budget, 601, 0.1)
    assert budget.can_draw


def test_looks_take_half_of_what_is_earned_at_most_and_shrink_to_what_is_left_of_it(clock):
    budget = Budget(0.02, 10_000)
    trained(clock, budget, 5_000, 0.1)  # 10 s earned: 5 for what can wait, the pictures at the end included
    assert allowed(budget, Occasion.LOOK).gradients == pytest.approx((5 - PICTURES) / 0.1, abs=1)
    with budget.spending(), budget.probing(Occasion.LOOK):
        clock.now += 4.0
    assert allowed(budget, Occasion.LOOK).gradients == pytest.approx((1 - PICTURES) / 0.1, abs=1)
    with budget.spending(), budget.probing(Occasion.LOOK):
        clock.now += 0.5
    assert not budget.pays(Occasion.LOOK)
    assert allowed(budget, Occasion.EXAMINATION).gradients == pytest.approx((20 - 4.5) / 0.1, abs=1)


def test_an_examination_takes_nothing_from_what_looks_may_take(clock):
    budget = Budget(0.02, 10_000)
    trained(clock, budget, 5_000, 0.1)
    with budget.spending(), budget.probing(Occasion.EXAMINATION):
        clock.now += 2.0
    assert allowed(budget, Occasion.LOOK).gradients == pytest.approx((5 - PICTURES) / 0.1, abs=1)


def test_a_look_leaves_enough_for_the_pictures_at_the_end(clock):
    budget = Budget(0.02, 10_000)
    trained(clock, budget, 10_000, 0.1)  # 20 s earned
    spend(clock, budget, 10.0)
    assert budget.pays(Occasion.LOOK)
    with budget.drawing():
        clock.now += 9.5
    assert not budget.pays(Occasion.LOOK)
