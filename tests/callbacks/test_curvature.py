"""The curvature of every module of the zoo equals that from finite differences, or is refused with a reason."""

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

WITHOUT_HESSIAN = {"Adversaries"}
"""The gradients of two optimizers with different losses are together not the gradient of one loss."""
NOT_SMOOTH = {"Convolutional", "RenormalizedEmbedding"}
"""The gradient is not smooth, so that its finite differences are no reference for the curvature."""


class ProbeOnce(Prober):
    """Runs its probe after the fourth batch, and ends the run."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.probe_set.capture_drawn(batch, batch_idx)
        if batch_idx == 3:
            self.examine(trainer, pl_module)
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None: ...


def exact_and_by_differences(surface: LossSurface) -> tuple[Any, ...]:
    """Return the extremes of the Hessian by double backward and by differences of gradients, or errors' messages."""

    def gradient(point: Params) -> dict[str, Tensor]:
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in point.items()}
        return dict(zip(leaves, torch.autograd.grad(surface.loss(leaves), list(leaves.values())), strict=True))

    stop = both_ends(1e-3)
    try:
        exact = hessian_extremes(surface.loss, surface.here, iterations=25, stop=stop)
    except CurvatureError as refusal:
        return (str(refusal),)
    try:
        return exact, hessian_extremes(surface.loss, surface.here, iterations=25, stop=stop, gradient=gradient)
    except CurvatureError as refusal:
        return exact, str(refusal)


@pytest.mark.parametrize("name", SPECIMENS)
def test_curvature_is_right_or_refused(name: str):
    specimen = SPECIMENS[name]
    seed_everything(7, verbose=False)
    prober = ProbeOnce(exact_and_by_differences, batches=2)
    fit(specimen, make_trainer(specimen, prober, logger=MemoryLogger()), specimen.module())
    if specimen.refusal is not None or not prober.readings:
        assert prober.refusals or specimen.refusal is not None
        return
    (reading,) = prober.readings
    if name in WITHOUT_HESSIAN:
        assert "not symmetric" in reading[0]
        return
    exact, differences = reading
    if specimen.once_differentiable is None:
        assert exact.reason is None
    else:
        assert "approximate" in str(exact.method)
    if name in NOT_SMOOTH:
        return
    scale = max(abs(exact.lambda_min), exact.lambda_max)
    assert differences.lambda_max == pytest.approx(exact.lambda_max, abs=0.05 * scale)
    assert differences.lambda_min == pytest.approx(exact.lambda_min, abs=0.05 * scale)


def test_the_probe_measures_curvature_and_checks_the_descent_on_held_out_batches():
    specimen = SPECIMENS["Perceptron"]
    seed_everything(7, verbose=False)
    prober = ProbeOnce(HessianExtremes(), batches=2)
    fit(specimen, make_trainer(specimen, prober, logger=MemoryLogger()), specimen.module())
    (reading,) = prober.readings
    assert reading.lambda_min + max(reading.residual_min, reading.error) < 0
    assert reading.samples == 8
    assert reading.descent.drop > 0
    assert reading.descent.held_out_drop is not None
