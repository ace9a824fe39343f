"""What is said of a validation loss and of declared metrics, and how their curves share a picture."""

import math

import pytest

from lightning_landscape.captions import best_words, metric_chart, since_words
from lightning_landscape.captions.falling import falls
from lightning_landscape.captions.metric_curves import CURVES, LONGEST_NAME, POINTS, metric_curves

STEPS = range(100)
FALLING = [2.0 * 0.97**step for step in STEPS]
FLAT = [1.0 + 0.1 * (-1) ** step for step in STEPS]


def metric(*values, name="val_loss", mode="min", declared=False, best=None, since=None, steps=None):
    """Return a metric with a value at every tenth step, as a monitor hands it to the document."""
    steps = [10 * (i + 1) for i in range(len(values))] if steps is None else steps
    best = None if best is None else {"step": best[0], "value": best[1]}
    return {
        "name": name, "mode": mode, "declared": declared, "step": steps, "value": list(values), "best": best,
        "since": since,
    }  # fmt: skip


def title(*metrics, losses=FALLING):
    return metric_chart(metrics, STEPS, losses).caption.title


RISEN = metric(2.0, 1.0, 0.5, 0.52, 0.54, 0.55, 0.55, 0.56, best=(30, 0.5), since=30)


def test_a_validation_loss_that_has_risen_while_training_falls_is_said_with_step_and_percent():
    assert title(RISEN) == "val_loss was best at step 30; 12% worse since, while training falls"


def test_training_that_does_not_fall_is_not_said_to_fall():
    assert title(RISEN, losses=FLAT) == "val_loss was best at step 30; 12% worse since"
    assert title(RISEN, losses=[math.nan] * 100) == "val_loss was best at step 30; 12% worse since"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (metric(1.0, 0.8, 0.9), "val_loss is best at step 20: 0.8"),
        (metric(1.0, 0.9, 0.8), "val_loss is best at step 30 so far: 0.8"),
        (metric(5e4, 48900.0), "val_loss is best at step 20 so far: 48,900"),
        (metric(0.7), "val_loss is 0.7 at step 10"),
        (metric(math.nan, math.inf), "No value of val_loss is finite"),
    ],
)
def test_the_title_of_a_metric_that_may_still_improve_names_its_best_value(given, said):
    assert title(given) == said


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (metric(1.0, 0.5, 0.502, 0.501, since=20), "val_loss has not clearly improved since step 20"),
        (metric(1.0, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, since=20), "val_loss was best at step 20; 50 times as high since"),
        (
            metric(-1.0, -3.0, -2.8, -2.6, -2.4, -2.2, -2.0, since=20),
            "val_loss was best at step 20; up from -3 to -2 since",
        ),
        (
            metric(0.2, 0.9, 0.88, 0.86, 0.84, 0.82, 0.8, name="acc", mode="max", since=20),
            "acc was best at step 20; down from 0.9 to 0.8 since",
        ),
    ],
)
def test_the_title_of_a_metric_that_has_stopped_improving_says_how_much_worse_it_is(given, said):
    assert title(given) == f"{said}, while training falls"


def test_the_best_and_the_latest_level_are_compared_where_they_are_known():
    levels = {**RISEN, "level": 0.51, "now": 0.555}
    assert title(levels) == "val_loss was best at step 30; 8.8% worse since, while training falls"


def test_a_best_value_by_chance_does_not_make_the_others_worse():
    scatter = [0.5 + 0.02 * (-1) ** i for i in range(12)]
    assert title(metric(2.0, 0.45, *scatter, since=20)) == (
        "val_loss has not clearly improved since step 20, while training falls"
    )


def test_a_declared_metric_leads_even_while_a_validation_loss_has_stopped():
    reward = metric(-10.0, 5.0, 9.0, name="reward", mode="max", declared=True)
    assert title(RISEN, reward) == "reward is best at step 30 so far: 9"
    assert [curve.name for curve in metric_chart([RISEN, reward], STEPS, FALLING).curves] == ["reward", "val_loss"]


def test_the_numbers_below_the_title_name_first_and_last_values_and_the_gaps():
    chart = metric_chart([metric(1.2, math.nan, 0.8, None, 0.79)], STEPS, FALLING)
    assert chart.caption.details == (
        "training loss from 2 to 0.098",
        "val_loss from 1.2 to 0.79, not finite at 2 of 5 steps",
    )


