"""`hide` removes one signal from the evidence, no other signal, and only within its block."""

import importlib

import pytest

from benchmarks.stuck_runs.hiding import ABLATIONS, HIDDEN_READINGS, REPLACED_PARTS, hide
from benchmarks.stuck_runs.report import ablation_table
from benchmarks.stuck_runs.scoring import Alarm
from benchmarks.stuck_runs.truth import Label
from benchmarks.stuck_runs.watching import RunResult
from lightning_landscape import evidence
from lightning_landscape.evidence import InputUse, Plateau, UpdateStatistics
from lightning_landscape.examination.run_state import RunState

INPUT_USE = InputUse(loss=2.0, shuffled=2.5, moved=0.3, varied=True)


def classes_of_evidence():
    return {type(reading) for reading in RunState(100).evidence([INPUT_USE])}


def test_a_hidden_reading_is_missing_from_the_evidence_within_the_block_only():
    assert classes_of_evidence() == {Plateau, UpdateStatistics, InputUse}
    with hide("shuffled inputs"):
        assert classes_of_evidence() == {Plateau, UpdateStatistics}
    with hide("size of the updates"):
        assert classes_of_evidence() == {Plateau, InputUse}
    with hide("nothing"):
        assert classes_of_evidence() == {Plateau, UpdateStatistics, InputUse}
    assert classes_of_evidence() == {Plateau, UpdateStatistics, InputUse}


def test_every_reading_class_that_can_be_hidden_exists():
    assert all(hasattr(evidence, name) for names in HIDDEN_READINGS.values() for name in names)


@pytest.mark.parametrize("signal", REPLACED_PARTS)
def test_a_part_of_the_stall_test_is_replaced_within_the_block_only(signal):
    module_name, name, replacement = REPLACED_PARTS[signal]
    module = importlib.import_module(f"lightning_landscape.{module_name}")
    original = getattr(module, name)
    with hide(signal):
        assert getattr(module, name) is replacement
    assert getattr(module, name) is original


def test_the_table_has_a_row_for_each_signal():
    label = Label("stuck", 100, "saddle_point", (), ((0, 100),), ())
    found = RunResult("run", 0, (Alarm(10, "saddle_point"),), (), 1.0)
    missed = RunResult("run", 0, (), (), 1.0)
    rows = ablation_table({"nothing": [found], "curvature": [missed]}, {("run", 0): label}).splitlines()
    assert rows[2].startswith("| nothing | 100.0% |")
    assert rows[3].startswith("| curvature | 0.0% |")
    assert len(ABLATIONS) == len(HIDDEN_READINGS) + len(REPLACED_PARTS)
