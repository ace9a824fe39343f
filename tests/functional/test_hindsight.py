"""Plateaus that only the later losses show, and windows as long as the run."""

import math
import random

import pytest

from lightning_landscape.functional.hindsight import long_trends, stood_still
from lightning_landscape.functional.trend import summarize

BLOCKS, WIDTH = 200, 10


def blocks_of(loss, noise=0.3, seed=0):
    """Return the blocks of a run with this loss by the share of the run that has passed, and Gaussian noise."""
    draw = random.Random(seed)
    steps = BLOCKS * WIDTH
    values = [loss(i / steps) + noise * draw.gauss(0, 1) for i in range(steps)]
    return [summarize(values[i : i + WIDTH]) for i in range(0, steps, WIDTH)]


def drop(at, low=0.0):
    return lambda share: low + (1 - low) / (1 + math.exp(80 * (share - at)))


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_stood_still_in_noise_and_then_fell_has_a_stretch_that_ends_where_it_fell(seed):
    ((first, end),) = stood_still(blocks_of(drop(0.5), seed=seed), BLOCKS, 1.0)
    assert first <= 0.05 * BLOCKS
    assert 0.35 * BLOCKS < end < 0.55 * BLOCKS


def test_two_steps_have_two_stretches():
    found = stood_still(blocks_of(lambda x: drop(0.35, 0.4)(x) + drop(0.7, 0.4)(x) - 0.8, noise=0.05), BLOCKS, 1.2)
    assert len(found) == 2


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "loss",
    [
        lambda x: 1 - x,
        lambda x: math.exp(-6 * x),
        lambda x: 0.5 + 0.5 * math.exp(-30 * x),
        lambda x: 1.0,
        lambda x: (1 + 20 * x) ** -0.5,
    ],
    ids=["line", "exponential", "floor", "flat", "power-law"],
)
def test_a_loss_that_falls_steadily_or_ever_more_slowly_or_never_has_none(loss, seed):
    assert stood_still(blocks_of(loss, seed=seed), BLOCKS, 1.0) == []


def test_a_long_window_proves_what_noise_hides_in_a_short_one():
    trends = long_trends(blocks_of(lambda x: 1.0), BLOCKS, 0.0)
    assert [trend.window for trend in trends] == [400, 800, 1600]
    assert not trends[0].proven
    assert trends[-1].proven


def test_a_run_that_is_shorter_than_a_window_has_fewer_trends():
    assert long_trends(blocks_of(lambda x: 1.0)[:50], BLOCKS, 0.0)[0].window == 400
    assert long_trends([], BLOCKS, 0.0) == stood_still([], BLOCKS, 1.0) == []
