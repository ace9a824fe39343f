"""The readings of `landscape path` and `landscape try`: their sentences and figures."""

import math

import pytest

from lightning_landscape.evidence import Course, RunPath, WhatIf
from lightning_landscape.plots import render, run_path_figure, what_if_figure


def path(*lines, rises=None):
    steps = tuple(range(100, 100 * (len(lines) + 2), 100))
    rises = tuple(rises or [0.0] * len(lines))
    return RunPath(tuple(map(str, steps)), steps, tuple(map(tuple, lines)), rises, samples=64)


def test_training_stops_paying_where_95_percent_of_the_fall_was_reached():
    found = path([2.0, 1.0, 0.3], [0.3, 0.2, 0.1], [0.1, 0.05, 0.02])
    assert found.losses == (2.0, 0.3, 0.1, 0.02)
    assert found.paid_until == 2
    assert found.sentence() == (
        "Training stopped paying at step 300: 95% of the fall of the loss was reached there, and the other 33% of the "
        "steps brought the rest. The loss never rises on the straight lines between the checkpoints."
    )


def test_a_rise_between_checkpoints_is_named():
    found = path([2.0, 2.5, 1.0], [1.0, 0.5, 0.2], rises=[0.5, 0.0])
    assert found.monotone == (False, True)
    assert "On the straight line it rises between steps 100 and 200." in found.sentence()


def test_a_loss_that_never_falls_has_never_paid():
    found = path([1.0, 1.0, 1.0], [1.0, 2.0, math.nan], rises=[0.0, math.nan])
    assert found.paid_until is None
    assert "did not fall from step 100 to step 300" in found.sentence()


def what_if(own, other):
    courses = [Course(name, (0, 40), (1.0, sum(last) / len(last)), tuple(last)) for name, last in (own, other)]
    return WhatIf(*courses, step=500)


def test_a_difference_within_the_noise_of_the_batches_is_none():
    found = what_if(("going on as it is", [0.5, 0.6, 0.4]), ("learning rate 1", [0.6, 0.5, 0.39]))
    assert abs(found.advantage) < found.margin
    assert "the same after 40 steps, within its noise" in found.sentence()


@pytest.mark.parametrize(("last", "words"), [([0.2, 0.31, 0.1], "59% lower"), ([0.9, 1.0, 0.81], "81% higher")])
def test_a_clear_difference_is_said_in_words(last, words):
    found = what_if(("going on as it is", [0.5, 0.6, 0.4]), ("AdamW", last))
    assert words in found.sentence()


def test_a_loss_that_is_not_finite_is_said():
    found = what_if(("going on as it is", [0.5, 0.6]), ("learning rate 9", [math.nan, 1.0]))
    assert found.sentence() == "The held-out loss is not finite after 40 steps: learning rate 9."


@pytest.mark.parametrize(
    "reading",
    [
        path([2.0, 2.5, 1.0], [1.0, 0.5, 0.01], rises=[0.5, 0.0]),
        path([1.0, math.inf, 1.0], [1.0, math.nan, math.nan], rises=[math.inf, math.nan]),
    ],
)
def test_the_figure_of_a_path_is_drawn_for_any_reading(reading):
    assert render(run_path_figure(reading)).std() > 10


@pytest.mark.parametrize("last", [[0.2, 0.3], [math.nan, math.inf]])
def test_the_figure_of_a_what_if_is_drawn_for_any_reading(last):
    assert render(what_if_figure(what_if(("going on as it is", [0.5, 0.6]), ("AdamW", last)))).std() > 10
