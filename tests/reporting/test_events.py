"""`events.jsonl` is read back as it was written, even if the run that wrote it was killed."""

import json
import math

import pytest

from lightning_landscape import LandscapeError, read_events
from lightning_landscape.evidence import Line, LossLevel
from lightning_landscape.reporting.events import append_event, event_line, readings_by_name


def written(path, *events):
    for step, fields in enumerate(events):
        append_event(path, event_line("verdict", step, fields))
    return read_events(path)


def test_numbers_that_are_not_finite_are_restored_and_every_line_is_json(tmp_path):
    fields = {"loss": {"now": math.nan, "best": -math.inf}, "losses": (1.0, math.inf), "name": "NaN"}
    (event,) = written(tmp_path / "events.jsonl", fields)
    assert math.isnan(event["loss"]["now"])
    assert event["loss"]["best"] == -math.inf
    assert event["losses"] == [1.0, math.inf]
    assert event["name"] == "NaN"
    raw = json.loads((tmp_path / "events.jsonl").read_text(), parse_constant=pytest.fail)
    assert raw["loss"]["now"] is None


def test_the_lines_from_all_anchors_are_in_the_event_of_their_readings():
    lines = [
        Line(anchor, (0.0, 1.0), (2.0, 1.0), barrier=0.0, monotone=True, samples=8)
        for anchor in ("initial", "previous", "best")
    ]
    written = readings_by_name([*lines, LossLevel(2.0, 1.0, 1.0)])
    assert [line["anchor"] for line in written["Line"]] == ["initial", "previous", "best"]
    assert written["LossLevel"]["start"] == 2.0
    assert readings_by_name([]) == {}


def test_an_incomplete_last_line_is_counted_and_the_next_run_starts_a_new_line(tmp_path):
    path = tmp_path / "events.jsonl"
    written(path, {"a": 1}, {"a": 2})
    path.write_bytes(path.read_bytes()[:-9])
    assert (len(read_events(path)), read_events(path).skipped) == (1, 1)
    events = written(path, {"a": 3})
    assert [event["a"] for event in events] == [1, 3]
    assert events.skipped == 1


@pytest.mark.parametrize(
    "damage",
    [b"\xff\xfe", b"[1, 2]", b"{}", b'{"v": "1", "event": "x"}', b'{"v": 1}', b"null", b'{"v": 1, "event": "x", '
     b'"nonfinite": [["a", "b", "nan"]]}', b"[" * 100_000],
    ids=range(8),
)  # fmt: skip
def test_a_damaged_line_is_counted_and_the_others_are_read(tmp_path, damage):
    path = tmp_path / "events.jsonl"
    written(path, {"a": 1})
    path.write_bytes(path.read_bytes() + damage + b"\n\n")
    events = written(path, {"a": 2})
    assert [event["a"] for event in events] == [1, 2]
    assert events.skipped == 1


def test_the_directory_of_a_run_can_be_given_instead_of_the_file(tmp_path):
    append_event(tmp_path / "landscape" / "events.jsonl", event_line("end", 3, {}))
    assert [event["step"] for event in read_events(tmp_path)] == [3]
    assert [event["step"] for event in read_events(tmp_path / "landscape")] == [3]
    with pytest.raises(FileNotFoundError):
        read_events(tmp_path / "elsewhere")


def test_events_of_a_newer_version_are_refused_with_both_versions(tmp_path):
    (tmp_path / "events.jsonl").write_text('{"v": 2, "event": "x", "step": 1}\n')
    with pytest.raises(LandscapeError, match="version 2; this library reads up to 1"):
        read_events(tmp_path)


def test_values_that_json_does_not_have_become_text(tmp_path):
    (event,) = written(tmp_path / "events.jsonl", {"path": tmp_path, 3: {1: {"x"}}})
    assert event["path"] == str(tmp_path)
    assert event["3"]["1"] == "{'x'}"
