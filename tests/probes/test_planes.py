"""Planes through a run."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_landscape.probes.planes import AnchorPlane, CurvaturePlane, RandomPlane, TrajectoryPlane
from lightning_landscape.surface import LossSurface, RunContext


def bowl(params) -> Tensor:
    return (params["w"] ** 2).sum() + (params["v"] ** 2).sum()


def point(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor([values[:2]]), "v": torch.tensor(values[2:])}


NOW = point(1.0, 0.0, 0.0)
ANCHORS = {"initial": point(3.0, 0.0, 0.0), "best": point(1.0, 2.0, 0.0)}


@pytest.mark.parametrize("probe", [AnchorPlane(resolution=9), TrajectoryPlane(resolution=9), RandomPlane(resolution=9)])
def test_the_present_weights_are_a_point_of_the_grid_with_their_loss(probe):
    plane = probe(LossSurface(bowl, NOW, ANCHORS, run=RunContext(samples=4)))
    assert plane.losses[plane.ys.index(0.0)][plane.xs.index(0.0)] == pytest.approx(1.0)
    assert (len(plane.xs), len(plane.ys), len(plane.losses), len(plane.losses[0])) == (9, 9, 9, 9)
    assert list(plane.points)[-1] == "now"
    assert plane.points["now"] == (0.0, 0.0)
    assert plane.samples == 4


def test_anchor_plane_holds_its_anchors_and_their_losses():
    plane = AnchorPlane(resolution=21)(LossSurface(bowl, NOW, ANCHORS))
    assert plane.points == {"initial": (2.0, 0.0), "best": (0.0, 2.0), "now": (0.0, 0.0)}
    assert plane.off_plane == pytest.approx(0.0, abs=1e-6)
    assert plane.xs[0] <= 0.0 <= 2.0 <= plane.xs[-1]
    for j, y in enumerate(plane.ys):
        for i, x in enumerate(plane.xs):
            assert plane.losses[j][i] == pytest.approx((1 + x) ** 2 + y**2, abs=1e-5)


def test_a_point_off_the_plane_is_projected_and_said_to_be_off():
    anchors = {"a": point(6.0, 0.0, 0.0), "b": point(1.0, 6.0, 0.0), "c": point(1.0, 1.0, 1.0)}
    plane = TrajectoryPlane(resolution=5)(LossSurface(bowl, NOW, anchors))
    assert list(plane.points) == ["a", "b", "c", "now"]
    assert 0.02 < plane.off_plane < 0.2


def test_curvature_plane_bends_up_along_one_axis_and_down_along_the_other():
    def saddle(params) -> Tensor:
        return (params["w"] ** 2).sum() - (params["v"] ** 2).sum()

    plane = CurvaturePlane(resolution=5)(LossSurface(saddle, {"w": torch.zeros(1, 2), "v": torch.zeros(1)}))
    middle = plane.losses[2]
    assert middle[0] > middle[2] < middle[4]
    column = [row[2] for row in plane.losses]
    assert column[0] < column[2] > column[4]
    assert "-2" in plane.y_name


def test_constant_and_undefined_losses_are_shown_as_they_are():
    constant = RandomPlane(resolution=3)(LossSurface(lambda p: torch.tensor(2.5), NOW))
    assert set(constant.losses) == {(2.5, 2.5, 2.5)}
    undefined = AnchorPlane(resolution=5)(LossSurface(lambda p: p["w"][0, 0].log(), NOW, ANCHORS))
    assert any(math.isnan(value) for row in undefined.losses for value in row) == (undefined.xs[0] < -1.0)
    nan = RandomPlane(resolution=3)(LossSurface(lambda p: torch.tensor(math.nan), NOW))
    assert all(math.isnan(value) for row in nan.losses for value in row)


def test_nothing_to_say_is_none():
    surface = LossSurface(bowl, NOW, {"initial": ANCHORS["initial"]})
    assert AnchorPlane()(surface) is None
    assert TrajectoryPlane()(surface) is None
    on_a_line = {"initial": point(3.0, 0.0, 0.0), "best": point(2.0, 0.0, 0.0)}
    assert AnchorPlane()(LossSurface(bowl, NOW, on_a_line)) is None
    assert TrajectoryPlane()(LossSurface(bowl, NOW, on_a_line)) is None
    assert CurvaturePlane()(LossSurface(lambda p: p["w"].sum() + p["v"].sum(), NOW)) is None
    assert RandomPlane()(LossSurface(lambda p: (p["v"] ** 2).sum(), {"v": torch.ones(3)})) is None


@pytest.mark.parametrize("probe", [AnchorPlane, TrajectoryPlane, CurvaturePlane, RandomPlane])
def test_a_grid_without_a_middle_is_refused(probe):
    with pytest.raises(ValueError, match="at least 3, got 2"):
        probe(resolution=2)
