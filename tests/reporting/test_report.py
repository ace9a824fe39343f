"""The report starts with a summary of the run on one line, which every form of it contains."""

import copy
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from lightning_landscape.diagnosis.findings.parts import UNTRAINED
from lightning_landscape.evidence import Cause, Divergence, Evidence, Finding, LossLevel, Verdict
from lightning_landscape.reporting.messages import JUDGED_BY_METRIC, NO_DETECTORS, NOT_JUDGED, TOO_SHORT, message
from lightning_landscape.reporting.report import Report

LEVEL = LossLevel(start=2.3, best=0.1, now=0.2)
STUCK = Verdict(Cause.FLAT_REGION, 203, 90, stuck=True, reason="Flat <b>.", advice="He.", evidence=Evidence(LEVEL))
WATCHED = "10 optimizer steps were watched. The training loss went from 2.3 to 0.2."
FINE = f"{WATCHED} The run is healthy: no alarm was raised."
HARDLY_FALLEN = "10 optimizer steps were watched. The training loss went from 2.3 to {}. No alarm was raised,"
QUIET = {cause: Verdict(cause, 9, 3, stuck=False, reason="r") for cause in Cause}


@pytest.mark.parametrize(
    ("steps", "level", "verdicts", "headline"),
    [
        (0, None, [], "No optimizer step was watched."),
        (10, LEVEL, [], FINE),
        (10, LEVEL, [QUIET[Cause.SETTLED]], FINE),
        (10, LEVEL, [QUIET[Cause.SCHEDULED_END]], FINE),
        # The report does not call these runs healthy, since their verdict or their loss does not show it.
        (10, LEVEL, [QUIET[Cause.UNDECIDED]], f"{WATCHED} No alarm was raised."),
        (10, LossLevel(2.3, 2.2, 2.2), [], f"{HARDLY_FALLEN.format(2.2)} but the loss has not clearly fallen."),
        (10, LossLevel(2.3, 2.2, 2.4), [], f"{HARDLY_FALLEN.format(2.4)} but the loss has not clearly fallen."),
        (2, None, [], "2 optimizer steps were watched. No alarm was raised."),
        (10, LEVEL, [STUCK], f"{WATCHED} 1 alarm was raised."),
        (10, LEVEL, [STUCK, QUIET[Cause.SETTLED], STUCK], f"{WATCHED} 2 alarms were raised."),
    ],
)
def test_the_first_line_summarises_the_run(steps, level, verdicts, headline):
    report = Report(steps, level, verdicts)
    assert report.splitlines()[0] == headline
    assert headline in report.to_markdown()


@pytest.mark.parametrize(
    ("notes", "headline", "line"),
    [
        ([TOO_SHORT], "The run was too short to judge.", "lightning_landscape: too short to judge (10 steps); the"),
        ([NOT_JUDGED], "The run was not judged.", f"lightning_landscape: {NOT_JUDGED}; the"),
        ([NO_DETECTORS], "The run was not judged.", f"lightning_landscape: {NO_DETECTORS}; the"),
        ([], "The run is healthy: no alarm was raised.", "lightning_landscape: no alarm in 10 steps; the"),
    ],
)
def test_a_run_that_was_not_judged_is_not_called_healthy(notes, headline, line):
    report = Report(10, LEVEL, [], notes)
    assert report.splitlines()[0] == f"{WATCHED} {headline}"
    assert report.line() == f"{line} training loss went from 2.3 to 0.2."
    assert report.line(Path("out/report.html")).endswith(" Report: out/report.html")


def test_a_loss_that_falls_without_end_stays_the_last_word_although_the_loss_has_fallen_since():
    level = LossLevel(-2.3, -2.9, -2.9, floor_measured=False, runs_down=True)
    finding = Finding("no-lowest-loss", Cause.UNDECIDED, "s", "a", "note", title="the loss falls without end")
    verdict = Verdict(Cause.UNDECIDED, 9, 3, stuck=False, reason="r", finding=finding, evidence=Evidence(level))
    report = Report(800, replace(level, now=-170.0), [verdict])
    assert "from step 3: the loss falls without end" in report.line()
    assert report.splitlines()[0].endswith("No alarm was raised.")


def test_the_closing_line_of_a_run_whose_loss_stands_at_its_start_says_so_unless_a_declared_metric_counts():
    standing = LossLevel(2.3, 2.2, 2.29)
    line = Report(300, standing, [], []).line()
    assert line == (
        "lightning_landscape: no alarm in 300 steps; the training loss went from 2.3 to 2.29: the loss has not clearly "
        "fallen."
    )
    assert "clearly" not in Report(300, standing, [], [JUDGED_BY_METRIC]).line()


def test_the_closing_line_names_the_last_verdict():
    line = Report(3000, LEVEL, [QUIET[Cause.SETTLED]]).line()
    assert line.startswith("lightning_landscape: no alarm in 3,000 steps; from step 3: settled; ")


