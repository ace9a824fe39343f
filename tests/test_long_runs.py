"""Nothing grows with the length of a run: memory, tensors, open files, threads, state, events."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

from benchmarks.soak import LIMITS, Holdings, all_monitors, growth, soak, unbounded
from lightning_landscape import GradientNormMonitor, LandscapeMonitor, PlateauMonitor
from lightning_landscape.evidence import Cause, Line, Verdict
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.tracking.progress import StepRecord

FLAT = dataclasses.asdict(Holdings(0, 0, 0, 0, 0, 0, 0))


@pytest.mark.slow
def test_a_run_of_thousands_of_steps_holds_no_more_than_one_of_half_as_many(tmp_path):
    monitors = [LandscapeMonitor(probes=(), norm_every_n_steps=1), GradientNormMonitor(), PlateauMonitor()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = soak(monitors, 4000, 500, tmp_path, lambda now: None)
    assert seen[-1].step == 4000
    assert seen[-1].state > 0
    assert seen[-1].events > 0
    held = unbounded(seen)
    held.pop("memory", None)  # of a process that has run other tests before
    assert held == {}


@pytest.mark.parametrize("name", LIMITS)
def test_what_grows_without_bound_is_found(name):
    seen = [Holdings(**{**FLAT, "step": step, name: step * LIMITS[name]}) for step in range(1, 6)]
    assert growth(seen)[name] > LIMITS[name]
    assert list(unbounded(seen)) == [name]


def long_life(steps: int) -> RunState:
    """A run of which nobody knows the length, with every kind of trouble again and again, driven without a trainer."""
    seen = RunState(None, tuple(f"layer{i}" for i in range(32)))
    norms = tuple(0.1 * (i + 1) for i in range(32))
    usual = StepRecord(
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
        seen.update(usual._replace(step=step, loss=loss))
        if step % 50 == 0:
            seen.mark()
        if step % 500 == 0:
            line = Line("initial", (0.0, 1.0, 1.1), (1.0, wave, wave), 0.0, monotone=True, samples=8)
            seen.readings.add(step, [line])
        if step % 2000 == 1999:
            cause = Cause.SADDLE_POINT if (step // 2000) % 2 else Cause.FLAT_REGION
            seen.judge(Verdict(cause, step, step - 10, stuck=True, reason="why"))
            seen.escaped()
    return seen


def numbers(value: object) -> int:
    """How many numbers and texts a state is made of."""
    if isinstance(value, dict):
        return sum(map(numbers, value.values()))
    return sum(map(numbers, value)) if isinstance(value, (list, tuple)) else 1


def test_the_state_of_a_million_steps_would_be_as_large_as_that_of_fifty_thousand():
    sizes = {}
    for steps in (12_500, 25_000, 50_000):
        state = long_life(steps).state_dict()
        sizes[steps] = {name: numbers(part) for name, part in state.items() if name != "verdicts"}
    for name, size in sizes[50_000].items():
        assert size <= max(1.3 * sizes[25_000][name], sizes[25_000][name] + 8), (name, sizes)


@pytest.mark.soak
def test_all_monitors_over_a_long_run_hold_no_more_at_its_end_than_in_its_middle(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seen = soak(all_monitors(), 20_000, 1000, tmp_path, print)
    assert unbounded(seen) == {}
