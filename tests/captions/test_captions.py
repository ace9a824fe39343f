"""What the titles of pictures say, on readings whose meaning is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from lightning_landscape.captions import (
    caption_of,
    distinct_anchors,
    gradient_caption,
    lowest_point,
    order_for,
    ordered_for,
    plane_caption,
    rise_of,
    run_caption,
    spectrum_caption,
)
from lightning_landscape.captions.caption import percent
from lightning_landscape.evidence import (
    Cause,
    Curvature,
    Descent,
    Evidence,
    Finding,
    Line,
    MetricTrend,
    Plane,
    Spectrum,
    Verdict,
)

ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)


def line(*losses, anchor="initial", step=None):
    return Line(anchor, ALPHAS, losses, barrier=0.0, monotone=True, samples=64, anchor_step=step)


@pytest.mark.parametrize(
    ("losses", "title"),
    [
        ((2.0, 1.5, 1.2, 1.1, 1.0, 9.0), "The loss falls by 1 (50%) from the initial weights to step 1,280"),
        ((2.0, 1.9, 1.8, 1.7, 0.0, 9.0), "The loss falls by 2 (100%) from the initial weights to step 1,280"),
        ((2.0, 1.5, 1.501, 1.1, 1.0, 0.0), "The loss falls by 1 (50%) from the initial weights to step 1,280"),
        ((1.0, 0.0, -1.0, -2.0, -3.0, 0.0), "The loss falls by 4 from the initial weights to step 1,280"),
        ((2.0, 1.5, 2.5, 1.1, 1.0, 0.0), "The loss rises by 1 on the way from the initial weights to step 1,280"),
        ((1.0, 1.5, 2.5, 2.8, 3.0, 0.0), "The loss rises by 2 from the initial weights to step 1,280"),
        ((3.0, 1.5, 0.5, 1.0, 2.0, 0.0), "On the way to step 1,280 the loss is up to 1.5 lower than there"),
        ((2.0, 2.0, 2.0, 2.0, 2.0, 5.0), "The loss stays the same from the initial weights to step 1,280"),
        (
            (2.0, 2.0, math.nan, 2.0, 2.0, 5.0),
            "The loss is not finite on the way from the initial weights to step 1,280",
        ),
        ((math.inf, 2.0, 2.0, 2.0, 2.0, 5.0), "The loss is not finite at the initial weights"),
        ((2.0, 2.0, 2.0, 2.0, math.nan, 5.0), "The loss is not finite at step 1,280"),
    ],
)
def test_the_title_of_a_line_says_what_the_loss_does_between_its_ends(losses, title):
    assert caption_of(line(*losses), 1280).title == title


@pytest.mark.parametrize(
    ("anchor", "step", "name"),
    [
        ("initial", 0, "the initial weights"),
        ("best", 4999, "step 4,999"),
        ("previous", None, "the previous weights"),
        ("runs/old/last.ckpt", None, "last.ckpt"),
        ("C:\\runs\\last.ckpt", None, "last.ckpt"),
        ("", None, "(unnamed)"),
    ],
)
def test_the_title_of_a_line_says_where_it_starts(anchor, step, name):
    title = caption_of(line(2.0, 1.9, 1.8, 1.7, 1.0, 9.0, anchor=anchor, step=step), 28400).title
    assert title == f"The loss falls by 1 (50%) from {name} to step 28,400"


def test_the_rise_is_found_above_the_lowest_loss_before_it():
    rise = rise_of(line(2.0, 1.0, 1.4, 0.5, 0.7, 9.0))
    assert (rise.low_alpha, rise.low, rise.alpha, rise.top) == (0.25, 1.0, 0.5, 1.4)
    assert rise.height == pytest.approx(0.4)
    assert rise_of(line(2.0, 1.9, 1.8, 1.7, 0.0, 9.0)) is None
    assert rise_of(line(2.0, 1.0, 1.001, 0.5, 0.0, 9.0), least=0.01) is None


def test_of_two_equal_lines_one_is_chosen():
    falling = (2.0, 1.5, 1.2, 1.1, 1.0, 9.0)
    best, previous = line(*falling, anchor="best", step=40), line(*falling, anchor="previous", step=40)
    earlier = line(*falling, anchor="best", step=20)
    initial = line(*(loss + 1 for loss in falling), step=0)
    lines = {"initial": [(80, initial)], "previous": [(80, previous)], "best": [(60, earlier), (80, best)]}
    assert distinct_anchors(lines) == ["initial", "previous"]
    assert distinct_anchors({**lines, "best": [(80, earlier)]}) == ["initial", "previous", "best"]
    assert distinct_anchors({"initial": [], "best": [(80, best)]}) == ["best"]


def plane(*rows):
    return Plane("x", "y", (-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0), rows, {"now": (0.0, 0.0)}, 0.0, 8)


@pytest.mark.parametrize(
    ("rows", "title"),
    [
        (
            ((3.0, 3.0, 3.0), (3.0, 2.0, 3.0), (3.0, 3.0, 1.0)),
            "The best point of this plane lowers the loss by 1 (50%)",
        ),
        (
            ((2.0, 2.0, 2.0), (2.0, 2.0, 1.9999), (2.0, 2.0, 2.0)),
            "The loss is the same on the whole plane, to within 0.01%",
        ),
        (
            ((2.0, 2.0, 2.0), (2.0, 2.0, 1.9999), (2.0, 2.0, 3.0)),
            "The best point of this plane lowers the loss by 0.0001 (less than 0.01%)",
        ),
        (((3.0,) * 3, (3.0, 2.0, 3.0), (3.0,) * 3), "No point of this plane has a lower loss than the present weights"),
        (((1.0,) * 3, (1.0, -1.0, -3.0), (1.0,) * 3), "The best point of this plane lowers the loss by 2"),
        (((3.0,) * 3, (3.0, math.nan, 3.0), (3.0,) * 3), "The loss of the present weights is not finite"),
        (((math.nan,) * 3,) * 3, "No loss on this plane is finite"),
    ],
)
def test_the_title_of_a_plane_says_what_its_lowest_point_is_worth(rows, title):
    assert plane_caption(plane(*rows)).title == title


def test_of_equally_low_points_the_nearest_is_the_lowest():
    assert lowest_point(plane((1.0, 1.0, 1.0), (2.0, 2.0, 1.0), (1.0, 2.0, 1.0)))[2] == 1.0
    assert lowest_point(plane((1.0, 1.0, 1.0), (2.0, 2.0, 2.0), (1.0, 2.0, 1.0)))[:2] == (0.0, -1.0)


@pytest.mark.parametrize(
    ("norms", "title"),
    [
        ([[1.0, 2.0, 3.0]], "Every part of the model receives a gradient"),
        ([[2e-7, 1e-3, 1.0]], "stem receives 2e-07 of the gradient of head"),
        ([[0.0, 1.0, 1.0]], "stem receives no gradient"),
        ([[None, 0.0, 1.0]], "stem and body receive no gradient"),
        ([[0.0, None, 0.0]], "No part of the model receives a gradient"),
        ([[1.0, math.nan, 1.0]], "The gradient of body is not finite"),
        ([[math.nan, 1.0, 1.0], [1.0, 2.0, 3.0]], "Every part of the model receives a gradient"),
    ],
)
def test_the_title_of_the_heat_map_says_which_parts_receive_no_gradient(norms, title):
    assert gradient_caption(range(len(norms)), ["stem", "body", "head"], norms).title == title


def verdict(cause, *, stuck=True, finding=None):
    return Verdict(cause, 60, 1400, stuck=stuck, reason="", finding=finding)


DEAD = Finding("units-died", Cause.FLAT_REGION, "c.3 outputs zero.", "re-initialise c.2.")


def test_the_title_of_the_loss_says_that_a_run_is_stuck_from_the_start():
    early = replace(verdict(Cause.FLAT_REGION), since=0)
    assert run_caption("flat_region", [early], [1, 2], [2.3, 2.3]).title == "Stuck on a flat region from the start"


@pytest.mark.parametrize(
    ("state", "verdicts", "title"),
    [
        ("learning", [], "Training loss from 2.3 to 0.4"),
        ("learning", [verdict(Cause.FLAT_REGION)], "Training loss from 2.3 to 0.4"),
        ("stalled", [], "The training loss stands still"),
        ("not_judged", [], "Training loss from 2.3 to 0.4, not judged"),
        ("flat_region", [verdict(Cause.FLAT_REGION)], "Stuck on a flat region since step 1,400"),
        (
            "flat_region",
            [verdict(Cause.FLAT_REGION, finding=DEAD)],
            "Stuck on a flat region: units died since step 1,400",
        ),
    ],
)
def test_the_title_of_the_loss_says_the_cause_and_the_finding(state, verdicts, title):
    caption = run_caption(state, verdicts, [1, 2, 3], [2.3, None, 0.4])
    assert caption.title == title
    assert ("reported at step 60" in caption.details) is (state == "flat_region")
    assert ("no alarm" in caption.details) is (not verdicts and state != "not_judged")


def test_a_verdict_on_a_metric_counts_as_an_alarm_and_is_no_title_of_the_training_loss():
    steps = {"first_step": 9, "best_step": 9, "step": 90, "since": 9, "values": 20}
    levels = {"first": 0.1, "best": 0.1, "now": 0.1, "gained": 0.0, "worse": 0.0}
    trend = MetricTrend("acc", rises=True, declared=True, **steps, **levels)
    found = Verdict(Cause.SETTLED, 90, 9, stuck=True, reason="", evidence=Evidence(trend))
    caption = run_caption("settled", [found], [0, 99], [2.0, 1.0])
    assert caption.title == "Training loss from 2 to 1"
    assert "1 alarm" in caption.details


def test_the_titles_of_curvature_say_how_far_the_loss_falls():
    spectrum = Spectrum((-1.0, 2.0), (0.25, 0.75), 3.0, 0.1, 0.25, 10, "exact", None, 1234, 64)
    assert spectrum_caption(spectrum).title == "The loss bends down in 25% of 1,234 directions"
    numbers = dict.fromkeys(
        ("residual_min", "residual_max", "error", "loss", "gradient_norm", "relative_gradient"), 0.1
    )
    for held_out, end in (
        (None, ""),
        ((1.0, 1.0, 0.75), ", on other batches by 0.25"),
        ((1.0, 1.0, 1.5), ", but not on other batches"),
    ):
        descent = Descent((-1.0, 0.0, 1.0), (1.0, 1.0, 0.5), held_out)
        found = Curvature(
            -1.0, 2.0, products=10, method="", reason=None, parameters=5, samples=8, descent=descent, **numbers
        )
        assert caption_of(found, 1).title == f"Along the smallest curvature the loss falls by 0.5{end}"


def test_what_a_cause_rests_on_comes_first_and_nothing_is_lost():
    usual = order_for(None)
    assert all(sorted(order_for(cause)) == sorted(usual) for cause in Cause)
    assert order_for(Cause.FLAT_REGION)[:2] == ("timeline", "grad_norms")
    pictures = {"mine": 1, "plane": 2, "line_from_best": 3, "grad_norms": 4, "timeline": 5}
    assert list(ordered_for(Cause.FLAT_REGION, pictures)) == [
        "timeline",
        "grad_norms",
        "line_from_best",
        "plane",
        "mine",
    ]


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0%"), (1.0, "100%"), (0.125, "12%"), (0.0123, "1.2%"), (1e-9, "less than 0.01%")]
)
def test_a_small_share_is_said_in_words(share, text):
    assert percent(share) == text


@pytest.mark.parametrize("last", [(1.0, 1.0), (1.0,)])
def test_the_title_of_the_gradients_is_made_of_rows_from_before_a_part_was_added(last):
    caption = gradient_caption([0, 10], ["body", "head"], [(1.0,), last])
    assert caption.details[1] == "2 parts"
