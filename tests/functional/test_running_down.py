"""Which losses run down without end: those that fall no more slowly than ever, far below their start and zero."""

import math

import pytest

from lightning_landscape.functional.running_down import fall_over_size, runs_down
from lightning_landscape.functional.trend import summarize


def told(losses, slope=1.0):
    blocks = [summarize(list(losses[i : i + 10])) for i in range(0, len(losses), 10)]
    return runs_down(summarize(losses[:10]), slope, blocks[-40:], len(losses))


def course(function, steps=1000):
    return [function(step) for step in range(steps)]


@pytest.mark.parametrize("function", [lambda t: -2.3 - t, lambda t: -2.3 - t**2 / 100, lambda t: -0.7 * 1.01**t])
def test_a_loss_that_falls_no_more_slowly_than_ever_runs_down(function):
    assert told(course(function))


@pytest.mark.parametrize(
    "function",
    [
        lambda t: 2 - 100 * math.log(1 + t),  # the likelihood of a density
        lambda t: 2 - 10 * math.sqrt(t),
        lambda t: 2 - 1000 * (1 - math.exp(-t / 100)),
        lambda t: -900 / (1 + math.exp((500 - t) / 50)),  # a late start
        lambda t: 2 - t / 100,  # not far yet
        lambda t: 3000 - t,  # not below zero
    ],
)
def test_a_loss_that_comes_to_rest_or_is_not_far_down_does_not(function):
    assert not told(course(function))


def test_a_loss_that_begins_near_zero_by_chance_has_the_size_of_its_slope():
    losses = course(lambda t: -(t**2) / 1e4)
    assert told(losses)
    assert not told(losses, slope=10.0)


@pytest.mark.parametrize("slope", [None, 0.0])
def test_without_a_slope_or_a_size_nothing_is_said(slope):
    blocks = [summarize([value] * 10) for value in (0.0, -50.0, -100.0)]
    assert fall_over_size(blocks[0], slope, blocks) == 0
    assert fall_over_size(blocks[0], 2.0, blocks) == pytest.approx(37.5)
