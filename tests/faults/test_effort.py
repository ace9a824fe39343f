"""F09: probes that take longer than anyone planned, and runs whose share of time is used up."""

from __future__ import annotations

import pytest

from lightning_landscape import LandscapeMonitor
from lightning_landscape.probes import EXAMINATION
from lightning_landscape.surface import costs
from tests.clocks import ManualClock
from tests.faults.runs import Flat, Net, watched


class Ticking(ManualClock):
    """A millisecond passes at each reading."""

    def now(self):
        self._now += 1e-3
        return self._now


def monitor(**settings):
    made = LandscapeMonitor(max_batches=2, **settings)
    made.clock = Ticking()
    return made


def takes(clock, seconds):
    """A probe of ten evaluations, each of which takes this long."""

    @costs(lambda surface: surface.loss_cost(10))
    def slow(surface):
        for _ in range(10):
            clock.move(seconds)
            surface.loss(surface.here)

    return slow


def test_f09_an_examination_that_takes_several_times_what_was_planned_is_ended_and_the_report_says_so():
    stuck = LandscapeMonitor(max_batches=2, probes=[takes(clock := Ticking(), 60.0), *EXAMINATION])
    stuck.clock = clock
    watched(stuck, Flat, steps=120)
    assert stuck.verdict is not None
    assert stuck.verdict.stuck
    assert "CopyTrials(steps=40) (the probes took" in stuck.report
    assert "several times the planned time" in stuck.report


def test_f09_an_examination_that_takes_twice_what_was_planned_goes_on():
    stuck = LandscapeMonitor(max_batches=2, probes=[takes(clock := Ticking(), 2.0), *EXAMINATION])
    stuck.clock = clock
    watched(stuck, Flat, steps=120)
    assert "several times the planned time" not in stuck.report
    assert "Trials" in stuck.verdict.evidence.to_dict()


def test_f09_a_budget_that_is_used_up_ends_an_examination_but_no_verdict_is_left_out():
    spent, unlimited = monitor(budget=0.001), monitor()
    watched(unlimited, Flat, steps=120)
    watched(spent, Flat, steps=120)
    assert "budget=0.001 of the training time is used up" in spent.report
    assert "budget" not in unlimited.report
    assert spent._examination.limits.account.spent < unlimited._examination.limits.account.spent
    assert spent.verdict is not None
    assert spent.verdict.stuck


@pytest.mark.parametrize("make", [Net, Flat])
def test_f09_with_the_light_effort_no_batch_is_kept_and_no_loss_is_evaluated(make):
    light = monitor(effort="light")
    watched(light, make, steps=120)
    assert light._state.steps == 120
    assert light._examination.limits.account.spent == 0
    assert not light._state.readings.lines()
    assert light._examination._snapshots.state_dict()["points"] == {}
    assert "effort='light': only losses, gradients and updates are measured" in light.report
    assert bool(light.verdicts) is (make is Flat)


def test_f09_scheduled_looks_wait_until_the_steps_have_earned_them_unless_the_user_says_how_often_they_come():
    waiting, asked = monitor(), monitor(every_n_steps=20, num_points=3)
    watched(waiting, steps=120)
    watched(asked, steps=120)
    assert not waiting._state.readings.lines()
    assert "scheduled lines (2% of the steps so far are too few gradients): set every_n_steps=..." in waiting.report
    assert len(asked._state.readings.lines()["initial"]) >= 4
