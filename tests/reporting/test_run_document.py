"""The document of a run of any length and with any names has bounded size and is valid JSON."""

import json
import math
from dataclasses import dataclass

import pytest

from lightning_landscape.evidence import (
    TONES,
    Cause,
    Evidence,
    Finding,
    Line,
    LossLevel,
    Plane,
    ReadingsLog,
    Verdict,
)
from lightning_landscape.reporting.page import page_in_iframe, report_page
from lightning_landscape.reporting.run_document import (
    COLUMNS,
    GROUPS,
    LONGEST_NAME,
    POINTS,
    RunDocument,
    clean,
    heat_map,
)

HOSTILE = [
    "</script><script>alert(1)</script>",
    "line\nbreak\0",
    "日本語 🧠",
    "x" * 5000,
    "",
    "a/b/../c",
    "<!--",
    "\u2028",
]


def line(anchor="initial", losses=(2.0, 1.0)):
    return Line(anchor, (0.0, 1.0), tuple(losses), barrier=0.0, monotone=True, samples=8)


def after(steps, loss=lambda step: 2.0):
    document = RunDocument()
    for step in range(steps):
        document.update(step, loss(step), 0.1 if step % 10 == 0 else None)
    return document


def course(document, verdicts=(), **known):
    return document.document(verdicts, **known)["course"]


@pytest.mark.parametrize("steps", [0, 1, 199, 200, 201, 12_345, 100_000])
def test_the_curve_of_a_run_of_any_length_has_at_most_200_points_and_its_last_step(steps):
    curve = course(after(steps))["curve"]
    assert len(curve["step"]) <= POINTS
    assert {len(column) for column in curve.values()} == {len(curve["step"])}
    assert not steps or curve["step"][-1] == steps - 1


def test_merged_points_keep_the_mean_the_extremes_and_the_largest_norm():
    document = RunDocument()
    for step in range(4000):
        document.update(step, 5.0 if step == 1234 else -3.0 if step == 17 else 1.0, 9.0 if step == 77 else 0.5)
    curve = course(document)["curve"]
    assert max(curve["high"]) == 5.0
    assert min(curve["low"]) == -3.0
    assert max(curve["grad_norm"]) == 9.0
    assert curve["loss"][-1] == 1.0


def test_a_loss_that_is_not_finite_is_a_gap():
    losses = [1.0, math.nan, math.inf, None, 2.0]
    document = RunDocument()
    for step, loss in enumerate(losses):
        document.update(step, loss, math.nan)
    curve = course(document)["curve"]
    assert curve["loss"] == [1.0, None, None, None, 2.0]
    assert curve["grad_norm"] == [None] * 5


def test_states_are_recorded_when_they_change_and_the_first_begins_with_the_run():
    document = after(30)
    for step, state in ((29, "learning"), (49, "learning"), (69, "stalled"), (79, "flat_region")):
        document.mark(step, state)
    assert course(document)["segments"] == [[0, "learning"], [69, "stalled"], [79, "flat_region"]]


def test_of_very_many_states_the_first_and_the_latest_are_kept():
    document = after(1)
    for step in range(10_000):
        document.mark(step, ("learning", "stalled")[step % 2])
    segments = course(document)["segments"]
    assert len(segments) == 100
    assert segments[0][0] == 0
    assert segments[-1][0] == 9999


def test_curves_of_a_long_run_are_thinned_with_the_first_and_the_last_kept():
    chronicle, plane = after(1), Plane("a", "b", (0.0, 1.0), (0.0,), ((1.0, math.nan),), {}, 0.0, 1)
    readings = ReadingsLog()
    for step in range(1000):
        readings.add(step, [line(), line("best", (3.0, 1.0)), plane])
    document = chronicle.document([], readings)
    for anchor in ("initial", "best"):
        steps = [curve["step"] for curve in document["lines"][anchor]]
        assert len(steps) <= 48
        assert steps[0] == 0
        assert steps[-1] == 999
        assert steps == sorted(steps)
    assert document["planes"]["planes"][-1]["losses"] == [[1.0, None]]
    assert len(document["planes"]["planes"]) <= 6


def test_a_reading_that_is_only_called_like_one_that_is_drawn_is_not_drawn():
    @dataclass(frozen=True)
    class Line:
        length: int

    readings = ReadingsLog()
    readings.add(1, [Line(3)])
    assert readings.lines() == {}
    assert "lines" not in after(1).document([], readings)


@pytest.mark.slow
def test_the_heat_map_of_ten_thousand_groups_and_steps_is_small():
    groups = [f"blocks.{i}.{'weight' * 40}" for i in range(10_000)]
    part = heat_map(list(range(1000)), groups, [[0.1] * 10_000] * 1000)
    assert len(part["steps"]) == len(part["norms"]) <= COLUMNS
    assert len(part["groups"]) == GROUPS
    assert part["omitted"] == 10_000 - GROUPS
    assert len(json.dumps(part)) < 100_000


