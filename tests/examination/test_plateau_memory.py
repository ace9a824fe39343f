"""What a diagnosis keeps for the next one of the same plateau."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lightning_landscape.evidence import InputUse, LossLevel, Restart, RestartedRun, Trials
from lightning_landscape.examination.account import ProbeReason
from lightning_landscape.examination.plateau_memory import MAX_BYTES, PlateauMemory
from lightning_landscape.examination.spending import Budget, Underway
from lightning_landscape.probes import CopyTrials, HessianExtremes, Restarts, starting_point

TRIALS = Trials({"adam": 0.1}, steps=8, relative_gradient=0.1, decay_pull=0.0, samples=64)
USE = InputUse(loss=1.0, shuffled=2.0, moved=1.0, varied=True)


def state(*, falling: bool = False, loss: float = 2.0) -> Any:
    """The state of a run whose loss falls or not, and is at this loss above a floor of 1."""
    progress = SimpleNamespace(trend=SimpleNamespace(falling=falling), level=LossLevel(3.0, loss, loss, floor=1.0))
    return SimpleNamespace(progress=progress, stalled=not falling)


UNDERWAY = Underway(Budget(60, 20.0), 2, (USE,), ("a", "b", "c"), needs=43.0)

RESTART = Restart(0.0, 1, 100, own=RestartedRun(0.0, 100))
UNFINISHED = replace(RESTART, left=("tenth",))


@pytest.mark.parametrize(
    ("readings", "left_out", "taken_over"),
    [
        ([USE, TRIALS], (), ()),
        ([USE, TRIALS, RESTART], (), ()),
        ([USE, TRIALS], {"Restarts"}, (TRIALS,)),
        ([USE, TRIALS, UNFINISHED], (), (TRIALS,)),
    ],
)
def test_after_a_diagnosis_that_was_not_covered_the_next_one_takes_the_trials_over(readings, left_out, taken_over):
    memory = PlateauMemory()
    memory.end(None, readings, left_out)
    assert memory.begin(("a",), diagnosing=True) == (None, taken_over, 0)
    assert memory.begin(("a",), diagnosing=False) == (None, (), 0)


def test_a_diagnosis_without_a_restart_uses_the_last_one_of_the_plateau():
    memory, newer = PlateauMemory(), replace(RESTART, gain=0.2)
    assert memory.completed([USE]) == [USE]
    memory.end(None, [USE, TRIALS, RESTART], left_out=())
    assert memory.completed([USE]) == [USE, RESTART]
    assert memory.completed([USE, newer]) == [USE, newer]
    memory.end(None, [USE], left_out={"Restarts"})
    loaded = PlateauMemory()
    loaded.load_state_dict(memory.state_dict(), limited=True)
    assert memory.completed([USE]) == loaded.completed([USE]) == [USE, RESTART]
    memory.plan(state(), diagnoses=True)
    memory.plan(state(loss=1.5), diagnoses=True)
    assert memory.completed([USE]) == [USE]


def test_a_diagnosis_that_goes_on_skips_the_expensive_probes_and_runs_the_others():
    first, memory = PlateauMemory(), PlateauMemory()
    memory.end(None, [USE, TRIALS], left_out={"Restarts"})
    assert [memory.skips(probe) for probe in (CopyTrials(), HessianExtremes(), Restarts(), starting_point)] == [
        *(True, True, False, False)
    ]
    assert not first.skips(CopyTrials())
    assert memory.reason(ProbeReason.REPEATED_DIAGNOSIS) is ProbeReason.UNFINISHED_DIAGNOSIS
    assert first.reason(ProbeReason.REPEATED_DIAGNOSIS) is ProbeReason.REPEATED_DIAGNOSIS
    assert memory.reason(ProbeReason.SCHEDULE) is ProbeReason.SCHEDULE


@pytest.mark.parametrize(
    ("later", "forgets"),
    [
        (state(falling=True), True),
        (state(loss=2.05), False),
        (state(loss=1.8), True),  # noise hid that it fell
        (state(loss=2.2), True),
    ],
)
def test_everything_is_forgotten_when_the_loss_falls_or_is_somewhere_else(later, forgets):
    memory = PlateauMemory()
    memory.kept(nn.Linear(1, 1))["restarts"] = {"runs": {}}
    memory.end(None, [TRIALS], left_out={"Restarts"})
    memory.plan(state(), diagnoses=True)
    memory.plan(later, diagnoses=True)
    assert (memory.kept(nn.Linear(1, 1)) == {}) is forgets
    assert (memory.begin(("a",), diagnosing=True)[1] == ()) is forgets


def test_during_a_first_diagnosis_in_slices_nothing_is_forgotten():
    memory = PlateauMemory()
    memory.kept(nn.Linear(1, 1))["restarts"] = {"runs": {}}
    memory.end(UNDERWAY, [USE], left_out=())
    memory.plan(state(), diagnoses=True)
    assert memory.kept(nn.Linear(1, 1)) != {}
    assert memory.begin(("a", "b", "c"), diagnosing=True) == (UNDERWAY.budget, (USE,), 2)
    assert memory.begin(("a", "b"), diagnosing=True) == (None, (), 0)


def test_of_a_large_model_nothing_is_kept():
    with torch.device("meta"):
        large, small = nn.Linear(MAX_BYTES // 4, 1), nn.Linear(MAX_BYTES // 4 - 1, 1)
    assert PlateauMemory().kept(large) is None
    assert PlateauMemory().kept(small) == {}


def test_a_loaded_memory_goes_on_as_the_original_and_an_older_state_is_empty():
    memory = PlateauMemory()
    memory.kept(nn.Linear(1, 1))["restarts"] = {"runs": {"own": [{"gain": 0.1}]}, "course": None}
    memory.end(None, [TRIALS], left_out={"Restarts"})
    memory.end(UNDERWAY, [TRIALS, USE], left_out=())  # the next diagnosis, in slices
    loaded, older = PlateauMemory(), PlateauMemory()
    loaded.load_state_dict(memory.state_dict(), limited=True)
    assert loaded.state_dict() == memory.state_dict()
    assert loaded.begin(("a",), diagnosing=True) == (None, (TRIALS,), 0)
    older.load_state_dict({"underway": UNDERWAY.to_dict()}, limited=True)
    assert (older.underway, older.begin(("x",), diagnosing=True)) == (UNDERWAY, (None, (), 0))
    older.load_state_dict({"underway": UNDERWAY.to_dict()}, limited=False)
    assert older.underway is None


@pytest.mark.parametrize(("gradients", "waits"), [(0, True), (42, True), (43, False), (None, False)])
def test_a_diagnosis_waits_until_a_check_covers_its_next_probe(gradients, waits):
    memory, host = PlateauMemory(), SimpleNamespace(from_first_rank=lambda value: value)
    assert not memory.waits(host, 0)
    memory.end(Underway.from_dict(UNDERWAY.to_dict()), [USE], left_out=())
    assert memory.waits(host, gradients) is waits


def test_a_diagnosis_under_way_goes_on_with_its_own_budget_though_the_plateau_may_only_be_noise():
    memory = PlateauMemory()
    assert memory.reason(ProbeReason.PROBABLE_PLATEAU) is ProbeReason.PROBABLE_PLATEAU
    memory.underway = UNDERWAY
    assert memory.reason(ProbeReason.PROBABLE_PLATEAU) is ProbeReason.DIAGNOSIS
