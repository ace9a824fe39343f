"""Memory, tensors, open files, threads, the state and the events do not grow with the length of a run."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

from benchmarks.soak import LIMITS, ResourceUse, all_monitors, excessive_growth, growth, soak
from lightning_landscape import GradientNormMonitor, LandscapeMonitor, PlateauMonitor
from lightning_landscape.evidence import Cause, Line, Verdict
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.tracking.step_record import StepRecord

NO_RESOURCES = dataclasses.asdict(ResourceUse(0, 0, 0, 0, 0, 0, 0))


@pytest.mark.slow
def test_nothing_grows_over_the_second_half_of_a_run_of_4000_steps(tmp_path):
    monitors = [LandscapeMonitor(probes=(), norm_every_n_steps=1), GradientNormMonitor(), PlateauMonitor()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measurements = soak(monitors, 4000, 500, tmp_path, lambda count: None)
    assert measurements[-1].step == 4000
    assert measurements[-1].state > 0
    assert measurements[-1].events > 0
    excess = excessive_growth(measurements)
    excess.pop("memory", None)  # also depends on the tests that ran in this process before
    assert excess == {}


@pytest.mark.parametrize("name", LIMITS)
def test_growth_without_bound_is_found(name):
    measurements = [ResourceUse(**{**NO_RESOURCES, "step": step, name: step * LIMITS[name]}) for step in range(1, 6)]
    assert growth(measurements)[name] > LIMITS[name]
    assert list(excessive_growth(measurements)) == [name]


def state_after(steps: int) -> RunState:
    """Return the state after this many steps with repeated alarms, NaN losses and lines, without a trainer."""
    state = RunState(None, tuple(f"layer{i}" for i in range(32)))
    norms = tuple(0.1 * (i + 1) for i in range(32))
    record = StepRecord(
        *(0, 0, None, 0.1),
        stepped=True,
        grad_norm=1.0,
        group_norms=norms,
        no_grad_share=0.0,
        update_norm=0.01,
        weight_norm=1.0,
        predicted=0.001,
    )
    for step in range(steps):
        wave = 1.0 if (step // 3000) % 2 else 0.3
        loss = float("nan") if step % 10_000 == 9_999 else wave + 0.01 * ((step * 7919) % 13)
        state.update(record._replace(step=step, loss=loss))
        if step % 50 == 0:
            state.mark()
        if step % 500 == 0:
            line = Line("initial", (0.0, 1.0, 1.1), (1.0, wave, wave), 0.0, monotone=True, samples=8)
            state.readings.add(step, [line])
        if step % 2000 == 1999:
            cause = Cause.SADDLE_POINT if (step // 2000) % 2 else Cause.FLAT_REGION
            state.judge(Verdict(cause, step, step - 10, stuck=True, reason="why"))
            state.escaped()
    return state


def count_values(value: object) -> int:
    """Return the count of numbers and strings in a nested state."""
    if isinstance(value, dict):
        return sum(map(count_values, value.values()))
    return sum(map(count_values, value)) if isinstance(value, (list, tuple)) else 1


def test_the_state_after_50000_steps_is_as_large_as_after_25000():
    sizes = {}
    for steps in (12_500, 25_000, 50_000):
        state = state_after(steps).state_dict()
        sizes[steps] = {name: count_values(value) for name, value in state.items() if name != "verdicts"}
    for name, size in sizes[50_000].items():
        assert size <= max(1.3 * sizes[25_000][name], sizes[25_000][name] + 8), (name, sizes)


@pytest.mark.soak
def test_with_all_monitors_nothing_grows_over_the_second_half_of_a_run_of_20000_steps(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        measurements = soak(all_monitors(), 20_000, 1000, tmp_path, print)
    assert excessive_growth(measurements) == {}
