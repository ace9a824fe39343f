"""Decisions from block means: stalled windows, the end of a plateau, jumps and growth of the loss."""

import pytest

from lightning_landscape.evidence import Trend
from lightning_landscape.functional.plateau import (
    examine,
    has_ended,
    has_shifted_up,
    is_far_above,
    is_growing,
    rise_since_start,
    stalled_windows,
)
from lightning_landscape.functional.trend import merge, summarize

STALLED = Trend(100, level=1.0, progress=0.0, margin=0.001, tolerance=0.01)
BY_CHANCE = Trend(100, level=1.0, progress=-0.2, margin=0.1, tolerance=0.01)
FALLING = Trend(200, level=1.0, progress=0.1, margin=0.01, tolerance=0.01)
SEEN = Trend(200, level=1.0, progress=0.008, margin=0.009, tolerance=0.01)
UNSEEN = Trend(200, level=1.0, progress=0.0, margin=0.1, tolerance=0.01)


def steps_at(*means):
    """Return blocks of 4 equal losses each."""
    return [summarize([float(mean)] * 4) for mean in means]


def test_a_window_has_a_trend_as_soon_as_there_are_enough_blocks():
    blocks = steps_at(*[1.0] * 40)
    assert [len(examine(blocks[:count])) for count in (9, 10, 19, 20, 39, 40)] == [0, 1, 1, 2, 2, 3]
    assert [trend.window for trend in examine(blocks)] == [40, 80, 160]


@pytest.mark.parametrize(
    ("trends", "counted"),
    [
        ([STALLED, STALLED], [0, 1]),
        ([STALLED, FALLING], []),
        ([BY_CHANCE, SEEN], []),
        ([STALLED, SEEN], [0]),
        ([BY_CHANCE, UNSEEN], [0]),
        ([FALLING, STALLED], [1]),
    ],
)
def test_a_longer_window_with_more_power_overrules_a_shorter_one(trends, counted):
    assert stalled_windows(trends) == counted


def test_a_plateau_ends_when_the_loss_falls_over_most_windows_and_none_has_stalled():
    assert has_ended([FALLING, FALLING, UNSEEN], now=1.0, rise=None, level=1.0, error=0.0)
    assert not has_ended([FALLING, UNSEEN, UNSEEN], now=1.0, rise=None, level=1.0, error=0.0)
    assert not has_ended([FALLING, FALLING, STALLED], now=1.0, rise=None, level=1.0, error=0.0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_plateau_ends_when_the_loss_lies_well_below_it(sign):
    level = sign * 1.0
    assert has_ended([STALLED], now=level - 0.05, rise=None, level=level, error=0.01)
    assert not has_ended([STALLED], now=level - 0.02, rise=None, level=level, error=0.01)
    assert not has_ended([STALLED], now=level - 0.05, rise=None, level=level, error=0.03)


def test_a_rise_since_the_start_needs_to_exceed_the_noise():
    start = merge(steps_at(1.0, 1.0))
    noisy = Trend(100, level=3.0, progress=0.0, margin=1.0, tolerance=0.012)
    rise = rise_since_start(start, 3.0, noisy, steps=500)
    assert rise is not None
    assert (rise.window, rise.progress) == (500, -2.0)
    assert rise_since_start(start, 1.2, noisy, steps=500) is None
    assert rise_since_start(start, 0.5, noisy, steps=500) is None


def test_a_plateau_above_the_start_ends_only_when_the_longest_window_falls():
    rise = Trend(500, level=3.0, progress=-2.0, margin=0.1, tolerance=0.03)
    assert not has_ended([FALLING], now=3.0, rise=rise, level=3.0, error=0.0)
    assert not has_ended([FALLING, FALLING, UNSEEN], now=3.0, rise=rise, level=3.0, error=0.0)
    assert has_ended([UNSEEN, UNSEEN, FALLING], now=3.0, rise=rise, level=3.0, error=0.0)


@pytest.mark.parametrize("unit", [1e-6, 1, 1e6, -1e-6, -1e6])
def test_a_shift_is_a_step_up_of_30_percent_in_any_unit(unit):
    rise = abs(unit)
    assert has_shifted_up(steps_at(*[unit] * 5, *[unit + 0.4 * rise] * 5))
    assert not has_shifted_up(steps_at(*[unit] * 5, *[unit + 0.2 * rise] * 5))
    assert not has_shifted_up(steps_at(*[unit + 0.4 * rise] * 5, *[unit] * 5))


@pytest.mark.parametrize("unit", [1e-6, 1, 1e6])
def test_growth_is_a_tenth_from_each_quarter_to_the_next_in_any_unit(unit):
    def grows(*means):
        return is_growing(steps_at(*[unit * mean for mean in means for _ in range(2)]))

    assert grows(1.0, 1.2, 1.4, 1.7)
    assert not grows(1.0, 1.2, 1.25, 1.7)
    assert not grows(1.0, 1.2, 1.4, 1.3)
    assert grows(-2.0, -1.0, 1.0, 5.0)


def test_growth_needs_to_exceed_the_noise():
    spikes = [summarize([0.0, 0.0, 0.0, spike]) for spike in (1.0, 1.3, 1.6, 2.0)]
    assert not is_growing([block for block in spikes for _ in range(2)])


def test_far_above_is_three_times_the_start_or_twice_its_scatter():
    assert is_far_above(merge(steps_at(1.0)), 3.1)
    assert not is_far_above(merge(steps_at(1.0)), 2.9)
    assert is_far_above(merge(steps_at(-1.0)), 1.1)
    assert not is_far_above(summarize([1.0, -1.0, 1.0, -1.0]), 1.9)
