"""The curvature of every specimen is equal to that of a second method, or refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import Tensor

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional import hessian_extremes
from lightning_landscape.functional.hessian.extremes import both_ends
from lightning_landscape.probes.curvature import HessianExtremes
from lightning_landscape.surface import LossSurface, Params
from tests.module_surface.observers import Prober
from tests.zoo import SPECIMENS
from tests.zoo.training import MemoryLogger, fit, make_trainer

OF_NO_SINGLE_LOSS = {"Adversaries"}
"""the gradients of two losses together are not the gradient of any loss"""
KINKED = {"Convolutional", "RenormalizedEmbedding"}
"""gradients that are not smooth, so that their differences are too inaccurate for a comparison"""


class Once(Prober):
    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.probe_set.capture_drawn(batch, batch_idx)
        if batch_idx == 3:
            self.examine(trainer, pl_module)
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None: ...


def by_two_methods(surface: LossSurface) -> tuple[Any, ...]:
    def gradient(point: Params) -> dict[str, Tensor]:
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in point.items()}
        return dict(zip(leaves, torch.autograd.grad(surface.loss(leaves), list(leaves.values())), strict=True))

    stop = both_ends(1e-3)
    try:
        found = hessian_extremes(surface.loss, surface.here, iterations=25, stop=stop)
    except CurvatureError as refusal:
        return (str(refusal),)
    try:
        return found, hessian_extremes(surface.loss, surface.here, iterations=25, stop=stop, gradient=gradient)
    except CurvatureError as refusal:
        return found, str(refusal)


@pytest.mark.parametrize("name", SPECIMENS)
def test_curvature_is_right_or_refused(name: str):
    specimen = SPECIMENS[name]
    seed_everything(7, verbose=False)
    once = Once(by_two_methods, batches=2)
    fit(specimen, make_trainer(specimen, once, logger=MemoryLogger()), specimen.module())
    if specimen.refusal is not None or not once.readings:
        assert once.refusals or specimen.refusal is not None
        return
    (reading,) = once.readings
    if name in OF_NO_SINGLE_LOSS:
        assert "not symmetric" in reading[0]
        return
    exact, differences = reading
    if specimen.once_differentiable is None:
        assert exact.reason is None
    else:
        assert "approximate" in str(exact.method)
    if name in KINKED:
        return
    scale = max(abs(exact.lambda_min), exact.lambda_max)
    assert differences.lambda_max == pytest.approx(exact.lambda_max, abs=0.05 * scale)
    assert differences.lambda_min == pytest.approx(exact.lambda_min, abs=0.05 * scale)


def test_the_probe_measures_the_descent_on_held_out_batches():
    specimen = SPECIMENS["Perceptron"]
    seed_everything(7, verbose=False)
    once = Once(HessianExtremes(), batches=2)
    fit(specimen, make_trainer(specimen, once, logger=MemoryLogger()), specimen.module())
    (reading,) = once.readings
    assert reading.lambda_min + max(reading.residual_min, reading.error) < 0
    assert reading.samples == 8
    assert reading.descent.drop > 0
    assert reading.descent.held_out_drop is not None
