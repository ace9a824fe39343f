"""The plane of the points of a run, on surfaces in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_landscape.probes import PathPlane
from lightning_landscape.surface import LossSurface, RunContext

COUNT = {"evaluations": 0}


def bowl(params) -> Tensor:
    COUNT["evaluations"] += 1
    return (params["w"] ** 2).sum()


def at(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values)}


NOW = at(1.0, 0.0, 0.0)
PATH = {"initial": at(5.0, 0.0, 0.0), "step 10": at(3.0, 1.0, 0.0), "best": NOW, "previous": NOW}


def test_points_keep_their_order_and_equal_points_share_an_entry():
    plane = PathPlane()(LossSurface(bowl, NOW, PATH))
    assert list(plane.points) == ["initial", "step 10", "best, previous, now"]
    assert plane.points["best, previous, now"] == (0.0, 0.0)
    distances = {name: (x**2 + y**2) ** 0.5 for name, (x, y) in plane.points.items()}
    assert distances["initial"] == pytest.approx(4.0, rel=1e-5)
    assert distances["step 10"] == pytest.approx(5.0**0.5, rel=1e-5)
    assert plane.off_plane == pytest.approx(0.0, abs=1e-6)


def test_each_loss_on_the_grid_is_the_loss_at_its_coordinates():
    plane = PathPlane(resolution=5)(LossSurface(lambda p: ((p["w"] - NOW["w"]) ** 2).sum(), NOW, PATH))
    assert (len(plane.xs), len(plane.ys), len(plane.losses), len(plane.losses[0])) == (5, 5, 5, 5)
    for y, row in zip(plane.ys, plane.losses, strict=True):
        assert row == pytest.approx([x**2 + y**2 for x in plane.xs], abs=1e-5)


def test_a_point_off_the_plane_is_projected_and_its_distance_is_reported():
    anchors = {"a": at(6.0, 0.0, 0.0), "b": at(1.0, 6.0, 0.0), "c": at(1.0, 1.0, 1.0)}
    plane = PathPlane(resolution=5)(LossSurface(bowl, NOW, anchors))
    assert list(plane.points) == ["a", "b", "c", "now"]
    assert 0.02 < plane.off_plane < 0.2


def test_losses_that_are_not_finite_stay_what_they_are():
    plane = PathPlane(resolution=5)(LossSurface(lambda p: p["w"].sum() * math.nan, NOW, PATH))
    assert all(math.isnan(loss) for row in plane.losses for loss in row)


def test_every_point_lies_inside_the_plane_and_the_present_weights_on_the_grid():
    plane = PathPlane(resolution=7)(LossSurface(bowl, NOW, PATH))
    assert plane.losses[plane.ys.index(0.0)][plane.xs.index(0.0)] == pytest.approx(1.0)
    for x, y in plane.points.values():
        assert plane.xs[0] < x < plane.xs[-1]
        assert plane.ys[0] < y < plane.ys[-1]


def test_the_second_axis_of_a_straight_path_is_the_steepest_descent():
    def valley(params) -> Tensor:
        return params["w"][0] ** 2 + 10 * params["w"][1]

    plane = PathPlane(resolution=9)(LossSurface(valley, at(0.0, 1.0), {"initial": at(4.0, 1.0)}))
    assert (plane.x_name, plane.y_name) == ("to initial", "steepest descent")
    column = [row[plane.xs.index(0.0)] for row in plane.losses]
    assert column == sorted(column, reverse=True)
    assert column[0] - column[-1] == pytest.approx(10 * (plane.ys[-1] - plane.ys[0]), rel=1e-4)


def test_points_beside_a_line_by_rounding_alone_count_as_on_the_line():
    nearly = {"initial": at(5.0, 0.0, 0.0), "previous": at(3.0, 1e-7, 0.0)}
    plane = PathPlane()(LossSurface(lambda p: bowl(p) + p["w"][2], NOW, nearly))
    assert plane.y_name == "steepest descent"


def test_the_shorter_axis_is_at_least_half_of_the_longer():
    thin = {"initial": at(5.0, 0.0, 0.0), "previous": at(3.0, 0.01, 0.0)}
    plane = PathPlane()(LossSurface(bowl, NOW, thin))
    assert plane.y_name == "second direction of the run"
    assert plane.ys[-1] - plane.ys[0] == pytest.approx((plane.xs[-1] - plane.xs[0]) / 2, rel=0.01)


def test_the_number_of_evaluations_is_that_of_the_grid_times_the_batches_used():
    batch_losses = tuple(bowl for _ in range(16))
    surface = LossSurface(
        lambda p: torch.stack([loss(p) for loss in batch_losses]).mean(), NOW, PATH, batch_losses=batch_losses
    )
    COUNT["evaluations"] = 0
    plane = PathPlane(resolution=11, batches=2)(surface)
    assert COUNT["evaluations"] == 11 * 11 * 2
    assert plane.samples == 0


def test_the_samples_are_those_of_the_batches_that_were_used():
    surface = LossSurface(
        bowl, NOW, PATH, batch_losses=(bowl, bowl, bowl), run=RunContext(samples=96, batch_samples=32.0)
    )
    assert PathPlane(batches=2)(surface).samples == 64
    assert PathPlane(batches=3)(surface).samples == 96


def test_without_anchors_movement_or_a_gradient_there_is_no_plane():
    assert PathPlane()(LossSurface(bowl, NOW)) is None
    assert PathPlane()(LossSurface(bowl, NOW, {"initial": NOW})) is None
    assert PathPlane()(LossSurface(bowl, at(0.0, 0.0, 0.0), {"initial": at(1.0, 0.0, 0.0)})) is None  # zero gradient


@pytest.mark.parametrize("arguments", [{"resolution": 2}, {"batches": 0}])
def test_bad_settings_are_refused_with_their_value(arguments):
    with pytest.raises(ValueError, match=str(*arguments.values())):
        PathPlane(**arguments)
