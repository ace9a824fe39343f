"""`landscape runs`, `show`, `explain` and `report` from the shell, on watched and unwatched runs and on bad input."""

import re
import time

import pytest

from benchmarks.tab.logs import write_logs
from lightning_landscape.command_line import main
from lightning_landscape.diagnosis.findings.metrics import stands_still
from lightning_landscape.evidence import CAUSES, Cause, Evidence, MetricTrend
from lightning_landscape.reporting.events import event_line
from tests.clocks import ManualClock
from tests.command_line.examples import losses, write_csv, write_examples, write_watched
from tests.command_line.shell import document, landscape, refusal
from tests.test_causes import SECTIONS_OF_CAUSES, WARNINGS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_examples(folder)
    write_logs(folder / "tensorboard", 3, 600, picture_bytes=0)
    return folder


def test_runs_lists_watched_and_unwatched_runs_with_alarms_first(logs):
    runs = document("runs", logs, status=1)["runs"]
    by_name = {run["run"]: run for run in runs}
    assert set(by_name) == {
        "softmax_twice", "falling", "escaping", "flat", logs.name,
        "tensorboard/wide", "tensorboard/sigmoid", "tensorboard/softmax-twice",
    }  # fmt: skip
    alarms = [run["alarm"] for run in runs]
    assert alarms == sorted(alarms, reverse=True)
    assert {name for name, run in by_name.items() if run["alarm"]} == {
        "softmax_twice", "flat", "tensorboard/sigmoid", "tensorboard/softmax-twice",
    }  # fmt: skip
    watched = by_name["softmax_twice"]
    assert (watched["watched"], watched["cause"], watched["finding"]) == (True, "flat_region", "squashed twice")
    assert (watched["since"], watched["steps"], watched["horizon"]) == (0, 2000, 2000)
    assert watched["status"].startswith("ended, ")
    killed = by_name["tensorboard/softmax-twice"]
    assert killed["status"].startswith("no news for")
    assert killed["steps"] < killed["horizon"]
    assert not by_name["flat"]["watched"]
    assert by_name["flat"]["title"] == "Loss stands still"
    assert 0 < time.time() - by_name["falling"]["seen"] < 3600


def test_runs_is_a_table_that_says_what_to_do_next(logs):
    done = landscape("runs", logs)
    assert done.status == 1
    (line,) = (line for line in done.out.splitlines() if " softmax_twice " in line)
    assert re.search(r"▲ +softmax_twice +Stuck on a flat region +Squashed twice +start +2,000 of 2,000 +2.3 ", line)
    assert "8 runs: 4 with an alarm" in done.out
    assert "`landscape show`" in done.out


def test_runs_without_an_alarm_have_the_status_0_and_damaged_ones_are_listed(tmp_path):
    write_csv(tmp_path / "good" / "metrics.csv", losses("falling"))
    write_csv(tmp_path / "short" / "metrics.csv", losses("flat", 5))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "events.out.tfevents.1").write_bytes(b"\x00\xff" * 100)
    (tmp_path / "broken" / "events.jsonl").write_text("not json")
    runs = {run["run"]: run for run in document("runs", tmp_path, status=0)["runs"]}
    assert runs["good"]["title"] == "Loss falls"
    assert runs["short"]["state"] == runs["broken"]["state"] == "not_judged"


def test_runs_refuses_a_directory_without_runs(tmp_path):
    assert refusal("runs", tmp_path) == f"{tmp_path} holds no run: no event file, CSV or JSON lines in it or below it"
    assert refusal("runs", tmp_path / "none").endswith("none is no directory")


def test_show_says_the_verdict_what_to_try_and_what_was_measured(logs):
    found = document("show", logs / "softmax_twice", status=1)
    assert found["verdict"]["code"] == "LL202 squashed-twice"
    assert found["verdict"]["tries"][0] == "Remove `self.softmax` and give the logits to the loss."
    assert ["training loss: now", "2.3"] in found["verdict"]["measured"]
    done = landscape("show", logs / "softmax_twice")
    assert "[LL202 squashed-twice] step 400: stuck on a flat region from the start: squashed twice.\n" in done.out
    assert "  Try: 1. Remove `self.softmax` and give the logits to the loss.\n       2. A larger" in done.out
    assert "  Tried: On a copy, without the softmax, the loss fell by 70%.\n" in done.out
    assert "`landscape explain LL202` explains this verdict." in done.out


