"""The line through a noisy loss and its error bar, checked by hand, by invariances and by simulation."""

from itertools import pairwise
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_landscape.evidence import Trend
from lightning_landscape.functional.trend import (
    Block,
    fit_trend,
    fold,
    mean_loss,
    merge,
    summarize,
    trend_on_same_batches,
)

losses = st.integers(-(10**5), 10**5).map(lambda thousandths: thousandths / 1000)


def blocks_of(series, width):
    """Return the series in blocks of `width` losses."""
    series = [float(loss) for loss in series]
    befores = [None, *series[width - 1 :: width]]
    return [summarize(series[i : i + width], befores[i // width]) for i in range(0, len(series), width)]


def ar1(rng, phi, runs, steps):
    """Return stationary AR(1) noise of variance 1, shape (runs, steps)."""
    noise = rng.standard_normal((runs, steps))
    for step in range(1, steps):
        noise[:, step] = phi * noise[:, step - 1] + sqrt(1 - phi * phi) * noise[:, step]
    return noise


# Blocks


@given(st.lists(losses, min_size=2, max_size=30), st.data())
def test_merged_blocks_equal_the_block_of_all_losses(series, data):
    cut = data.draw(st.integers(1, len(series) - 1))
    merged = merge([summarize(series[:cut]), summarize(series[cut:], before=series[cut - 1])])
    assert merged == pytest.approx(summarize(series), rel=1e-9, abs=1e-9)


def test_block_of_1_2_4_by_hand():
    block = summarize([1.0, 2.0, 4.0], before=0.0)
    assert block == pytest.approx(Block(n=3, mean=7 / 3, m2=14 / 3, d2=1 + 1 + 4, pairs=3))


def test_merging_adds_up_the_predicted_decrease():
    block = summarize([1.0])._replace(predicted=0.5, sampled=1)
    assert merge([block, block, summarize([1.0])])[5:] == (1.0, 2)


@given(st.lists(losses, min_size=1, max_size=40), st.integers(1, 12))
def test_folding_keeps_every_loss(series, count):
    folded = fold(blocks_of(series, 1), count)
    assert len(folded) == min(count, len(series))
    assert sum(block.n for block in folded) == len(series)
    assert mean_loss(folded) == pytest.approx(mean_loss(blocks_of(series, 1)), abs=1e-9)


def test_a_block_needs_a_loss():
    with pytest.raises(ValueError, match="got none"):
        summarize([])


# The line


def test_an_exact_line_falls_by_its_slope_times_the_window_with_margin_0():
    trend = fit_trend(blocks_of([5.0, 4.0, 3.0, 2.0, 1.0], 1), tolerance=0.1)
    assert (trend.window, trend.level, trend.progress, trend.margin) == (5, 3.0, 5.0, 0.0)
    assert trend.falling
    assert not trend.stalled


def test_margin_of_0_1_0_by_hand():
    # The residuals -1/3, 2/3, -1/3 have variance 2/3. The measured autocorrelation is 1 - 1/(2 · 2/3) = 1/4. With the
    # correction of its bias it reaches the bound of 2/3 for 3 losses, which inflates the variance by 5.
    trend = fit_trend(blocks_of([0.0, 1.0, 0.0], 1), tolerance=0.1)
    assert trend.progress == pytest.approx(0.0)
    assert trend.margin == pytest.approx(2.5 * sqrt(12 * (2 / 3) / 3 * 5))


@pytest.mark.parametrize("loss", [1e-9, 0.1, 2.302585, 1e12, -0.7])
def test_a_constant_loss_has_stalled_with_margin_0(loss):
    trend = fit_trend(blocks_of([loss] * 40, 4), tolerance=0.012)
    assert (trend.level, trend.progress, trend.margin) == (abs(loss), 0.0, 0.0)
    assert trend.stalled
    assert trend.powered


def test_a_loss_of_zero_has_not_stalled_because_it_has_no_scale():
    trend = fit_trend(blocks_of([0.0] * 40, 4), tolerance=0.012)
    assert not trend.stalled
    assert "averages zero" in trend.sentence()


def test_blocks_of_unequal_width_are_placed_at_their_steps():
    series = [10.0 - 0.5 * step for step in range(12)]
    blocks = [summarize(series[:2]), summarize(series[2:3]), summarize(series[3:8]), summarize(series[8:])]
    assert fit_trend(blocks, tolerance=0.1).progress == pytest.approx(0.5 * 12)


def test_predicted_decrease_is_the_sampled_mean_times_the_window():
    blocks = [block._replace(predicted=0.2, sampled=1) for block in blocks_of([1.0] * 40, 10)]
    assert fit_trend(blocks, tolerance=0.01).predicted == pytest.approx(0.2 * 40)
    assert fit_trend([block._replace(sampled=0) for block in blocks], tolerance=0.01).predicted is None
    few = [block._replace(sampled=int(i < 2)) for i, block in enumerate(blocks)]
    assert fit_trend(few, tolerance=0.01).predicted is None


def test_small_updates_bound_the_fall_that_noise_hides():
    noise = np.random.default_rng(0).standard_normal(100)
    hidden = fit_trend(blocks_of(1 + noise, 10), tolerance=0.01)
    blocks = [block._replace(predicted=1e-6, sampled=1) for block in blocks_of(1 + noise, 10)]
    assert not hidden.stalled
    assert not hidden.powered
    assert fit_trend(blocks, tolerance=0.01).stalled
    assert fit_trend(blocks, tolerance=0.01).powered


def test_a_trend_needs_three_blocks():
    with pytest.raises(ValueError, match="got 2"):
        fit_trend(blocks_of([1.0, 2.0], 1), tolerance=0.1)


def test_with_a_nan_the_loss_neither_falls_nor_has_stalled():
    trend = fit_trend(blocks_of([1.0] * 39 + [float("nan")], 4), tolerance=0.012)
    assert isnan(trend.progress)
    assert not trend.stalled
    assert not trend.falling


# Unit, sign, offset


@given(st.lists(losses, min_size=12, max_size=40), st.integers(-200, 200))
def test_another_unit_scales_every_field_bit_for_bit(series, power):
    unit = 2.0**power
    trend = fit_trend(blocks_of(series, 2), tolerance=0.012)
    scaled = fit_trend(blocks_of([loss * unit for loss in series], 2), tolerance=0.012)
    assert scaled == Trend(trend.window, trend.level * unit, trend.progress * unit, trend.margin * unit, 0.012)
    assert (scaled.stalled, scaled.falling, scaled.powered) == (trend.stalled, trend.falling, trend.powered)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("fall", [0.0, 0.01, 0.1])
def test_a_millionth_or_a_million_times_the_loss_changes_no_decision(unit, fall):
    rng = np.random.default_rng(1)
    for _ in range(50):
        series = 2 * (1 - fall * np.arange(200) / 200) + 0.01 * rng.standard_normal(200)
        plain, scaled = (fit_trend(blocks_of(s, 10), tolerance=0.018) for s in (series, series * unit))
        assert (scaled.stalled, scaled.falling, scaled.powered) == (
            plain.stalled,
            plain.falling,
            plain.powered,
        )


def test_a_negative_loss_falls_and_stalls_like_a_positive_one():
    noise = 0.01 * np.random.default_rng(2).standard_normal(200)
    slope = 0.2 * np.arange(200) / 200
    for centre in (-2.0, 2.0):
        assert fit_trend(blocks_of(centre - slope + noise, 10), tolerance=0.018).falling
        assert fit_trend(blocks_of(centre + noise, 10), tolerance=0.018).stalled


# The error bar


@pytest.mark.parametrize("width", [4, 10, 50])
@pytest.mark.parametrize("kind", ["white", "AR(0.9)", "heavy-tailed", "periodic"])
def test_the_margin_holds_in_at_least_97_of_100_windows(kind, width):
    rng = np.random.default_rng(3)
    runs, steps = 400, 10 * width
    if kind == "white":
        noise = rng.standard_normal((runs, steps))
    elif kind == "AR(0.9)":
        noise = ar1(rng, 0.9, runs, steps)
    elif kind == "heavy-tailed":
        noise = rng.standard_t(3, (runs, steps))
    else:
        noise = np.stack([np.resize(rng.standard_normal(13), steps) for _ in range(runs)])
    trends = [fit_trend(blocks_of(10 + series, width), tolerance=0.01) for series in noise]
    assert np.mean([abs(trend.progress) <= trend.margin for trend in trends]) >= 0.97


def test_the_margin_for_white_noise_is_at_most_a_quarter_too_wide():
    # For white noise of variance 1, the fall over n losses has the standard deviation sqrt(12 / n). At n = 400, 2.5
    # standard deviations are 0.43.
    rng = np.random.default_rng(4)
    margins = [fit_trend(blocks_of(rng.standard_normal(400), 10), tolerance=0.01).margin for _ in range(100)]
    assert 0.43 < np.median(margins) < 1.25 * 0.43


def test_the_margin_shrinks_with_longer_windows():
    noise = np.random.default_rng(5).standard_normal(1600)
    margins = [fit_trend(blocks_of(noise[:steps], 10), tolerance=0.01).margin for steps in (100, 400, 1600)]
    assert all(longer < shorter for shorter, longer in pairwise(margins))


# Earlier and later weights on the same batches


def losses_on_batches(rng, fall, of_batches, of_weights, points=4, batches=6):
    """Return the losses of weights whose mean loss falls on a line, with noise of each batch and of the weights."""
    levels, slopes = rng.normal(1.0, 0.3, batches), rng.normal(-fall, of_batches, batches)
    jumps = rng.normal(0.0, of_weights, points)
    return [[float(levels[b] + slopes[b] * k / (points - 1) + jumps[k]) for b in range(batches)] for k in range(points)]


def test_the_fall_and_the_level_on_the_same_batches_are_those_of_the_mean():
    trend = trend_on_same_batches([0, 10, 20], [[5.0, 3.0], [4.5, 2.5], [4.0, 2.0]], tolerance=0.1, floor=1.0)
    assert (trend.window, trend.batches) == (20, 2)
    assert trend.progress == pytest.approx(1.0)
    assert trend.level == pytest.approx(2.5)
    assert trend.margin == pytest.approx(0.0, abs=1e-12)
    assert trend.falling


def test_differences_between_batches_do_not_hide_a_loss_that_stands_still():
    trend = trend_on_same_batches([0, 10, 20], [[100.0, 0.1, 3.0]] * 3, tolerance=0.02)
    assert (trend.stalled, trend.powered, trend.margin) == (True, True, 0.0)


@pytest.mark.parametrize(
    ("of_batches", "of_weights", "most"), [(0.01, 0.0, 0.03), (0.01, 0.01, 0.06), (0.0, 0.01, 0.08)]
)
def test_a_loss_that_falls_by_the_tolerance_seldom_counts_as_stalled(of_batches, of_weights, most):
    rng, runs = np.random.default_rng(0), 2000
    series = [losses_on_batches(rng, 0.024, of_batches, of_weights) for _ in range(runs)]
    trends = [trend_on_same_batches([0, 50, 100, 150], losses, tolerance=0.0) for losses in series]
    assert sum(trend.largest_fall < 0.024 for trend in trends) < most * runs


@pytest.mark.parametrize(("steps", "losses"), [([0, 10], [[1.0, 1.0]] * 2), ([0, 10, 20], [[1.0]] * 3), ([], [])])
def test_too_few_points_or_batches_are_refused(steps, losses):
    with pytest.raises(ValueError, match="at least 3 steps and 2 batches, got"):
        trend_on_same_batches(steps, losses, tolerance=0.02)


def test_the_sentence_says_on_how_many_batches():
    trend = trend_on_same_batches([0, 10, 20], [[2.0, 4.0]] * 3, tolerance=0.02)
    assert trend.sentence() == (
        "The training loss on the same 2 batches has not fallen at all in 20 steps; the test would have noticed a fall "
        "of 2%."
    )
