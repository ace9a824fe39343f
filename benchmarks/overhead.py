"""What the hooks of a monitor cost per step: ``python -m benchmarks.overhead``.

The monitored runs alternate with bare ones; the share is that of the time in the monitor's hooks in a bare step.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from typing import Any

import lightning as L
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import GradientNormMonitor, LandscapeMonitor, LossInterpolationMonitor, PlateauMonitor

HOOKS = ("on_train_batch_start", "on_before_backward", "on_before_optimizer_step", "on_train_batch_end")


class Model(L.LightningModule):
    """Any network on random data."""

    def __init__(self, net: nn.Module, width: int) -> None:
        super().__init__()
        self.net, self.width = net, width

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Cross-entropy of one batch."""
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW at 1e-3."""
        return torch.optim.AdamW(self.parameters(), 1e-3)


def tiny() -> Model:
    """6 tensors, 2 thousand parameters."""
    return Model(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)), 16)


def deep() -> Model:
    """68 tensors: 34 layers of 64."""
    layers = [part for _ in range(33) for part in (nn.Linear(64, 64), nn.ReLU())]
    return Model(nn.Sequential(*layers, nn.Linear(64, 10)), 64)


def wide() -> Model:
    """1.1 million parameters in 6 tensors."""
    return Model(
        nn.Sequential(nn.Linear(64, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10)), 64
    )


class Timed(L.Callback):
    """Adds up the time in a callback's own hooks, its step hook on the optimizer included."""

    def __init__(self) -> None:
        self.spent = 0.0

    def around(self, function: Any) -> Any:
        """The function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spent += time.perf_counter() - start

        return timed


def run(make: Any, callback: L.Callback | None, steps: int) -> tuple[float, float]:
    """Seconds per step of the whole fit, and of the callback's hooks."""
    torch.manual_seed(0)
    model, clock = make(), Timed()
    data = TensorDataset(torch.randn(6400, model.width), torch.randint(0, 10, (6400,)))
    if callback is not None:
        for hook in HOOKS:
            setattr(callback, hook, clock.around(getattr(callback, hook)))
        recorder = callback._recorder  # type: ignore[attr-defined]
        recorder._after_step = clock.around(recorder._after_step)
    trainer = L.Trainer(
        max_steps=steps,
        callbacks=[callback] if callback else [],
        logger=False,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = time.perf_counter()
    trainer.fit(model, DataLoader(data, batch_size=64))
    return (time.perf_counter() - start) / steps, clock.spent / steps


def main() -> None:
    """Print one row for each model and monitor, medians over the repetitions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    monitors = {
        "LandscapeMonitor()": LandscapeMonitor,
        "LandscapeMonitor(probes=())": lambda: LandscapeMonitor(probes=()),
        "GradientNormMonitor()": GradientNormMonitor,
        "PlateauMonitor()": PlateauMonitor,
        "LossInterpolationMonitor()": LossInterpolationMonitor,
    }
    print("| model | monitor | bare step, µs | hooks, µs a step | share |\n|---|---|---:|---:|---:|")
    for make in (tiny, deep, wide):
        bare: list[float] = []
        hooks: dict[str, list[float]] = {name: [] for name in monitors}
        for _ in range(arguments.repetitions):
            bare.append(run(make, None, arguments.steps)[0])
            for name, monitor in monitors.items():
                hooks[name].append(run(make, monitor(), arguments.steps)[1])
        step = statistics.median(bare)
        for name, spent in hooks.items():
            cost = statistics.median(spent)
            print(f"| {make.__name__} | `{name}` | {step * 1e6:.0f} | {cost * 1e6:.1f} | {cost / step:.1%} |")


if __name__ == "__main__":
    main()
