"""Which copies of earlier weights the stall test keeps, and when it is possible."""

from types import SimpleNamespace

import pytest
from torch import nn

from lightning_landscape.examination.limits import Limits
from lightning_landscape.examination.stall_test import COPIES, StallTest
from lightning_landscape.probes import same_batches

HORIZON = 1000


def state_at(step, *, hidden=True):
    progress = SimpleNamespace(
        noise_hides=hidden, divergence=None, assumed_horizon=HORIZON, on_same_batches="the latest result"
    )
    return SimpleNamespace(step=step, steps=step, progress=progress, optimizer_count=1)


@pytest.fixture
def taken():
    """Return a stall test, and a function that lets it see steps at which noise hides the trend, or does not."""
    test, module = StallTest((same_batches,), Limits("standard", None, limits_schedule=True), None), nn.Linear(2, 2)

    def see(steps, **known):
        for step in steps:
            test.take(module, state_at(step, **known))
        return test

    return see


def test_copies_are_taken_at_equal_distances_while_noise_hides_the_trend(taken):
    test = taken(range(0, 151, 10))
    assert test.state_dict()["copies"].keys() == {50, 100, 150}
    assert not test.due(state_at(150))
    assert test.due(state_at(200))
    assert not test.due(state_at(200, hidden=False))


def test_a_trend_that_is_seen_now_and_then_does_not_cost_the_copies(taken):
    taken(range(0, 101, 10))
    test = taken(range(110, 201, 10), hidden=False)
    assert len(test.state_dict()["copies"]) == COPIES
    assert test.due(state_at(250))


def test_copies_are_dropped_a_fifth_of_the_run_after_noise_has_last_hidden_the_trend(taken):
    taken(range(0, 101, 10))
    test = taken(range(110, 321, 10), hidden=False)
    assert not test.state_dict()["copies"]


def test_a_result_counts_only_while_noise_hides_the_trend(taken):
    seen = state_at(10, hidden=False)
    taken([]).take(nn.Linear(2, 2), seen)
    assert seen.progress.on_same_batches is None


def test_a_diagnosis_waits_for_a_test_until_a_quarter_of_the_run_after_noise_first_hid_the_trend(taken):
    waits = {}
    for step in range(0, 401, 10):
        state = state_at(step)
        taken([]).take(nn.Linear(2, 2), state)
        waits[step] = state.progress.awaits_test
    assert [step for step, waiting in waits.items() if waiting] == list(range(0, 251, 10))


def test_nothing_waits_for_a_test_that_cannot_be_made():
    limits = Limits("standard", None, limits_schedule=True)
    state = state_at(0)
    StallTest((), limits, None).take(nn.Linear(2, 2), state)
    assert not state.progress.awaits_test
    StallTest((same_batches,), limits, None).take(nn.Linear(4096, 2048), state)
    assert not state.progress.awaits_test


def test_a_test_that_is_loaded_goes_on_as_if_it_had_not_stopped(taken):
    test = taken(range(0, 101, 10))
    loaded = StallTest((same_batches,), Limits("standard", None, limits_schedule=True), None)
    loaded.load_state_dict(test.state_dict())
    for each in (test, loaded):
        for step in range(110, 311, 10):
            each.take(nn.Linear(2, 2), state_at(step, hidden=False))
    assert loaded.state_dict()["copies"].keys() == test.state_dict()["copies"].keys()
    assert loaded.state_dict()["needed_at"] == 100
