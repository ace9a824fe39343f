"""Short training runs with and without a monitor, and `trace`, everything that a monitor could have changed in them."""

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
        every_n_steps=10, num_points=3, max_batches=2, norm_every_n_steps=1, effort="standard"
    ),
    "gradient norm": GradientNormMonitor,
    "plateau": lambda: PlateauMonitor(norm_every_n_steps=1),
    "interpolation": lambda: LossInterpolationMonitor(every_n_steps=10, num_points=3, max_batches=2),
    "curvature": lambda: CurvatureMonitor(every_n_steps=10, iterations=3, max_batches=2),
}
"""every monitor, with settings that make it measure often"""
PROBING = ("landscape", "interpolation", "curvature")
"""the monitors that evaluate the loss surface"""
NO_LOGGER = False


class Net(L.LightningModule):
    """A small network with BatchNorm and dropout, which are hard to evaluate without a trace."""

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
    """The loss is constant, so that the run is stuck from its first step."""

    def loss(self, batch: Any) -> Tensor:
        return 2.0 + 0.0 * super().loss(batch)


class Stuck(Net):
    """The loss falls for 30 steps and then stays on a plateau, so that a run of 120 steps ends with an alarm.

    The inputs depend on the step only, and all batches are equal, so that a resumed run gets the same data although
    Lightning does not restore the data loader.
    """

    def loss(self, batch):
        generator = torch.Generator().manual_seed(self.global_step)
        inputs = torch.randn(8, 4, generator=generator)
        loss = F.cross_entropy(self.net[4](self.net[2](self.net[0](inputs))), batch[1])
        return 2.0 + 0.2 * (max(0.0, 30 - self.global_step) / 30 + 1e-3 * loss)

    def batches(self):
        """Return the loader that `fit` uses for this module."""
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
    """Train the module, with the same initial weights and random numbers at each call, and return the trainer."""
    run = trainer(*callbacks, steps=steps, **settings)
    reinitialize(module)
    run.fit(module, getattr(module, "batches", loader)() if data is None else data, ckpt_path=ckpt_path)
    return run


def reinitialize(module: nn.Module) -> None:
    """Seed all random number generators and reset the weights of the module."""
    L.seed_everything(7, verbose=False)
    for layer in module.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


def bits(value: Any) -> Any:
    """Return an object that can be compared: two are equal only if the values are equal to the bit."""
    if isinstance(value, Tensor):
        flat = value.detach().contiguous().reshape(-1)
        return str(value.dtype), tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(item) for item in value]
    return value


def trace(run: L.Trainer) -> dict[str, Any]:
    """Return everything of a finished run that a monitor could have changed."""
    module = run.lightning_module
    metrics = {name: float(v) for name, v in run.callback_metrics.items() if not name.startswith("landscape/")}
    return {
        "step": run.global_step,
        "weights": bits(module.state_dict()),
        "optimizers": [bits(optimizer.state_dict()) for optimizer in run.optimizers],
        "gradients": [None if p.grad is None else bits(p.grad) for p in module.parameters()],
        "modes": [(part.training, len(part._forward_hooks)) for part in module.modules()],
        "metrics": {name: repr(value) for name, value in metrics.items()},  # as text, NaN equals NaN
        "streams": (bits(torch.get_rng_state()), random.getstate(), str(np.random.get_state())),
    }


def trace_alone(make: Callable[[], Any] = Net, **settings: Any) -> dict[str, Any]:
    """Return the trace of a run without a monitor."""
    return trace(fit(make(), **settings))


def fit_monitored(monitor: Any, make: Callable[[], Any] = Net, **settings: Any) -> list[str]:
    """Train with the monitor, require the same trace as without it, and return the warnings of this library."""
    expected = trace_alone(make, **settings)
    runs: list[L.Trainer] = []
    messages = warnings_of(lambda: runs.append(fit(make(), monitor, **settings)))
    (run,) = runs
    changed = [name for name, value in trace(run).items() if value != expected[name]]
    assert changed == []
    assert not any(optimizer._optimizer_step_post_hooks for optimizer in run.optimizers)
    return messages


def warnings_of(work: Callable[[], Any]) -> list[str]:
    """Call `work` and return the texts of this library's warnings; other warnings fail the test, as in all tests."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", LandscapeWarning)
        work()
    ours = [w for w in caught if isinstance(w.message, LandscapeWarning)]
    others = [str(w.message) for w in caught if not isinstance(w.message, LandscapeWarning)]
    assert not others, others
    return [str(w.message) for w in ours]
