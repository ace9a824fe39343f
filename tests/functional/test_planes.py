"""Planes: the loss is evaluated at the requested points, and the axes are right."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_landscape.functional.planes import Frame, plane_losses, principal_directions


def frame_in(n: int) -> Frame:
    axes = torch.eye(n)
    return Frame.spanned_by({"w": torch.zeros(n)}, {"w": axes[0]}, {"w": axes[1]})


def test_rows_are_not_shifted_and_the_centre_is_evaluated():
    asked: list[tuple[float, float]] = []

    def loss(params):
        asked.append(tuple(params["w"][:2].tolist()))
        return (params["w"] ** 2).sum()

    axis = [-1.0, 0.0, 0.5, 2.0]
    losses = plane_losses(loss, frame_in(3), axis, axis)
    assert asked == [(x, y) for y in axis for x in axis]
    assert losses == tuple(tuple(x * x + y * y for x in axis) for y in axis)


def test_a_constant_loss_is_a_constant_surface():
    losses = plane_losses(lambda params: torch.tensor(1.0), frame_in(2), [0.0, 1.0, 2.0], [0.0, 1.0])
    assert losses == ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))


def test_nan_and_inf_are_returned_unchanged():
    losses = plane_losses(lambda params: params["w"][0].log(), frame_in(2), [-1.0, 0.0, 1.0], [0.0])
    assert math.isnan(losses[0][0])
    assert losses[0][1:] == (-math.inf, 0.0)


def test_principal_directions_hold_a_planar_trajectory():
    axes = torch.linalg.qr(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)))[0].T
    points = [{"w": 1.0 + axes[0] * math.cos(t) * 5 + axes[1] * math.sin(t)} for t in torch.linspace(0, 3, 9).tolist()]
    origin = {"w": torch.ones(50)}
    frame = Frame.spanned_by(origin, *principal_directions(points, origin))
    for point in points:
        a, b, off = frame.coordinates(point)
        assert off < 1e-5
        assert torch.allclose(frame.point(a, b)["w"], point["w"], atol=1e-5)
    assert abs(float(torch.dot(frame.x, axes[0]))) > 0.99


def test_directions_that_span_no_plane_are_refused():
    one = {"w": torch.ones(3)}
    with pytest.raises(ValueError, match="parallel"):
        Frame.spanned_by(one, one, {"w": 2 * torch.ones(3)})
    with pytest.raises(ValueError, match="norm 0"):
        Frame.spanned_by(one, {"w": torch.zeros(3)}, one)
    with pytest.raises(ValueError, match="at least two points, got 1"):
        principal_directions([one], one)
