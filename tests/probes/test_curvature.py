"""The curvature probes on surfaces whose Hessian is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lightning_landscape.errors import SurfaceError
from lightning_landscape.evidence import Curvature, Descent, Evidence, Spectrum
from lightning_landscape.module_surface.autograd import differentiable
from lightning_landscape.probes.curvature import HessianExtremes, HessianSpectrum
from lightning_landscape.surface import LossSurface, RunContext


def saddle(params) -> Tensor:
    return 1 + 0.5 * (params["x"] ** 2).sum() - 0.25 * (params["y"] ** 2).sum() + 0.01 * (params["y"] ** 4).sum()


def here() -> dict[str, Tensor]:
    return {"x": torch.zeros(3), "y": torch.zeros(2)}


def test_at_a_saddle_the_loss_falls_along_the_smallest_curvature_also_on_held_out_batches():
    found = HessianExtremes()(LossSurface(saddle, here(), held_out=saddle, run=RunContext(samples=7)))
    assert (found.lambda_min, found.lambda_max) == pytest.approx((-0.5, 1.0), abs=1e-5)
    assert found.ratio == pytest.approx(-0.5, abs=1e-5)
    assert found.sharpness_ratio(0.5) == pytest.approx(0.25, abs=1e-5)
    assert found.gradient_norm == found.relative_gradient == 0.0
    assert (found.parameters, found.samples, found.loss) == (5, 7, 1.0)
    assert abs(found.descent.distance) == pytest.approx(0.1)
    assert found.descent.drop == pytest.approx(0.25 * 0.1**2, rel=1e-2)
    assert found.descent.held_out_drop == pytest.approx(found.descent.drop)


def test_a_fall_that_is_noise_of_the_measured_batches_is_a_rise_on_the_held_out_batches():
    def other(params) -> Tensor:
        return 1 + 0.5 * sum((part**2).sum() for part in params.values())

    found = HessianExtremes()(LossSurface(saddle, here(), held_out=other))
    assert found.descent.drop > 0
    assert found.descent.held_out_drop < 0


def test_at_a_minimum_there_is_no_descent():
    found = HessianExtremes()(LossSurface(lambda p: sum((part**2).sum() for part in p.values()), here()))
    assert found.lambda_min == pytest.approx(2.0)
    assert found.descent is None
    assert not found.degenerate


def test_the_relative_gradient_does_not_depend_on_the_unit_of_the_loss():
    point = {"w": torch.tensor([3.0, 4.0])}
    one = HessianExtremes()(LossSurface(lambda p: (p["w"] ** 2).sum(), point))
    million = HessianExtremes()(LossSurface(lambda p: 1e6 * (p["w"] ** 2).sum(), point))
    assert one.gradient_norm == pytest.approx(10.0)
    assert one.relative_gradient == pytest.approx(10.0 * 5 / 25)
    assert million.relative_gradient == pytest.approx(one.relative_gradient)


def test_no_curvature_at_all_is_degenerate():
    found = HessianExtremes()(LossSurface(lambda p: (p["w"] ** 3).sum(), {"w": torch.zeros(4)}))
    assert found.degenerate
    assert found.ratio is None
    assert found.relative_gradient == math.inf


def test_the_same_surface_gives_the_same_reading_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    readings = {HessianExtremes()(LossSurface(saddle, here())) for _ in range(2)}
    assert len(readings) == 1
    assert torch.equal(torch.get_rng_state(), state)


class OnceDifferentiable:
    """An objective like that of sharded parameters, with a gradient but without second derivatives."""

    def value(self, point):
        return saddle(point)

    def value_and_gradient(self, point):
        return saddle(point), (point["x"].clone(), -0.5 * point["y"] + 0.04 * point["y"] ** 3)

    def gradient_and_product(self, point):
        raise SurfaceError("[LL309] there are no second derivatives of sharded parameters")


def test_without_second_derivatives_curvature_is_labelled_as_approximate():
    found = HessianExtremes()(LossSurface(differentiable(OnceDifferentiable()), here()))
    assert "approximate" in found.method
    assert found.reason == "[LL309] there are no second derivatives of sharded parameters"
    assert (found.lambda_min, found.lambda_max) == pytest.approx((-0.5, 1.0), abs=1e-2)


def test_readings_become_evidence_of_plain_numbers():
    surface = LossSurface(saddle, here(), held_out=saddle)
    evidence = Evidence(HessianExtremes()(surface), HessianSpectrum()(surface))
    as_dict = evidence.to_dict()
    assert as_dict["Curvature"]["descent"]["distances"] == list(evidence.get(Curvature).descent.distances)
    assert isinstance(as_dict["Spectrum"]["trace"], float)


def test_spectrum_has_the_trace_and_the_share_of_negative_directions():
    curvatures = torch.tensor([-1.0] * 20 + [0.5] * 60 + [4.0] * 20)
    surface = LossSurface(lambda p: 0.5 * (curvatures * p["w"] ** 2).sum(), {"w": torch.ones(100)})
    found = HessianSpectrum(runs=8, products=40)(surface)
    assert isinstance(found, Spectrum)
    assert found.trace == pytest.approx(float(curvatures.sum()), abs=4 * found.trace_error + 1e-3)
    assert found.share_negative == pytest.approx(0.2, abs=0.05)
    assert sum(found.weights) == pytest.approx(1.0)


def test_a_descent_ignores_losses_that_are_not_finite():
    path = Descent((-1.0, 0.0, 1.0), (math.nan, 2.0, 1.5), None)
    assert (path.distance, path.drop, path.held_out_drop) == (1.0, 0.5, None)
    assert Descent((-1.0, 0.0, 1.0), (3.0, 2.0, 2.0), None).distance == 0.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"iterations": 0}, "at least 1, got 0"), ({"tolerance": 2.0}, "between 0 and 1, got 2.0")],
)
def test_bad_settings_are_refused_at_construction(settings, message: str):
    with pytest.raises(ValueError, match=message):
        HessianExtremes(**settings)
