"""The benchmark of `landscape plateau`: what counts as found and as false, and one run of each kind."""

import pytest

from benchmarks.plateau_command import judged, main, outcome, table
from benchmarks.stuck_runs.configurations import CONFIGURATIONS
from benchmarks.stuck_runs.truth import Label
from tests.command_line.examples import losses, write_csv

STUCK = Label("stuck", 2000, "saddle_point", (), ((0, 1000),), ())
HEALTHY = Label("healthy", 2000, "minimum", (), (), ((1500, 2000),))


def said(*stretches, state="falling", since=None):
    names = ("since", "until", "stuck")
    return {"state": state, "since": since, "stretches": [dict(zip(names, s, strict=True)) for s in stretches]}


def test_a_stretch_within_a_plateau_is_found_and_one_outside_is_false():
    found = outcome("a/0", STUCK, said((40, 900, True)))
    assert (found.stuck, found.stands, found.false) == (True, True, False)
    found = outcome("a/0", STUCK, said((40, 900, False), (1400, None, True)))
    assert (found.stuck, found.stands, found.false) == (False, True, True)
    assert outcome("a/0", STUCK, said(state="diverged", since=500)).stuck
    assert outcome("b/0", HEALTHY, said((100, 300, True))).false
    assert not outcome("b/0", HEALTHY, said((100, 300, False), (1600, None, True))).false


def test_the_table_has_the_shares_and_names_the_mistakes():
    outcomes = [outcome("a/0", STUCK, said()), outcome("b/0", HEALTHY, said((100, 300, True)))]
    text = table(outcomes)
    assert "| 1 stuck runs, found: the loss stands still | 0.0% |" in text
    assert "| 1 healthy runs, named as stuck | 100.0% |" in text
    assert "missed: a/0 (saddle_point)" in text
    assert "false: b/0 (minimum)" in text


def test_the_command_is_asked_as_from_the_shell(tmp_path):
    found = judged(write_csv(tmp_path / "a.csv", losses("flat")), ["--floor", "0"])
    assert outcome("a/0", STUCK, found).stuck


@pytest.mark.slow
def test_a_run_is_recorded_and_scored(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.plateau_command.SPLITS", {"open": (CONFIGURATIONS["dead_relus"],)})
    main(["--split", "open", "--seeds", "0", "--jobs", "1", "--folder", str(tmp_path)])
    assert "| 1 stuck runs, found: the loss stands still | 100.0% |" in capsys.readouterr().out
