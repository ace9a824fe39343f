"""One report on all runs of a log directory, from TensorBoard's event files."""

import time

import pytest

from benchmarks.tab.logs import write_logs
from lightning_landscape.command_line import main
from lightning_landscape.reporting.event_files import logged_runs

STEPS = 600


@pytest.fixture(scope="module")
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    write_logs(folder, 2, STEPS, picture_bytes=1000)
    return folder


def test_every_run_is_read_with_its_latest_record_and_the_time_of_its_last_event(logdir):
    runs = logged_runs(logdir)
    assert list(runs) == ["sigmoid", "wide"]
    assert runs["wide"].document["course"]["status"] == "ended"
    assert runs["wide"].document["course"]["steps"] == STEPS
    assert runs["sigmoid"].document["course"]["status"] == "running"  # it was killed
    assert set(runs["sigmoid"].document) == {"course", "lines", "gradients"}
    assert 400 < time.time() - runs["sigmoid"].seen < 600


def test_a_damaged_or_incomplete_file_is_read_up_to_the_damage(logdir, tmp_path):
    (source,) = (logdir / "wide").iterdir()
    content = source.read_bytes()
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / source.name).write_bytes(content[: len(content) // 2])
    (tmp_path / "garbage").mkdir()
    (tmp_path / "garbage" / source.name).write_bytes(b"\x00\xff" * 500)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / source.name).write_bytes(b"")
    runs = logged_runs(tmp_path)
    assert list(runs) == ["cut"]
    assert 0 < runs["cut"].document["course"]["steps"] < STEPS


def test_the_command_writes_one_page_of_at_most_250_kilobytes_for_two_runs(logdir, tmp_path, capsys):
    path = tmp_path / "all.html"
    assert main(["report", str(logdir), "--output", str(path)]) == 0
    assert capsys.readouterr().out == f"The report on 2 runs is {path}.\n"
    page = path.read_text(encoding="utf-8")
    assert len(page.encode()) <= 250_000
    assert "<title>Landscape: sigmoid, wide</title>" in page
    assert "import {" not in page


def test_a_directory_without_watched_runs_is_an_error_that_says_what_is_missing(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "has records of LandscapeMonitor" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "is no directory" in capsys.readouterr().err