def test_show_reads_event_files_as_well_and_a_run_without_an_alarm_has_the_status_0(logs):
    found = document("show", logs / "tensorboard" / "sigmoid", status=1)
    assert (found["state"], found["steps"], found["status"].partition(",")[0]) == ("flat_region", 600, "ended")
    assert document("show", logs / "tensorboard" / "wide", status=0)["verdict"] is None


def test_show_of_a_run_that_has_escaped_has_no_present_verdict(tmp_path):
    write_watched(tmp_path, escaped=True, ended=False)
    found = document("show", tmp_path, status=0)
    assert (found["verdict"], len(found["verdicts"])) == (None, 1)
    assert found["title"] == "No plateau any more; alarm at step 400"
    done = landscape("show", tmp_path)
    assert "No plateau any more; alarm at step 400." in done.out
    assert "Earlier: step 400: stuck on a flat region" in done.out


def test_a_run_whose_plateau_is_over_is_listed_with_its_alarm_and_not_as_one_without(tmp_path):
    write_watched(tmp_path / "run", escaped=True)
    (run,) = document("runs", tmp_path, status=0)["runs"]
    assert (run["title"], run["alarm"]) == ("No plateau any more; alarm at step 400", False)
    out = landscape("runs", tmp_path).out
    assert "1 for information" in out
    assert "without an alarm" not in out


def test_an_alarm_on_a_metric_stands_while_the_training_loss_falls(tmp_path):
    trend = MetricTrend(
        name="reward", rises=True, declared=True, values=80, first_step=5, step=900, first=20.0, best=20.0,
        best_step=5, now=20.0, gained=0.0, worse=0.0, since=5, elapsed=0.5,
    )  # fmt: skip
    verdict = stands_still(Evidence(trend))
    path = tmp_path / "landscape" / "events.jsonl"
    path.parent.mkdir()
    lines = [event_line("start", 0, {"horizon": 2000}, ManualClock())]
    path.write_text("".join([*lines, event_line("verdict", 900, verdict.to_dict(), ManualClock())]))
    found = document("show", tmp_path, status=1)
    assert (found["alarm"], found["title"]) == (True, "reward has not risen")
    assert found["state"] == "learning"


def test_show_refuses_what_is_no_watched_run_and_says_what_to_type(logs):
    assert "has no records of LandscapeMonitor; `landscape plateau" in refusal("show", logs / "flat")
    assert "holds 3 watched runs" in refusal("show", logs / "tensorboard")
    assert refusal("show", logs / "none").endswith("is no directory of a run")


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_explained_by_its_code_and_by_its_name(cause, capsys):
    assert main(["explain", CAUSES[cause].code]) == 0
    by_code = capsys.readouterr().out
    assert "##" not in by_code, "a heading that stands in a paragraph"
    assert main(["explain", cause.value]) == 0
    assert capsys.readouterr().out == by_code
    assert "What to try\n-----------" in by_code
    assert "](" not in by_code


@pytest.mark.parametrize("code", WARNINGS)
def test_every_warning_is_explained(code, capsys):
    assert main(["explain", f"[{code}]"]) == 0
    assert capsys.readouterr().out.startswith(f"{code}\n=====")


def test_every_finding_is_explained(capsys):
    for cause, name in SECTIONS_OF_CAUSES:
        assert main(["explain", CAUSES[Cause(cause)].code, name]) == 0, name
        assert name in capsys.readouterr().out


def test_explain_from_the_shell_needs_no_torch():
    done = landscape("explain", "squashed-twice", python=("-X", "importtime"))
    assert done.status == 0
    assert "Give the loss the logits." in done.out
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert not loaded & {"torch", "tensorboard", "matplotlib", "numpy"}
    found = document("explain", "LL202", status=0)
    assert [section["cause"] for section in found["sections"]] == ["flat_region"]


def test_explain_names_the_nearest_of_a_topic_that_is_not_there():
    assert "there is no code, cause or finding 'flat_regon'; the nearest are LL202" in refusal("explain", "flat_regon")


def test_report_takes_several_runs_and_the_old_form(logs, tmp_path):
    path = tmp_path / "report.html"
    runs = [logs / "tensorboard" / name for name in ("wide", "sigmoid")]
    assert document("report", *runs, "-o", path, status=0)["runs"] == [run.as_posix() for run in runs]
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert landscape("report", logs / "tensorboard", "--output", path).out == f"The report on 3 runs is {path}.\n"
    assert "has records of LandscapeMonitor" in refusal("report", logs / "flat", "-o", path)
