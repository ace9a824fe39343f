"""Whether a metric of few values has stopped improving: rates of wrong and right answers, on simulated metrics."""

import math
import random

import pytest

from lightning_landscape.functional.standstill import FEWEST, standstill

REPETITIONS = 40
FALLING = {
    "evenly": lambda t: 1 - t,
    "ever more slowly": lambda t: math.exp(-3 * t),
    "like a logarithm": lambda t: 1 - math.log(1 + 50 * t) / math.log(51),
}
RESTING = {
    "never fell": lambda t: 0.0,
    "rests after a third": lambda t: max(0.0, 1 - 3 * t),
    "rests after a fall like exp": lambda t: math.exp(-30 * t),
}


def simulated(curve, count, noise, seed, correlation=0.0):
    """Return the values of a curve with Gaussian noise, of which neighbours may be correlated."""
    draw = random.Random(seed)
    error, values = draw.gauss(0, noise), []
    for i in range(count):
        values.append(curve(i / (count - 1)) + error)
        error = correlation * error + math.sqrt(1 - correlation**2) * draw.gauss(0, noise)
    return values


def share(curve, count, noise, correlation=0.0):
    """Return in which share of the simulations the metric is said to have stopped improving."""
    found = (standstill(simulated(curve, count, noise, seed, correlation)) for seed in range(REPETITIONS))
    return sum(shown.since is not None for shown in found) / REPETITIONS


@pytest.mark.parametrize("noise", [0.003, 0.05, 0.2])
@pytest.mark.parametrize("count", [12, 40])
@pytest.mark.parametrize("curve", FALLING)
def test_a_falling_metric_is_said_to_stand_still_in_fewer_than_one_of_ten_runs(curve, count, noise):
    assert share(FALLING[curve], count, noise) < 0.1


@pytest.mark.parametrize("curve", FALLING)
def test_correlated_noise_does_not_make_a_falling_metric_stand_still(curve):
    assert share(FALLING[curve], 40, 0.05, correlation=0.5) < 0.1


@pytest.mark.parametrize("curve", RESTING)
def test_a_metric_that_rests_is_found_in_nine_of_ten_runs(curve):
    assert share(RESTING[curve], 120, 0.02) > 0.9


def test_twelve_values_are_enough_where_the_noise_is_low():
    assert share(RESTING["rests after a third"], 12, 0.002) > 0.9


def test_a_metric_that_rises_again_is_worse_than_its_best_and_one_that_rests_is_not():
    turning = [standstill(simulated(lambda t: abs(t - 0.4), 40, 0.02, seed)) for seed in range(REPETITIONS)]
    resting = [standstill(simulated(RESTING["rests after a third"], 40, 0.02, seed)) for seed in range(REPETITIONS)]
    assert all(shown.worse == pytest.approx(0.6, abs=0.1) for shown in turning)
    assert all(10 <= shown.best_at <= 22 for shown in turning)
    assert sum(shown.worse > 0 for shown in resting) <= REPETITIONS / 20


def test_the_place_since_when_it_rests_is_where_it_came_within_its_noise():
    found = [standstill(simulated(RESTING["rests after a third"], 60, 0.01, seed)).since for seed in range(20)]
    assert all(17 <= since <= 22 for since in found)


def test_another_unit_or_a_constant_changes_no_decision():
    for seed in range(5):
        values = simulated(RESTING["rests after a third"], 40, 0.02, seed)
        shown, scaled, moved = (standstill([a * v + b for v in values]) for a, b in ((1, 0), (1024, 0), (1, 64)))
        assert shown.since == scaled.since == moved.since
        assert shown.best_at == scaled.best_at == moved.best_at
        assert scaled.gained == pytest.approx(1024 * shown.gained)


def test_a_constant_metric_stands_still_and_too_few_values_say_nothing():
    assert standstill([0.0] * FEWEST).since == 0
    assert standstill([0.0] * (FEWEST - 1)) is None
