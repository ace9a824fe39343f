"""The report says in one line how the run went, and the same in every form."""

import copy
import json
import pickle

import pytest

from lightning_landscape.evidence import Cause, Evidence, LossLevel, Verdict
from lightning_landscape.reporting.messages import message
from lightning_landscape.reporting.report import Report

LEVEL = LossLevel(start=2.3, best=0.1, now=0.2)
STUCK = Verdict(Cause.FLAT_REGION, 203, 90, stuck=True, reason="Flat <b>.", advice="He.", evidence=Evidence(LEVEL))
QUIET = {cause: Verdict(cause, 9, 3, stuck=False, reason="r") for cause in Cause}


@pytest.mark.parametrize(
    ("steps", "level", "verdicts", "headline"),
    [
        (0, None, [], "No optimizer step was watched."),
        (10, LEVEL, [], "10 steps watched, training loss 2.3 to 0.2: healthy, no alarm."),
        (10, LEVEL, [QUIET[Cause.SETTLED]], "10 steps watched, training loss 2.3 to 0.2: healthy, no alarm."),
        (10, LEVEL, [QUIET[Cause.SCHEDULED_END]], "10 steps watched, training loss 2.3 to 0.2: healthy, no alarm."),
        # Nobody knows whether these are healthy.
        (10, LEVEL, [QUIET[Cause.UNDECIDED]], "10 steps watched, training loss 2.3 to 0.2: no alarm."),
        (2, None, [], "2 steps watched: no alarm."),
        (10, LEVEL, [STUCK], "10 steps watched, training loss 2.3 to 0.2: 1 alarm."),
        (10, LEVEL, [STUCK, QUIET[Cause.SETTLED], STUCK], "10 steps watched, training loss 2.3 to 0.2: 2 alarms."),
    ],
)
def test_the_first_line_says_how_the_run_went(steps, level, verdicts, headline):
    report = Report(steps, level, verdicts)
    assert report.splitlines()[0] == headline
    assert headline in report.to_markdown()


def test_it_is_a_string_of_all_verdicts_and_notes():
    report = Report(300, LEVEL, [STUCK, QUIET[Cause.SETTLED]], ["drawing failed 2 times"])
    assert isinstance(report, str)
    assert f"{report}" == str(report) == "\n".join(report.splitlines())
    for part in (message(STUCK), message(QUIET[Cause.SETTLED]), "drawing failed 2 times"):
        assert part in report


def test_as_a_dict_it_goes_through_json_and_its_verdicts_come_back():
    data = json.loads(json.dumps(Report(300, LEVEL, [STUCK], ["a note"]).to_dict()))
    assert data["steps"] == 300
    assert data["loss"] == {"start": 2.3, "best": 0.1, "now": 0.2}
    assert data["notes"] == ["a note"]
    assert [Verdict.from_dict(verdict) for verdict in data["verdicts"]] == [STUCK]
    assert Report(0, None, []).to_dict()["loss"] == {}


def test_as_markdown_it_has_a_card_for_each_verdict_and_a_point_for_each_note():
    text = Report(300, LEVEL, [STUCK, STUCK], ["a note", "another"]).to_markdown()
    assert text.startswith("## Loss landscape\n\n300 steps watched")
    assert text.count("### Stuck on a flat region") == 2
    assert text.endswith("- a note\n\n- another")


def test_in_a_notebook_nothing_in_it_is_taken_for_html():
    shown = Report(300, LEVEL, [STUCK])._repr_html_()
    assert "Flat &lt;b&gt;." in shown
    assert "<b>" not in shown


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda report: pickle.loads(pickle.dumps(report))])
def test_a_copy_is_a_report_too(copied):
    report = Report(300, LEVEL, [STUCK], ["a note"])
    other = copied(report)
    assert other == report
    assert other.to_dict() == report.to_dict()
