"""Loss and gradient of the surface equal those of the training step after the weights were really changed."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from lightning.pytorch import seed_everything

from lightning_landscape.module_surface.evaluator import _SEED
from lightning_landscape.module_surface.global_state import seed_streams
from lightning_landscape.module_surface.training_step import _arguments
from tests.module_surface.observers import Prober, leaves, midpoint
from tests.zoo import SPECIMENS, Specimen
from tests.zoo.training import MemoryLogger, fit, make_trainer


def value_and_gradient(surface: Any) -> dict[str, Any]:
    point = leaves(midpoint(surface))
    loss = surface.loss(point)
    gradient = torch.autograd.grad(loss, list(point.values()))
    return {
        "point": {name: weight.detach() for name, weight in point.items()},
        "loss": loss.detach(),
        "without_graph": surface.loss({name: weight.detach() for name, weight in point.items()}),
        "gradient": dict(zip(point, gradient, strict=True)),
    }


class Comparison(Prober):
    """Evaluate the surface once, then change the weights of the module and call its training step directly."""

    def __init__(self, specimen: Specimen) -> None:
        super().__init__(value_and_gradient, batches=1)
        self.specimen = specimen

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.probe_set.capture_drawn(batch, batch_idx)
        if batch_idx == 3:
            self.examine(trainer, pl_module)
            if self.readings:
                self.loss, self.gradient = self.directly(trainer, pl_module, self.readings[0]["point"])
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None: ...

    def directly(self, trainer: Any, pl_module: Any, point: dict[str, torch.Tensor]) -> Any:
        ((captured,), _) = self.probe_set.halves
        parameters = {name: p for name, p in pl_module.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(point[name])
                parameter.grad = None
        for name, module in pl_module.named_modules():
            module.training = captured.training[name]
        seed_streams(_SEED + captured.batch_idx)
        with trainer.precision_plugin.train_step_context():
            if self.specimen.reference is not None:
                loss = self.specimen.reference(pl_module, captured.copy())
            else:
                loss = pl_module.training_step(
                    *_arguments(inspect.signature(pl_module.training_step).parameters, captured)
                )
        loss = loss["loss"] if isinstance(loss, dict) else loss
        if self.specimen.once_differentiable == "re-entrant":
            loss.backward()
            return loss.detach(), {name: p.grad for name, p in parameters.items()}
        gradient = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
        return loss.detach(), dict(zip(parameters, gradient, strict=True))


@pytest.mark.parametrize("name", SPECIMENS)
def test_loss_and_gradient_at_a_midpoint_equal_those_of_copied_weights(name: str):
    specimen = SPECIMENS[name]
    seed_everything(7, verbose=False)
    comparison = Comparison(specimen)
    trainer = make_trainer(specimen, comparison, logger=MemoryLogger())
    fit(specimen, trainer, specimen.module())

    if specimen.refusal is not None:
        assert specimen.refusal in comparison.refusals[0]
        return
    (reading,) = comparison.readings
    assert torch.equal(reading["loss"], comparison.loss)
    torch.testing.assert_close(reading["without_graph"], comparison.loss, rtol=1e-6, atol=0)
    assert reading["gradient"].keys() == comparison.gradient.keys()
    for key, part in comparison.gradient.items():
        assert torch.equal(reading["gradient"][key], part), key
    assert any(part.abs().sum() > 0 for part in comparison.gradient.values())
