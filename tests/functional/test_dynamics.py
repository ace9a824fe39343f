"""Training dynamics with a closed form: barriers, escapes from saddles, plateaus, the edge of stability."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_landscape.functional import hessian_extremes
from lightning_landscape.probes.curvature import losses_along
from lightning_landscape.surface import LossSurface


def product_loss(params) -> Tensor:
    """Return ½(ab - 1)², with minima on the hyperbola ab = 1 and a saddle at 0."""
    return 0.5 * (params["w"][0] * params["w"][1] - 1) ** 2


def at(*values: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(values, dtype=torch.float64)}


def test_the_barrier_between_the_two_minima_is_one_half_at_the_saddle():
    surface = LossSurface(product_loss, at(1.0, 1.0))
    direction = {"w": -torch.ones(2, dtype=torch.float64)}
    path = losses_along(surface, direction, [2 * alpha / 20 for alpha in range(21)])
    assert path.losses[0] == path.losses[-1] == 0.0
    assert max(path.losses) == pytest.approx(0.5, abs=1e-12)
    assert path.losses[10] == max(path.losses)
    middle = hessian_extremes(product_loss, at(0.0, 0.0))
    assert (middle.lambda_min, middle.lambda_max) == pytest.approx((-1.0, 1.0), abs=1e-9)


@pytest.mark.parametrize("mode", [4.0, 2.0, 1.0])
def test_saxes_escape_time_from_the_saddle(mode: float):
    """Gradient flow learns half of a mode in the time ln(s/u0 - 1)/2s, where -s is λ_min of the saddle."""
    start, rate = 1e-4, 1e-3
    point = at(math.sqrt(start), math.sqrt(start))

    def loss(params) -> Tensor:
        return 0.5 * (params["w"][0] * params["w"][1] - mode) ** 2

    saddle = hessian_extremes(loss, at(0.0, 0.0))
    assert saddle.lambda_min == pytest.approx(-mode, abs=1e-6)
    predicted = math.log(mode / start - 1) / (-2 * saddle.lambda_min)
    weights, steps = point["w"].tolist(), 0
    while weights[0] * weights[1] < mode / 2:
        residual = mode - weights[0] * weights[1]
        weights = [weights[0] + rate * residual * weights[1], weights[1] + rate * residual * weights[0]]
        steps += 1
    assert steps * rate == pytest.approx(predicted, rel=0.05)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_deep_chain_starts_on_a_plateau_without_a_barrier(depth: int):
    """From 0 to the solution the loss is ½s²(t^d - 1)², which falls by the first 1% until t = (1 - √.99)^(1/d)."""
    surface = LossSurface(
        lambda params: 0.5 * (params["w"].prod() - 1) ** 2, {"w": torch.zeros(depth, dtype=torch.float64)}
    )
    path = losses_along(surface, {"w": torch.ones(depth, dtype=torch.float64)}, [t / 1000 for t in range(1001)])
    assert all(after <= before for before, after in zip(path.losses, path.losses[1:], strict=False))
    first = next(t for t, loss in zip(path.distances, path.losses, strict=True) if loss <= 0.99 * 0.5)
    assert first == pytest.approx((1 - math.sqrt(0.99)) ** (1 / depth), abs=2e-3)


def test_gradient_descent_ends_where_the_sharpness_is_below_the_edge_of_stability():
    rate, weights = 0.3, at(3.0, 0.3)["w"]
    assert hessian_extremes(product_loss, {"w": weights}).lambda_max > 2 / rate
    for _ in range(2000):
        residual = weights.prod() - 1
        weights = weights - rate * residual * weights.flip(0)
    found = hessian_extremes(product_loss, {"w": weights})
    assert found.loss < 1e-12
    assert found.lambda_max == pytest.approx(float(weights.square().sum()), abs=1e-6)
    assert found.lambda_max < 2 / rate
