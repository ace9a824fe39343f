"""What the readings of trials and restarts say, and what they leave open."""

from __future__ import annotations

import math

import pytest

from lightning_landscape.evidence import Restart, RestartedRun, Trials


def trials(**gains: float) -> Trials:
    names = {"own": "this optimizer", "tenth": "learning rate x0.1", "tenfold": "learning rate x10"}
    names |= {"hundredth": "learning rate x0.01", "hundredfold": "learning rate x100", "adam": "adam"}
    return Trials({names[name]: gain for name, gain in gains.items()}, 40, 0.1, 0.0, 64)


def test_the_best_rate_is_the_one_that_gains_most_and_of_equals_the_one_nearest_to_the_runs_own():
    assert trials(own=0.1, tenth=0.1, tenfold=0.3, hundredfold=0.5).best_rate == 100.0
    assert trials(own=0.1, tenth=0.1, tenfold=-0.3).best_rate == 1.0
    assert trials(adam=0.7).best_rate is None


def test_rates_that_were_not_tried_gain_nothing():
    assert trials(own=0.1).larger_rates == trials(own=0.1).smaller_rates == 0.0
    assert trials(own=-0.2, tenth=0.1, hundredth=0.3).smaller_rates == 0.3
    assert trials(own=-0.2, tenfold=-0.3).larger_rates == -0.3
    assert trials(own=-0.2, hundredfold=0.2).own_at_any_rate == 0.2


def test_each_kind_of_restart_has_a_gain_of_its_own():
    better, worse = RestartedRun(0.5, 100, 80), RestartedRun(0.1, 60, 60)
    restart = Restart(0.5, 1, 100, adam=better, tenth=worse, hundredth=better)
    assert (restart.own_gain, restart.adam_gain, restart.smaller_rate_gain) == (None, 0.5, 0.5)
    assert restart.smaller_rate_factor == 0.01
    assert restart.going_on_gain is None
    assert Restart(0.5, 1, 100).smaller_rate_factor is None


@pytest.mark.parametrize(("gain", "fallen", "trained"), [(-3.0, 0.4, True), (-3.0, -0.3, False), (-3.0, None, False)])
def test_a_restart_that_blows_up_has_no_gain(gain, fallen, trained):
    run = RestartedRun(gain, 100, fallen=fallen)
    assert run.trained is trained
    assert Restart(gain, 1, 100, fallen, own=run).own_gain == (gain if trained else None)
    assert Restart(gain, 1, 100, fallen).trained is trained
    assert not RestartedRun(-math.inf, 100, fallen=0.4).trained
