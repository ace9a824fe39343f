"""Trials as bars, and what their title says of going on as it is."""

from __future__ import annotations

import math
from dataclasses import fields

import matplotlib as mpl
import pytest

from lightning_landscape.captions import GOING_ON, trial_chart
from lightning_landscape.captions.trials import RESTARTS, TRIALS, result
from lightning_landscape.evidence import Alternatives, Evidence, Restart, RestartedRun, Trials
from lightning_landscape.evidence.trials import RATE_FACTORS
from lightning_landscape.plots import render, trials_figure

TRIED = {"this optimizer": 0.03, "adam": -959.0, "learning rate x10": 0.72, "line search": 0.9}


def trials(**gains):
    return Trials({"this optimizer": 0.0, **gains}, steps=40, relative_gradient=1.0, decay_pull=0.0, samples=64)


TENFOLD = Trials(TRIED, steps=40, relative_gradient=1.0, decay_pull=0.0, samples=64)


def test_the_title_names_the_trial_that_helps_most_beside_going_on():
    chart = trial_chart(Evidence(TENFOLD))
    assert chart.caption.title == "Ten times the learning rate: loss 72% lower"
    assert chart.caption.details[0] == "going on as it is: 3% lower"
    assert [bar.name for bar in chart.groups[0].bars] == [
        "a line search along the gradient",
        "ten times the learning rate",
        GOING_ON,
        "Adam at a learning rate of 0.01",
    ]


def test_where_no_trial_gains_more_than_going_on_the_title_says_so():
    for gains in ({"adam": 0.3, "this optimizer": 0.28}, {"adam": 0.01}, {"adam": -math.inf}):
        title = trial_chart(Evidence(trials(**gains))).caption.title
        assert title == "Nothing that was tried lowers the loss clearly more than going on as it is"


def test_a_step_along_the_gradient_is_named_only_if_nothing_else_helps():
    title = trial_chart(Evidence(trials(**{"line search": 0.5}))).caption.title
    assert title == "A line search along the gradient: loss 50% lower"


def test_restarts_are_compared_with_going_on_for_as_long():
    restart = Restart(
        0.6,
        1,
        300,
        own=RestartedRun(0.6, 300, stopped_at=120),
        going_on=RestartedRun(0.58, 300),
        tenth=RestartedRun(-2.0, 300),
    )
    chart = trial_chart(Evidence(TENFOLD, restart))
    short, long = chart.groups
    assert (short.heading, short.going_on) == ("40 steps each", 0.03)
    assert (long.heading, long.going_on) == ("up to 300 steps", 0.58)
    assert [(bar.name, bar.result) for bar in long.bars] == [
        ("new weights", "60% lower"),
        (GOING_ON, "58% lower"),
        ("initial weights, a tenth of the rate", "3.0 times as high"),
    ]
    assert chart.caption.title.startswith("Ten times the learning rate")


def test_alternatives_of_as_many_steps_stand_beside_the_trials():
    more = Alternatives({"batch x4": 0.5}, steps=40, batches=8)
    assert "a batch four times as large" in {bar.name for bar in trial_chart(Evidence(TENFOLD, more)).groups[0].bars}


def test_without_trials_there_is_no_chart():
    assert trial_chart(Evidence()) is None
    assert trial_chart(Evidence(Restart(-math.inf, 0, 300, going_on=RestartedRun(0.1, 300)))) is None


def test_every_trial_and_every_restart_has_a_name():
    assert set(RATE_FACTORS) <= set(TRIALS)
    runs = {field.name for field in fields(Restart) if "RestartedRun" in str(field.type)}
    assert runs == set(RESTARTS)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.7234, "72% lower"),
        (1.0, "100% lower"),
        (44.9, "more than 100% lower"),
        (0.004, "unchanged"),
        (-0.05, "5% higher"),
        (-1.5, "2.5 times as high"),
        (-959.0, "960 times as high"),
        (-1e12, "huge"),
        (-math.inf, "not finite"),
        (math.nan, "not finite"),
    ],
)
def test_a_result_is_said_in_words_and_not_by_signs(gain, words):
    assert result(gain) == words


def test_the_figure_has_a_bar_for_each_trial_with_its_result_and_a_line_for_going_on():
    chart = trial_chart(Evidence(TENFOLD))
    figure = trials_figure(chart)
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [bar.name for bar in chart.groups[0].bars]
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == pytest.approx([0.9, 0.72, 0.03, -0.5])  # the last is cut off, and its result says how high it is
    baseline = axes.lines[0]
    assert list(baseline.get_xdata()) == [0.03, 0.03]
    render(figure)
    texts = {text.get_text() for text in figure.findobj(mpl.text.Text)}
    assert {"90% lower", "72% lower", "3% lower", "960 times as high", "40 steps each"} <= texts
    assert chart.caption.title in texts


@pytest.mark.parametrize("gains", [{"adam": -math.inf}, {"adam": math.nan}, {f"mine {i}": 0.1 for i in range(30)}])
def test_unusual_trials_are_drawn(gains):
    assert render(trials_figure(trial_chart(Evidence(trials(**gains))))).shape[1] == 640
