"""The overview of all runs reads little, and only what has changed."""

import json
from types import SimpleNamespace

import pytest

from lightning_landscape.tensorboard_plugin.records import COURSE, SHORT_CURVE, Records, in_short


def course(points, **fields):
    losses = [1.0] * points
    curve = {"step": list(range(points)), "loss": losses, "low": losses, "high": losses}
    verdict = {"cause": "flat_region", "title": "stuck", "since": 3, "step": 9, "reason": "x" * 1000, "readings": []}
    segments = [[0, "learning"], [9, "flat_region"]]
    known = {"schema": 1, "steps": points, "curve": curve, "segments": segments, "verdicts": [verdict] * 40}
    return {**known, **fields}


class Source:
    """A data provider with runs in memory that counts what is read."""

    def __init__(self, **runs):
        self.runs = {
            run: {COURSE: [(7, 100.0 + i, text) for i, text in enumerate(texts)]} for run, texts in runs.items()
        }
        self.scalars = {}
        self.read = []

    def list_tensors(self, *, plugin_name, run_tag_filter=None, **query):
        only = None if run_tag_filter is None else run_tag_filter.runs
        return {
            run: {
                tag: SimpleNamespace(max_step=records[-1][0], max_wall_time=records[-1][1])
                for tag, records in tags.items()
            }
            for run, tags in self.runs.items()
            if only is None or run in only
        }

    def list_scalars(self, *, plugin_name, run_tag_filter=None, **query):
        return self.scalars

    def read_tensors(self, *, plugin_name, downsample, run_tag_filter, **query):
        self.read.append((sorted(run_tag_filter.runs), downsample))
        return {
            run: {
                tag: [SimpleNamespace(numpy=SimpleNamespace(item=lambda text=text: text)) for _, _, text in records][
                    -downsample:
                ]
                for tag, records in self.runs[run].items()
            }
            for run in run_tag_filter.runs
        }


def text(**fields):
    return json.dumps(course(200, **fields)).encode()


QUERY = {"ctx": None, "experiment_id": ""}


def test_the_latest_record_of_all_runs_is_read_at_once_and_again_only_for_runs_that_have_changed():
    source = Source(a=[text(steps=1), text(steps=2)], b=[text()])
    records = Records(source, lambda: 160.0)
    first = records.overview(**QUERY)
    assert source.read == [(["a", "b"], 1)]
    assert first["now"] == 160.0
    assert [run["run"] for run in first["runs"]] == ["a", "b"]
    assert first["runs"][0]["course"]["steps"] == 2
    assert records.overview(**QUERY) == first
    assert len(source.read) == 1
    source.runs["b"][COURSE].append((8, 150.0, text(steps=3)))
    changed = records.overview(**QUERY)
    assert source.read[1:] == [(["b"], 1)]
    assert [(run["run"], run["seen"]) for run in changed["runs"]] == [("b", 150.0), ("a", 101.0)]


def test_a_run_whose_latest_record_is_damaged_shows_the_one_before_and_a_run_without_any_stays_in_the_list():
    source = Source(a=[text(steps=1), b"no JSON"], b=[b"[]", b"{}"])
    overview = Records(source, lambda: 0.0).overview(**QUERY)
    found = {run["run"]: run["course"] for run in overview["runs"]}
    assert found["a"]["steps"] == 1
    assert found["b"] is None
    reads = len(source.read)
    records = Records(source, lambda: 0.0)
    records.overview(**QUERY)
    records.overview(**QUERY)
    assert len(source.read) == 2 * reads  # the second time, nothing is read


def test_the_latest_scalar_shows_how_far_a_run_is_between_two_records():
    source = Source(a=[text()])
    source.scalars = {
        "a": {
            "train_loss": SimpleNamespace(max_step=5_000, max_wall_time=155.0),
            "landscape/grad_norm": SimpleNamespace(max_step=4_999, max_wall_time=154.0),
        }
    }
    (run,) = Records(source, lambda: 160.0).overview(**QUERY)["runs"]
    assert (run["seen"], run["step"]) == (155.0, 4_999)


def test_the_overview_of_a_run_is_small():
    short = in_short(course(200))
    assert len(short["curve"]["step"]) <= SHORT_CURVE
    assert (short["curve"]["step"][0], short["curve"]["step"][-1]) == (0, 199)
    assert len(json.dumps(short)) < 2_000
    assert short["segments"] == [[9, "flat_region"]]


@pytest.mark.parametrize("damage", [{"curve": 3}, {"verdicts": None}, {"segments": 1}, {"curve": {"step": 7}}])
def test_a_damaged_record_does_not_break_the_overview(damage):
    source = Source(a=[text(**damage)], b=[text()])
    assert len(Records(source, lambda: 0.0).overview(**QUERY)["runs"]) == 2


def test_the_records_of_a_run_are_read_again_only_after_a_change():
    source = Source(a=[b"no JSON", text(steps=1)])
    records = Records(source, lambda: 0.0)
    first = records.run("a", **QUERY)
    assert first["skipped"] == 1
    assert first["parts"]["course"]["steps"] == 1
    assert records.run("a", **QUERY) == first
    assert len(source.read) == 1
    source.runs["a"][COURSE].append((8, 150.0, text(steps=2)))
    assert records.run("a", **QUERY)["parts"]["course"]["steps"] == 2


def test_the_overview_has_the_latest_verdict_on_each_metric_beside_those_on_the_training_loss():
    names = [None, "acc", None, "acc", None, "val_loss"]
    verdicts = [{"cause": "settled", "step": step, "metric": name} for step, name in enumerate(names)]
    short = in_short(course(10, verdicts=verdicts))
    assert [verdict["step"] for verdict in short["verdicts"]] == [2, 4, 3, 5]
    assert [verdict["metric"] for verdict in short["verdicts"]] == [None, None, "acc", "val_loss"]
