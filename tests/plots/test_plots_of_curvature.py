"""Figures of curvature readings and planes, including unusual ones."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from lightning_landscape.evidence import Plane
from lightning_landscape.plots import descent_figure, plane_figure, render, spectrum_figure
from lightning_landscape.plots.plane import FINER, TICK_DISTANCE, _smooth, round_ticks, tick_labels
from lightning_landscape.probes.curvature import HessianExtremes, HessianSpectrum
from lightning_landscape.probes.path import PathPlane
from lightning_landscape.surface import LossSurface


def saddle(params):
    return 1 + (params["x"] ** 2).sum() - (params["y"] ** 2).sum()


HERE = {"x": torch.zeros(3), "y": torch.zeros(2)}
PATH = {"initial": {"x": torch.ones(3), "y": torch.ones(2)}, "best": {"x": torch.ones(3), "y": torch.zeros(2)}}
SURFACE = LossSurface(saddle, HERE, PATH, held_out=saddle)


def is_drawn(figure: Figure) -> bool:
    """Return whether the rendered figure has more than a few colours."""
    return len(set(render(figure).reshape(-1).tolist())) > 5


def plane_of(losses, points) -> Plane:
    return Plane("x", "y", (-1.0, 0.0, 1.0), (-1.0, 0.0, 1.0), losses, points, 0.3, 8)


def test_spectrum_and_descent_and_plane_are_drawn():
    curvature = HessianExtremes()(SURFACE)
    assert is_drawn(spectrum_figure(HessianSpectrum()(SURFACE)))
    assert is_drawn(descent_figure(curvature))
    assert is_drawn(plane_figure(PathPlane(resolution=5)(SURFACE)))


@pytest.mark.parametrize(
    "losses",
    [
        ((1.0, 1.0, 1.0),) * 3,
        ((math.nan, 1.0, 2.0), (1.0, math.inf, 4.0), (0.5, 100.0, 3.0)),
        ((math.nan,) * 3,) * 3,
        ((-1.0, 0.0, 2.0),) * 3,
    ],
    ids=["constant", "with NaN and inf", "all NaN", "negative"],
)
def test_planes_with_unusual_losses_are_drawn(losses):
    path = {f"epoch {i}": (1 - i / 4, i / 8) for i in range(5)}
    assert is_drawn(plane_figure(plane_of(losses, {**path, "now": (0.0, 0.0)})))


def test_a_curvature_without_descent_is_refused():
    minimum = LossSurface(lambda p: (p["x"] ** 2).sum(), {"x": torch.ones(3)})
    with pytest.raises(ValueError, match="no direction of negative curvature"):
        descent_figure(HessianExtremes()(minimum))


def test_the_smooth_surface_contains_the_losses_and_stays_within_their_range():
    axis = np.linspace(-1, 1, 6)
    losses = np.ma.masked_invalid(np.round(np.random.default_rng(0).random((6, 6)), 1))
    xs, ys, between = _smooth(axis, axis, losses)
    assert between.shape == (len(ys), len(xs)) == (5 * FINER + 1, 5 * FINER + 1)
    np.testing.assert_allclose(between[::FINER, ::FINER], losses)
    np.testing.assert_allclose(xs[::FINER], axis)
    assert between.min() == losses.min()
    assert between.max() == losses.max()
    straight = np.ma.masked_invalid(np.add.outer(axis, 2 * axis))
    np.testing.assert_allclose(
        _smooth(axis, axis, straight)[2][FINER:-FINER, FINER:-FINER],
        np.add.outer(ys, 2 * xs)[FINER:-FINER, FINER:-FINER],
        atol=1e-12,
    )


def test_a_plane_with_a_loss_that_is_not_finite_is_not_smoothed():
    losses = np.ma.masked_invalid([[1.0, 2.0], [math.nan, 3.0]])
    assert _smooth([0.0, 1.0], [0.0, 1.0], losses)[2] is losses


@pytest.mark.parametrize("shape", [(1.0, 0.5), (1.0, 1.0), (1.0, 2.0)])
def test_one_unit_of_distance_is_equally_long_along_both_axes(shape):
    width, height = shape
    reading = plane_of(((3.0, 2.0, 3.0),) * 3, {"now": (0.0, 0.0)})
    axes_of = tuple(tuple(scale * place for place in (-1.0, 0.0, 1.0)) for scale in shape)
    figure = plane_figure(replace(reading, xs=axes_of[0], ys=axes_of[1]))
    render(figure)
    box = figure.axes[0].get_window_extent()
    assert box.height / box.width == pytest.approx(height / width, rel=0.02)


@pytest.mark.parametrize(
    ("low", "high"), [(2.3026, 2.3031), (0.0, 1.0), (-3.7, 12.2), (2.292, 3.611), (1e-9, 2e-9), (123.4, 45678.0)]
)
def test_the_ticks_of_the_colour_bar_are_round_and_none_is_shown_twice(low, high):
    scale = PowerNorm(0.5, low, high)
    ticks = round_ticks(low, high, scale)
    labels = tick_labels(ticks)
    assert len(labels) == len(set(labels)) >= 3
    assert all(low <= float(label.replace(",", "")) <= high for label in labels)
    places = [float(scale(tick)) for tick in ticks]
    assert min(after - before for before, after in pairwise(places)) >= TICK_DISTANCE


def test_the_best_point_is_marked_only_where_it_is_lower_than_the_present_weights():
    better = plane_figure(plane_of(((3.0, 3.0, 3.0), (3.0, 2.0, 3.0), (3.0, 1.0, 3.0)), {"now": (0.0, 0.0)}))
    best = plane_figure(plane_of(((3.0, 3.0, 3.0), (3.0, 2.0, 3.0), (3.0, 2.5, 3.0)), {"now": (0.0, 0.0)}))
    (star,) = [drawn for drawn in better.axes[0].lines if drawn.get_marker() == "*"]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (0.0, 1.0)
    assert not [drawn for drawn in best.axes[0].lines if drawn.get_marker() == "*"]


def test_the_present_weights_are_named_by_their_step():
    figure = plane_figure(plane_of(((3.0, 2.0, 3.0),) * 3, {"initial": (1.0, 0.0), "best, now": (0.0, 0.0)}), 305)
    assert {"initial", "best, step 305"} <= {text.get_text() for text in figure.axes[0].texts}


def test_a_plane_of_rounding_errors_has_one_colour():
    losses = tuple(tuple(2.3 + 1e-7 * (i - j) for i in range(3)) for j in range(3))
    contours = plane_figure(plane_of(losses, {"now": (0.0, 0.0)})).axes[0].collections[0]
    assert contours.norm.vmax - contours.norm.vmin > 2e-4
