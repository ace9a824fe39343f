"""Hiding a signal hides it, and nothing else, and only for as long as it is meant to be hidden."""

import importlib

import pytest

from benchmarks.stuck_runs.hiding import ABLATIONS, HIDDEN, UNTESTED, hidden
from benchmarks.stuck_runs.report import ablations
from benchmarks.stuck_runs.scoring import Alarm
from benchmarks.stuck_runs.truth import Label
from benchmarks.stuck_runs.watching import Watched
from lightning_landscape import evidence
from lightning_landscape.evidence import InputUse, Plateau, UpdateStatistics
from lightning_landscape.examination.run_state import RunState

USED = InputUse(loss=2.0, shuffled=2.5, moved=0.3, varied=True)


def kinds(readings=(USED,)):
    return {type(reading) for reading in RunState(100).evidence(readings)}


def test_what_is_hidden_is_missing_from_the_evidence_and_comes_back():
    assert kinds() == {Plateau, UpdateStatistics, InputUse}
    with hidden("shuffled inputs"):
        assert kinds() == {Plateau, UpdateStatistics}
    with hidden("movement of the weights"):
        assert kinds() == {Plateau, InputUse}
    with hidden("nothing"):
        assert kinds() == {Plateau, UpdateStatistics, InputUse}
    assert kinds() == {Plateau, UpdateStatistics, InputUse}


def test_every_reading_that_is_hidden_exists():
    assert all(hasattr(evidence, kind) for names in HIDDEN.values() for kind in names)


@pytest.mark.parametrize("what", UNTESTED)
def test_a_part_of_the_test_for_a_stall_is_replaced_and_comes_back(what):
    room, name, replacement = UNTESTED[what]
    module = importlib.import_module(f"lightning_landscape.{room}")
    before = getattr(module, name)
    with hidden(what):
        assert getattr(module, name) is replacement
    assert getattr(module, name) is before


def test_the_table_has_a_row_for_each_signal():
    label = Label("stuck", 100, "saddle_point", (), ((0, 100),), ())
    found = Watched("run", 0, (Alarm(10, "saddle_point"),), (), 1.0)
    missed = Watched("run", 0, (), (), 1.0)
    rows = ablations({"nothing": [found], "curvature": [missed]}, {("run", 0): label}).splitlines()
    assert rows[2].startswith("| nothing | 100.0% |")
    assert rows[3].startswith("| curvature | 0.0% |")
    assert len(ABLATIONS) == len(HIDDEN) + len(UNTESTED)
