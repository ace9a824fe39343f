"""F09: probes that take much longer than planned, and runs whose budget is used up."""

from __future__ import annotations

import pytest

from lightning_landscape import LandscapeMonitor
from lightning_landscape.probes import EXAMINATION
from lightning_landscape.surface import costs
from tests.clocks import ManualClock
from tests.faults.runs import Flat, Net, fit_monitored


class Ticking(ManualClock):
    """A clock that advances by a millisecond at each call of `now`."""

    def now(self):
        self._now += 1e-3
        return self._now


def make_monitor(**settings):
    monitor = LandscapeMonitor(max_batches=2, **settings)
    monitor.clock = Ticking()
    return monitor


def slow_probe(clock, seconds):
    """Return a probe that evaluates the loss ten times, each time taking `seconds`."""

    @costs(lambda surface: surface.loss_cost(10))
    def slow(surface):
        for _ in range(10):
            clock.move(seconds)
            surface.loss(surface.here)

    return slow


def test_f09_a_diagnosis_that_takes_several_times_the_planned_time_is_ended_and_the_report_says_so():
    stuck = LandscapeMonitor(max_batches=2, probes=[slow_probe(clock := Ticking(), 60.0), *EXAMINATION])
    stuck.clock = clock
    fit_monitored(stuck, Flat, steps=120)
    assert stuck.verdict is not None
    assert stuck.verdict.stuck
    assert "(the probes took" in stuck.report
    assert "several times the planned time" in stuck.report


def test_f09_a_diagnosis_that_takes_twice_the_planned_time_goes_on():
    stuck = LandscapeMonitor(max_batches=2, probes=[slow_probe(clock := Ticking(), 2.0), *EXAMINATION])
    stuck.clock = clock
    fit_monitored(stuck, Flat, steps=120)
    assert "several times the planned time" not in stuck.report
    assert "Trials" in stuck.verdict.evidence.to_dict()


def test_f09_a_budget_that_is_used_up_ends_a_diagnosis_which_still_gives_its_verdict():
    spent, unlimited = make_monitor(budget=0.001), make_monitor()
    fit_monitored(unlimited, Flat, steps=120)
    fit_monitored(spent, Flat, steps=120)
    assert "to include: budget=None" in spent.report
    assert "budget" not in unlimited.report
    assert spent._examination.limits.account.spent < unlimited._examination.limits.account.spent
    assert spent.verdict is not None
    assert spent.verdict.stuck


@pytest.mark.parametrize("make", [Net, Flat])
def test_f09_with_light_effort_no_batch_is_captured_and_no_loss_is_evaluated(make):
    light = make_monitor(effort="light")
    fit_monitored(light, make, steps=120)
    assert light._state.steps == 120
    assert light._examination.limits.account.spent == 0
    assert not light._state.readings.lines()
    assert light._examination.snapshots.state_dict()["points"] == {}
    assert "effort='light': only losses, gradients and updates are measured" in light.report
    assert bool(light.verdicts) is (make is Flat)


def test_f09_scheduled_measurements_wait_until_2_percent_of_the_steps_pay_for_them_unless_every_n_steps_is_set():
    waiting, scheduled = make_monitor(), make_monitor(every_n_steps=20, num_points=3)
    fit_monitored(waiting, steps=120)
    fit_monitored(scheduled, steps=120)
    assert not waiting._state.readings.lines()
    assert "regular lines to earlier weights (to include: every_n_steps=...)" in waiting.report
    assert len(scheduled._state.readings.lines()["initial"]) >= 4
