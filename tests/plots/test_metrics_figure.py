"""The picture of a validation loss and of declared metrics beside the training loss."""

import math

import matplotlib as mpl
import numpy as np
import pytest

from lightning_landscape.captions import metric_chart
from lightning_landscape.plots import metrics_figure, render
from lightning_landscape.plots.canvas import SOFT
from tests.captions.test_metric_captions import FALLING, RISEN, STEPS, metric
from tests.plots.test_plots import texts_on

ACCURACY = metric(0.2, 0.6, 0.9, 0.88, name="acc", mode="max", declared=True, best=(30, 0.9), since=30)


def drawn(*metrics, losses=FALLING):
    return metrics_figure(metric_chart(metrics, STEPS, losses), STEPS, losses)


def curve_of(axes):
    """Return the points of the first curve on these axes."""
    return axes.lines[0].get_xydata().T.tolist()


def test_each_metric_has_a_panel_over_the_same_steps_with_its_name_above_it():
    figure = drawn(RISEN, ACCURACY)
    training, accuracy, validation = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["training loss", "acc", "val_loss"]
    assert {axes.get_xlim() for axes in figure.axes} == {(0, 99)}
    assert curve_of(training)[1] == pytest.approx(FALLING)
    assert curve_of(accuracy) == [[10, 20, 30, 40], [0.2, 0.6, 0.9, 0.88]]
    assert curve_of(validation)[1] == RISEN["value"]
    assert validation.get_xlabel() == "optimizer step"


def test_the_title_the_best_point_and_the_steps_without_improvement_are_on_the_picture():
    figure = drawn(RISEN)
    text = texts_on(figure)
    assert "val_loss was best at step 30; 12% worse since, while training falls" in text
    assert "best: 0.5 at step 30" in text
    assert "not clearly better since step 30" in text
    assert "shaded: not clearly better" in text
    axes = figure.axes[1]
    assert any(mark.get_xydata().tolist() == [[30, 0.5]] for mark in axes.lines)
    (shaded,) = axes.patches
    assert (shaded.get_x(), shaded.get_x() + shaded.get_width()) == (30, 99)


def test_a_metric_that_may_still_improve_is_not_shaded():
    figure = drawn(metric(1.0, 0.9, 0.8, name="wer", declared=True))
    assert not figure.axes[1].patches
    assert "shaded" not in texts_on(figure)


def test_curves_that_share_a_panel_are_named_at_their_ends_without_overlap():
    losses = [2.0 - 0.015 * step for step in STEPS]
    figure = drawn(metric(1.9, 1.6, 1.3, 0.9, 0.7, 0.52, steps=[10, 20, 40, 70, 90, 99]), losses=losses)
    (axes,) = figure.axes
    render(figure)
    names = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert not names["training loss"].overlaps(names["val_loss"])
    assert axes.get_title(loc="left") == "loss"


def test_no_text_leaves_the_picture_and_no_label_hides_another():
    figure = drawn(RISEN, ACCURACY)
    render(figure)
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_values_beyond_the_frame_are_counted_beside_the_name():
    values = [50.0, 20.0, 5.0, 1.0, 0.5, 0.52, 0.54, 0.55, 0.55, 0.56]
    axes = drawn(metric(*values, name="wer", declared=True, since=50)).axes[1]
    assert axes.get_title(loc="right") == "4 earlier values above the frame"
    assert axes._right_title.get_color() == SOFT
    assert axes.get_ylim()[1] < 1


@pytest.mark.parametrize(
    "given",
    [
        metric(0.7),
        metric(math.nan, math.inf, None),
        metric(1.0, math.nan, 0.8),
        metric(1.0, 1.0, 1.0, since=10),
        metric(0.0, 0.0, since=20),
        metric(1e-30, 1e30, name="wer", declared=True, since=10),
        metric(-5e99, 5e99, since=10),
        metric(3.0, 2.0, steps=[7, 10**9]),
    ],
    ids=["one value", "none finite", "a gap", "constant", "zero", "60 powers of ten", "huge", "far apart"],
)
@pytest.mark.parametrize("losses", [FALLING, [None] * 100], ids=["training", "no training loss"])
def test_any_values_can_be_drawn(given, losses):
    chart = metric_chart([given], STEPS, losses)
    if chart.panels:
        assert render(metrics_figure(chart, STEPS, losses)).shape[1] == 640


def test_values_that_are_not_finite_are_gaps():
    figure = drawn(metric(1.0, math.nan, 0.8, name="wer", declared=True))
    assert np.isnan(figure.axes[1].lines[0].get_ydata()).tolist() == [False, True, False]
    assert "not finite at 1 of 3 steps" in texts_on(figure)


@pytest.mark.parametrize("name", ["$x_1$", "<script>alert('x')</script>", "line\nbreak\0", "日本語 🧠", "\ud800", ""])
def test_any_name_can_be_drawn_and_none_is_parsed_as_mathtext(name):
    for values in ((1.9, 1.0, 0.3), (2e4, 1e4, 9e3)):
        figure = drawn(metric(*values, name=name))
        render(figure)
        assert not any(mpl.cbook.is_math_text(text.get_text()) for text in figure.findobj(mpl.text.Text))
