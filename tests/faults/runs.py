"""Tiny runs for every monitor, watched and alone, and all that watching could have disturbed in them."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import (
    CurvatureMonitor,
    GradientNormMonitor,
    LandscapeMonitor,
    LandscapeWarning,
    LossInterpolationMonitor,
    PlateauMonitor,
)

MONITORS: dict[str, Callable[[], Any]] = {
    "landscape": lambda: LandscapeMonitor(
        every_n_steps=10, num_points=3, max_batches=2, norm_every_n_steps=1, budget=None
    ),
    "gradient norm": GradientNormMonitor,
    "plateau": lambda: PlateauMonitor(norm_every_n_steps=1),
    "interpolation": lambda: LossInterpolationMonitor(every_n_steps=10, num_points=3, max_batches=2),
    "curvature": lambda: CurvatureMonitor(every_n_steps=10, iterations=3, max_batches=2),
}
"""every monitor, set to look at the surface as often as it can"""
PROBING = ("landscape", "interpolation", "curvature")
NO_LOGGER = False


class Net(L.LightningModule):
    """A little of what makes a module hard to look at: BatchNorm, dropout, a random number in every step."""

    def __init__(self, lr: float = 0.05) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 3))
        self.lr = lr

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)


class Flat(Net):
    """Stuck from its first step on: the weights do not matter to the loss."""

    def loss(self, batch: Any) -> Tensor:
        return 2.0 + 0.0 * super().loss(batch)


class Stuck(Net):
    """Falls for a third of the run and then stands still, so that there is something to resume: a plateau, an alarm.

    Its inputs depend on the step alone, and its batches are all the same: the state of a data loader is Lightning's to
    keep.
    """

    def loss(self, batch):
        generator = torch.Generator().manual_seed(self.global_step)
        inputs = torch.randn(8, 4, generator=generator)
        loss = F.cross_entropy(self.net[4](self.net[2](self.net[0](inputs))), batch[1])
        return 2.0 + 0.2 * (max(0.0, 30 - self.global_step) / 30 + 1e-3 * loss)

    def batches(self):
        """A loader for `fit`."""
        inputs, labels = next(iter(loader()))
        return DataLoader(TensorDataset(inputs.repeat(16, 1), labels.repeat(16)), batch_size=8)


def loader(batches: int = 16, size: int = 8) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(batches * size, 4, generator=generator)
    return DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), batch_size=size)


def trainer(*callbacks: Any, steps: int = 40, **settings: Any) -> L.Trainer:
    quiet = {
        "accelerator": "cpu",
        "logger": NO_LOGGER,
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in callbacks),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 5,
        "max_steps": steps,
    }
    return L.Trainer(**{**quiet, **settings}, callbacks=list(callbacks))


def fit(
    module: L.LightningModule,
    *callbacks: Any,
    data: Any = None,
    ckpt_path: Any = None,
    steps: int = 40,
    **settings: Any,
) -> L.Trainer:
    """Train the module from the same weights and the same random numbers each time."""
    run = trainer(*callbacks, steps=steps, **settings)
    restart(module)
    run.fit(module, getattr(module, "batches", loader)() if data is None else data, ckpt_path=ckpt_path)
    return run


def restart(module: nn.Module) -> None:
    L.seed_everything(7, verbose=False)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


def bits(value: Any) -> Any:
    """Something that is equal only where the value is, down to the bit."""
    if isinstance(value, Tensor):
        flat = value.detach().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return value


def trace(run: L.Trainer) -> dict[str, Any]:
    """All that a monitor could have disturbed."""
    module = run.lightning_module
    metrics = {name: float(v) for name, v in run.callback_metrics.items() if not name.startswith("landscape/")}
    return {
        "step": run.global_step,
        "weights": bits(module.state_dict()),
        "optimizers": [bits(optimizer.state_dict()) for optimizer in run.optimizers],
        "gradients": [None if p.grad is None else bits(p.grad) for p in module.parameters()],
        "modes": [(part.training, len(part._forward_hooks)) for part in module.modules()],
        "metrics": {name: repr(value) for name, value in metrics.items()},  # NaN equals NaN here
        "streams": (bits(torch.get_rng_state()), random.getstate(), str(np.random.get_state())),
    }


def alone(make: Callable[[], Any] = Net, **settings: Any) -> dict[str, Any]:
    return trace(fit(make(), **settings))


def watched(monitor: Any, make: Callable[[], Any] = Net, **settings: Any) -> list[str]:
    """Train under the monitor, require that nobody can tell afterwards, and return the warnings of this library."""
    expected = alone(make, **settings)
    said = said_by(lambda: found.append(fit(make(), monitor, **settings)), found := [])
    (run,) = found
    changed = [name for name, value in trace(run).items() if value != expected[name]]
    assert changed == []
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in run.optimizers)
    return said


def said_by(work: Callable[[], Any], found: list[Any] | None = None) -> list[str]:
    """The warnings of this library that `work` gives rise to; others count as they do everywhere."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LandscapeWarning)
        work()
    said = [w for w in caught if isinstance(w.message, LandscapeWarning)]
    others = [str(w.message) for w in caught if not isinstance(w.message, LandscapeWarning)]
    assert not others, others
    return [str(w.message) for w in said]
