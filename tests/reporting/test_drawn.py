"""What the tab and the report draw of a reading is what its PNG shows: the same caption, the same marks."""

import pytest

from lightning_landscape.captions import line_caption, plane_caption, trial_chart
from lightning_landscape.evidence import Evidence, Line, Plane, Trials
from lightning_landscape.reporting.drawn import drawn, drawn_lines, drawn_trials


def line(*losses, anchor="initial", step=0):
    alphas = tuple(i / (len(losses) - 1) for i in range(len(losses)))
    return Line(anchor, alphas, losses, barrier=0.0, monotone=True, samples=8, anchor_step=step)


def test_a_line_has_its_caption_both_ends_in_words_and_its_largest_rise():
    given = line(3.0, 1.0, 2.0, 0.5)
    record = drawn(1234, given)
    assert (record["title"], record["details"]) == (
        line_caption(given, 1234).title,
        [*line_caption(given, 1234).details],
    )
    assert (record["start"], record["end"]) == ("the initial weights", "step 1,234")
    thirds = {"low_alpha": pytest.approx(1 / 3), "alpha": pytest.approx(2 / 3)}
    assert record["rise"] == {**thirds, "low": 1.0, "top": 2.0, "words": "rise by 1"}
    assert drawn(1, line(3.0, 2.0, 1.0))["rise"] is None


def test_a_line_that_is_that_of_an_earlier_anchor_is_left_out():
    first, same = line(2.0, 1.0, anchor="previous", step=5), line(2.0, 1.0, anchor="best", step=5)
    other = line(2.5, 1.0, anchor="best", step=7)
    assert list(drawn_lines({"previous": [(9, first)], "best": [(9, same)]})) == ["previous"]
    assert list(drawn_lines({"previous": [(9, first)], "best": [(9, other)]})) == ["previous", "best"]


def plane(*rows):
    xs, ys = ((-1.0, 0.0, 1.0)[: len(rows[0])]), (0.0, 1.0)
    return Plane("a", "b", xs, ys, rows, {"now": (0.0, 0.0)}, 0.0, 1)


def test_a_plane_marks_its_lowest_point_only_if_it_is_lower_than_the_present_weights():
    lower = plane((3.0, 2.0, 2.5), (2.0, 1.5, 1.0))
    assert drawn(1, lower)["lowest"] == [1.0, 1.0]
    assert drawn(1, lower)["title"] == plane_caption(lower).title
    assert drawn(1, plane((3.0, 2.0, 2.5), (2.5, 2.5, 2.5)))["lowest"] is None


def test_trials_name_the_one_that_changes_nothing_and_have_the_title_of_their_chart():
    evidence = Evidence(Trials({"adam": 0.7, "this optimizer": 0.1}, 40, 1.0, 0.0, 8))
    trials = drawn_trials(evidence)["trials"]
    (group,) = trials["groups"]
    assert [bar["name"] for bar in group["bars"]] == ["Adam at a learning rate of 0.01", trials["baseline"]]
    assert [bar["result"] for bar in group["bars"]] == ["70% lower", "10% lower"]
    assert group["going_on"] == 0.1
    assert trials["title"] == trial_chart(evidence).caption.title
    assert drawn_trials(None) == drawn_trials(Evidence()) == {}