def test_the_heat_map_distinguishes_no_gradient_zero_and_not_finite():
    part = heat_map([1], ["a", "b", "c", "d"], [[None, 0.0, math.nan, 0.123456]])
    assert part["norms"] == [[None, 0.0, "not finite", 0.123]]


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_name_becomes_one_bounded_line(name):
    assert len(clean(name)) <= LONGEST_NAME
    assert clean(name).isprintable()


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_and_no_text_breaks_out_of_the_report(name):
    chronicle = after(3)
    readings = ReadingsLog()
    readings.add(2, [line(name)])
    verdict = Verdict(Cause.DIVERGED, 2, 1, stuck=True, reason=name, advice=name, evidence=Evidence(LossLevel(1, 1, 1)))
    page = report_page({name: chronicle.document([verdict], readings, notes=[name])})
    assert page.count("</script>") == 1
    assert page.count("<script") == 1
    assert "alert(1)<" not in page
    assert page_in_iframe(page, name).count("<") == 2


def test_a_document_is_json_and_survives_saving():
    chronicle = after(333)
    chronicle.mark(332, "stalled")
    state = json.loads(json.dumps(chronicle.state_dict()))
    other = RunDocument()
    other.load_state_dict(state)
    for step in range(333, 700):
        chronicle.update(step, 1.0, None)
        other.update(step, 1.0, None)
    assert json.dumps(other.document([]), allow_nan=False) == json.dumps(chronicle.document([]), allow_nan=False)


def test_a_verdict_has_its_title_what_to_try_why_what_was_tried_and_its_page_in_the_documentation(monkeypatch):
    monkeypatch.setattr("lightning_landscape.evidence.card.documentation", lambda: "https://docs")
    finding = Finding("squashed-twice", Cause.FLAT_REGION, "Softmax is applied twice.", "drop it.", "certain")
    verdict = Verdict(
        Cause.FLAT_REGION,
        9,
        3,
        stuck=True,
        reason="Why.",
        advice="drop it.\n`other()`.",
        tried="a nap.",
        finding=finding,
    )
    (written,) = course(after(10), [verdict])["verdicts"]
    assert written["title"] == verdict.title == "stuck on a flat region: squashed twice"
    assert written["tries"] == ["Drop it.", "`other()`."]
    assert (written["reason"], written["tried"]) == ("Why.", "A nap.")
    assert (written["code"], written["link"]) == (
        "LL202 squashed-twice",
        "https://docs/causes/flat_region/#ll202-squashed-twice",
    )


def test_every_state_of_a_run_has_a_name_in_words():
    part = course(after(1))
    assert part["words"].keys() == part["tones"].keys() == TONES.keys()
    assert not any("_" in words for words in part["words"].values())


def test_of_very_many_verdicts_the_last_are_kept_and_the_others_counted():
    verdicts = [Verdict(Cause.UNDECIDED, step, step, stuck=True, reason="r" * 9999) for step in range(80)]
    part = course(after(1), verdicts)
    assert part["verdicts"][-1]["step"] == 79
    assert (len(part["verdicts"]), part["earlier_verdicts"]) == (50, 30)
    assert len(json.dumps(part)) < 200_000


def test_a_norm_that_was_large_or_not_finite_at_one_step_is_in_its_merged_column():
    norms = [[1.0, 1.0] for _ in range(199)]
    norms[50], norms[121] = [7.0, 1.0], [1.0, math.nan]
    columns = heat_map(list(range(199)), ["a", "b"], norms)["norms"]
    assert max(column[0] for column in columns) == 7.0
    assert [column[1] for column in columns].count("not finite") == 1


def test_of_an_odd_number_of_steps_each_column_has_its_last_step():
    part = heat_map(list(range(201)), ["a"], [[float(step)] for step in range(201)])
    assert part["steps"][-1] == 200
    assert part["norms"] == [[float(step)] for step in part["steps"]]


def metric(name="val_loss", values=(1.0, 0.5, 0.6), since=20):
    steps = [10 * (i + 1) for i in range(len(values))]
    return {
        "name": name,
        "mode": "min",
        "declared": False,
        "step": steps,
        "value": list(values),
        "best": {"step": 20, "value": 0.5},
        "since": since,
    }


def test_metrics_are_a_part_of_the_document_with_their_title_and_their_labels():
    (part,) = [after(90).document(metrics=[metric()])["metrics"]]
    assert part["title"] == "val_loss has not clearly improved since step 20"
    assert part["schema"] == 1
    (drawn,) = [one for panel in part["panels"] for one in panel["metrics"]]
    assert (drawn["steps"], drawn["values"], drawn["best"]) == ([10, 20, 30], [1.0, 0.5, 0.6], [20, 0.5])
    assert drawn["best_words"] == "best: 0.5 at step 20"
    assert drawn["since_words"] == "not clearly better since step 20"
    assert "metrics" in course(after(90))["order"]


def test_a_run_without_metrics_has_no_such_part():
    assert "metrics" not in after(90).document()
    assert "metrics" not in after(90).document(metrics=[{**metric(values=()), "best": None}])
    assert "metrics" in after(0).document(metrics=[metric()])


def test_metrics_of_a_long_run_and_with_values_that_are_not_finite_are_bounded_json():
    values = [math.nan if i % 3 == 0 else 1 / 3 + i for i in range(20_000)]
    part = after(90).document(metrics=[metric(f"val_loss/{i}" * 99, values) for i in range(30)])["metrics"]
    assert len(json.dumps(part, allow_nan=False)) < 40_000
    assert part["omitted"] == 26


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_name_of_a_metric_breaks_out_of_the_report(name):
    page = report_page({"run": after(90).document(metrics=[metric(name)])})
    assert page.count("</script>") == 1
    assert page.count("<script") == 1
    assert "alert(1)<" not in page