def test_labels_name_the_best_value_and_since_when_there_is_no_better_one():
    (curve,) = metric_curves([RISEN])
    assert best_words(curve) == "best: 0.5 at step 30"
    assert since_words(curve) == "not clearly better since step 30"
    (curve,) = metric_curves([metric(1.0, 0.9)])
    assert since_words(curve) is None


def panels(*metrics, losses=FALLING):
    return [
        (panel.axis, [curve.name for curve in panel.curves]) for panel in metric_chart(metrics, STEPS, losses).panels
    ]


def test_a_loss_on_the_scale_of_the_training_loss_shares_its_panel():
    gap = metric(*[1.9, 1.6, 1.4, 1.3, 1.25, 1.3, 1.4, 1.6], since=50)
    assert panels(gap, losses=[2.0 - 0.015 * step for step in STEPS]) == [("loss", ["val_loss"])]


@pytest.mark.parametrize(
    "given",
    [
        metric(2e4, 1.5e4, 1.2e4),
        RISEN,
        metric(0.3, 0.6, 0.9, name="acc", mode="max"),
        metric(1.5, 1.0, 0.5, name="val_wer", declared=True),
    ],
    ids=["thousands of times as large", "a rise too small to be seen there", "higher is better", "no loss"],
)
def test_any_other_metric_has_a_panel_below(given):
    assert panels(given) == [("training loss", []), (given["name"], [given["name"]])]


def test_without_a_training_loss_the_metrics_are_drawn_alone():
    assert panels(RISEN, losses=[None] * 100) == [("val_loss", ["val_loss"])]


def test_early_values_leave_the_frame_only_where_a_metric_has_stopped_improving():
    early = [50.0, 20.0, 5.0, 1.0, 0.5, 0.52, 0.54, 0.55, 0.55, 0.56]
    (_, panel) = metric_chart([metric(*early, name="wer", declared=True, since=50)], STEPS, FALLING).panels
    assert panel.frame == (0.5, pytest.approx(0.8))
    assert panel.beyond == "4 earlier values above the frame"
    (_, panel) = metric_chart([metric(*early, name="wer", declared=True)], STEPS, FALLING).panels
    assert panel.frame == (0.5, 50.0)
    assert panel.beyond is None


def test_of_many_metrics_the_declared_ones_are_drawn_first_and_the_others_counted():
    metrics = [metric(1.0, 0.9, name=f"val_loss/{i}", declared=i == 7) for i in range(8)]
    chart = metric_chart(metrics, STEPS, FALLING)
    assert len(chart.curves) == CURVES
    assert chart.omitted == 8 - CURVES
    assert "val_loss/7" in {curve.name for curve in chart.curves}


def test_a_long_curve_is_thinned_and_keeps_its_first_its_last_and_its_best_value():
    values = [1.0 + 0.001 * abs(i - 1234) for i in range(5000)]
    (curve,) = metric_curves([metric(*values, steps=list(range(5000)))])
    assert len(curve.steps) <= POINTS + 1
    assert (curve.steps[0], curve.steps[-1]) == (0, 4999)
    assert curve.best == (1234, 1.0)
    assert 1234 in curve.steps


def test_a_best_value_between_merged_points_is_within_the_frame_but_no_point_of_the_curve():
    merged = metric(1.0, 0.9, 0.95, best=(15, -0.2), since=15, name="wer", declared=True)
    (curve,) = metric_curves([merged])
    assert (curve.steps, curve.best) == ((10, 20, 30), (15, -0.2))
    assert metric_chart([merged], STEPS, FALLING).panels[1].frame == (-0.2, 1.0)


@pytest.mark.parametrize("value", [1e300, -1e300, math.inf, math.nan, None])
def test_a_value_with_which_arithmetic_overflows_is_a_gap(value):
    (curve,) = metric_curves([metric(1.0, value, 0.5)])
    assert curve.values == (1.0, None, 0.5)


def test_a_metric_that_was_never_logged_is_not_drawn():
    assert metric_chart([metric()], STEPS, FALLING) is None
    assert metric_chart([], STEPS, FALLING) is None


def test_a_name_of_any_length_becomes_one_short_line():
    (curve,) = metric_curves([metric(1.0, name="line\nbreak " * 99)])
    assert len(curve.name) <= LONGEST_NAME
    assert curve.name.isprintable()


def test_losses_fall_only_if_the_last_third_is_clearly_lower():
    assert falls(FALLING)
    assert not falls(FLAT)
    assert not falls([1.0] * 9)
    assert not falls(FALLING[::-1])