def test_a_verdict_that_is_no_alarm_is_not_the_last_word_on_a_loss_that_has_fallen_since():
    slow = Verdict(Cause.SLOW, 9, 3, stuck=False, reason="r", evidence=Evidence(LossLevel(2.3, 1.0, 1.0)))
    report = Report(3000, LEVEL, [slow])
    assert report.line().startswith("lightning_landscape: no alarm in 3,000 steps; the training loss went")
    for text in (report, report.to_markdown(), report.summary()):
        assert "Since then the loss has fallen from 1 to 0.2." in text
    stays = Report(3000, LossLevel(start=2.3, best=0.1, now=0.95), [slow])
    assert "Since then" not in stays
    assert "from step 3: slow" in stays.line()


def test_an_alarm_is_not_the_last_word_on_a_loss_that_has_fallen_since():
    alarm = Verdict(Cause.SADDLE_POINT, 9, 3, stuck=True, reason="r", evidence=Evidence(LossLevel(2.3, 2.2, 2.3)))
    report = Report(3000, LEVEL, [alarm])
    for text in (report, report.to_markdown(), report.summary()):
        assert "Since then the loss has fallen from 2.3 to 0.2." in text
    assert "Since then" not in Report(3000, LossLevel(start=2.3, best=2.2, now=2.2), [alarm])


@pytest.mark.parametrize(("level", "subject"), [(LEVEL, "It"), (None, "The training loss")])
@pytest.mark.parametrize(("now", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_the_first_line_says_when_the_loss_was_not_finite(level, subject, now, word):
    diverged = replace(
        STUCK, cause=Cause.DIVERGED, evidence=Evidence(Divergence(1203, finite=False, start=2.3, now=now))
    )
    assert f" {subject} was {word} at step 1,203. 1 alarm was raised." in Report(10, level, [diverged]).splitlines()[0]


@pytest.mark.parametrize(("count", "words"), [(1, "1 finding noted"), (2, "2 findings noted")])
def test_a_run_with_findings_in_its_notes_is_not_called_healthy_and_the_closing_line_counts_them(count, words):
    notes = ["[LL206 unheld-parameters] No optimizer holds `embed`."] * count
    report = Report(10, LEVEL, [], [*notes, "watching and diagnosing took 2.2 s"])
    assert report.splitlines()[0] == f"{WATCHED} No alarm was raised."
    assert report.line().endswith(f" {words}: `print(monitor.report)`.")


def test_the_closing_line_says_that_a_large_part_of_the_model_is_not_trained():
    sentence = f"No optimizer holds 96% of the trainable parameters: `body`. {UNTRAINED}. Try: freeze them."
    line = Report(10, LEVEL, [], [f"[LL206 unheld-parameters] {sentence}"]).line()
    assert line.endswith(f" 0.2. {sentence}")
    assert "noted" not in line


def test_the_repr_of_a_report_is_short():
    assert repr(Report(300, LEVEL, [STUCK])) == "<Report of 300 steps with 1 alarm; print it to read it>"


def test_the_report_is_a_string_of_all_verdicts_and_notes():
    report = Report(300, LEVEL, [STUCK, QUIET[Cause.SETTLED]], ["drawing failed 2 times"])
    assert isinstance(report, str)
    assert f"{report}" == str(report) == "\n".join(report.splitlines())
    for part in (message(STUCK), message(QUIET[Cause.SETTLED]), "drawing failed 2 times"):
        assert part in report


def test_the_dict_survives_json_and_its_verdicts_can_be_restored():
    data = json.loads(json.dumps(Report(300, LEVEL, [STUCK], ["a note"]).to_dict()))
    assert data["steps"] == 300
    assert data["loss"] == {"start": 2.3, "best": 0.1, "now": 0.2}
    assert data["notes"] == ["a note"]
    assert [Verdict.from_dict(verdict) for verdict in data["verdicts"]] == [STUCK]
    assert Report(0, None, []).to_dict()["loss"] == {}


def test_the_markdown_has_a_section_for_each_verdict_and_an_item_for_each_note():
    text = Report(300, LEVEL, [STUCK, STUCK], ["a note", "another"]).to_markdown()
    assert text.startswith("## Loss landscape\n\n300 optimizer steps were watched.")
    assert text.count("### Stuck on a flat region") == 2
    assert text.endswith("- a note\n\n- another")


def test_texts_are_escaped_in_the_html_for_notebooks():
    shown = Report(300, LEVEL, [STUCK])._repr_html_()
    assert "Flat &lt;b&gt;." in shown
    assert "<b>" not in shown


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda report: pickle.loads(pickle.dumps(report))])
def test_a_copy_is_a_report_with_the_same_content(copied):
    report = Report(300, LEVEL, [STUCK], ["a note"])
    other = copied(report)
    assert other == report
    assert other.to_dict() == report.to_dict()


def test_the_first_line_quotes_the_loss_of_the_first_batch_and_not_the_mean_of_the_first_ten():
    level = LossLevel(start=1.9, best=0.1, now=0.2, first=2.31)
    report = Report(3000, level, [])
    assert "The training loss went from 2.31 to 0.2." in report.splitlines()[0]
    assert "the training loss went from 2.31 to 0.2." in report.line()
    assert report.to_dict()["loss"]["start"] == 2.31
