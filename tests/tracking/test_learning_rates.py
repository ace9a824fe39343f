"""The learning rate over a run: its peak without spikes, its median, and when it came to an end."""

import json
from math import cos, pi

import pytest

from lightning_landscape.tracking.learning_rates import MAX_RATES, LearningRates
from lightning_landscape.tracking.progress import Progress
from lightning_landscape.tracking.step_record import StepRecord


def after(rates, elapsed=0.5):
    learning_rates = LearningRates()
    for step, rate in enumerate(rates):
        learning_rates.add(step, rate)
    return learning_rates.schedule(elapsed)


def test_a_constant_rate_is_its_own_peak_and_median_and_has_no_end():
    schedule = after([0.1] * 300)
    assert (schedule.learning_rate, schedule.first, schedule.peak, schedule.median) == (0.1, 0.1, 0.1, 0.1)
    assert (schedule.steps, schedule.planned_steps) == (300, 600)
    assert (schedule.ended_after, schedule.usual, schedule.declining_since, schedule.ended_at_share) == (None,) * 4
    assert LearningRates().schedule(None) is None


def test_the_end_is_the_step_from_which_the_rate_stays_near_zero():
    schedule = after([*(0.1 * (1 - step / 40) for step in range(40)), *[0.0] * 60])
    assert schedule.ended_after in (39, 40)
    assert 0.07 < schedule.usual < 0.09
    assert 22 <= schedule.declining_since <= 24
    assert schedule.ended_at_share == pytest.approx(0.2, abs=0.01)
    assert (schedule.learning_rate, schedule.median) == (0.0, 0.0)


def test_the_end_is_known_long_after_it():
    schedule = after([*[0.1] * 40, *[0.0] * 5000])
    assert 40 <= schedule.ended_after <= 50
    assert schedule.peak == 0.1


def test_a_spike_of_a_few_steps_is_no_peak_and_ends_nothing():
    schedule = after([*[1e-3] * 300, *[0.3] * 6, *[1e-3] * 700])
    assert schedule.ended_after is None
    assert schedule.peak == schedule.learning_rate == 1e-3
    assert schedule.share_of_peak == 1.0


def test_two_tenfold_cuts_are_no_end_and_three_are_one():
    assert after([*[1.0] * 100, *[0.1] * 100, *[0.01] * 100]).ended_after is None
    assert after([*[1.0] * 100, *[0.1] * 100, *[0.001] * 100]).ended_after == 200


def test_a_warm_up_is_no_end_and_a_cosine_cycle_only_for_a_moment():
    assert after([step / 100 for step in range(100)]).ended_after is None
    cycles = [0.5 * (1 + cos(pi * (step % 100) / 100)) for step in range(500)]
    ends = [step for step in range(2, 500) if after(cycles[:step]).ended_after is not None]
    assert {step % 100 for step in ends} <= {0, *range(94, 100)}


def test_memory_is_bounded_and_a_copy_goes_on_as_the_original():
    rates = LearningRates()
    for step in range(3 * MAX_RATES):
        rates.add(2 * step, 0.1)
    copied = LearningRates()
    copied.load_state_dict(json.loads(json.dumps(rates.state_dict())))
    for step in range(3 * MAX_RATES, 5 * MAX_RATES):
        rates.add(2 * step, 0.0)
        copied.add(2 * step, 0.0)
    assert rates.schedule(0.5) == copied.schedule(0.5)
    assert len(rates.state_dict()["rates"]) <= MAX_RATES
    assert rates.schedule(0.5).declining_since == pytest.approx(2 * 3 * MAX_RATES, abs=20)


def test_a_state_of_an_older_version_keeps_its_peak():
    progress = Progress(800)
    for step in range(40):
        progress.update(StepRecord(step, 0, loss=1.0, learning_rate=0.1, stepped=True))
    state = progress.state_dict()
    del state["rates"]
    resumed = Progress(800)
    resumed.load_state_dict({**state, "_peak": 0.1, "_learning_rate": 0.05})
    assert resumed.schedule.peak == 0.1
    assert resumed.schedule.learning_rate == 0.05
    assert resumed.schedule.steps == 40


def test_the_typical_rate_is_the_present_one_unless_it_was_decayed():
    def typical(rate):
        return after([rate(step) for step in range(1000)]).typical

    assert typical(lambda step: 0.1) == 0.1
    assert typical(lambda step: 0.1 * step / 1000) == pytest.approx(0.0999)  # a warm-up
    assert typical(lambda step: 0.1 if step < 600 else 1e-4) == 0.1
    assert typical(lambda step: 0.1 if step < 40 else 0.0) == 0.1  # it came to an end before half of the run
    assert typical(lambda step: 5.0 if 500 < step < 510 else 0.1) == 0.1  # a spike


def test_the_largest_rate_of_a_stretch_counts_a_spike_of_a_few_steps():
    rates = LearningRates()
    for step in range(300):
        rates.add(step, 3.0 if 140 <= step < 144 else 0.02)
    assert rates.largest_between(120, 160) == 3.0
    assert rates.largest_between(160, 299) == 0.02
    assert rates.largest_between(300, 400) is None
