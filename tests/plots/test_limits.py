"""Axes of losses on which one spike does not squeeze everything else."""

import numpy as np
import pytest

from lightning_landscape.plots.canvas import new_axes
from lightning_landscape.plots.limits import set_loss_limits

STEPS = np.arange(200.0)
NOISE = np.random.default_rng(0).normal(size=200)
FALLING = 0.3 + 2 * np.exp(-STEPS / 30) + 0.02 * NOISE


def limits_of(*losses, **settings):
    """Return the limits, the scale and the notes of an axis with these curves."""
    _, axes = new_axes()
    notes = set_loss_limits(
        axes, [(STEPS[: len(values)], np.asarray(values, dtype=float)) for values in losses], **settings
    )
    return axes.get_ylim(), axes.get_yscale(), notes


@pytest.mark.parametrize("steps", [(100,), (100, 101), (20, 90, 150)], ids=["one", "two in a row", "three"])
@pytest.mark.parametrize("height", [300.0, 1e6, -1e6])
def test_a_few_spikes_lie_beyond_the_frame(steps, height):
    losses = FALLING.copy()
    losses[list(steps)] = height
    (low, high), scale, notes = limits_of(losses, log_ratio=30)
    assert -0.5 < low < FALLING.min()
    assert FALLING.max() < high < 4
    assert scale == "linear"
    lie = "value lies" if len(steps) == 1 else "values lie"
    side = "above" if height > 0 else "below"
    assert notes == [f"{len(steps)} {lie} {side} the frame, up to {height:.3g}"]


def test_without_spikes_everything_is_inside_the_frame():
    for losses in (FALLING, NOISE, FALLING[::-1], np.full(200, 2.3), np.array([1.0]), np.array([1.0, 500.0])):
        (low, high), _, notes = limits_of(losses)
        assert low < losses.min() <= losses.max() < high
        assert notes == []


def test_the_first_and_the_last_loss_are_never_spikes():
    first, last = 0.3 + 0.01 * NOISE, 0.3 + 0.01 * NOISE
    first[0], last[-1] = 8.0, 8.0
    for losses in (first, last):
        (_, high), _, notes = limits_of(losses)
        assert high > 8
        assert notes == []


def test_losses_over_several_decades_have_a_logarithmic_axis_and_a_spike_does_not():
    decades = np.geomspace(10, 1e-3, 200)
    spike = FALLING.copy()
    spike[70] = 1e5
    assert limits_of(decades, log_ratio=30)[1] == "log"
    assert limits_of(spike, log_ratio=30)[1] == "linear"
    assert limits_of(decades - 5, log_ratio=30)[1] == "linear"


def test_a_curve_of_gaps_has_no_ticks():
    _, axes = new_axes()
    assert set_loss_limits(axes, [(STEPS, np.full(200, np.nan))]) == []
    assert list(axes.get_yticks()) == []
