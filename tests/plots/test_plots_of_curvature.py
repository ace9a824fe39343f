"""Figures of curvature readings and planes, including unusual ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from lightning_landscape.evidence import Plane
from lightning_landscape.plots import descent_figure, plane_figure, render, spectrum_figure
from lightning_landscape.plots.plane import FINER, _smooth
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
