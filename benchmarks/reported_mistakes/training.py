"""How a program is trained: the trainer's settings, and the record of its losses."""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import dataclass, field

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger


class Losses(pl.Callback):
    """Records the training loss of each batch; in manual optimization, the first logged loss."""

    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Append the loss of this batch."""
        loss = outputs["loss"] if isinstance(outputs, dict) and "loss" in outputs else outputs
        if not isinstance(loss, torch.Tensor):
            logged = trainer.callback_metrics
            loss = next((value for key, value in logged.items() if "loss" in key and "/" not in key), None)
        if loss is not None:
            self.values.append(float(loss))


class WarningClock(pl.Callback):
    """Remembers how many warnings had been given when the fifth batch ended."""

    def __init__(self, caught, batches=5):
        self.caught, self.batches = caught, batches
        self.count = None
        self.seen = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        """Count this batch."""
        self.seen += 1
        if self.seen == self.batches:
            self.count = len(self.caught)


@dataclass
class Run:
    """What was seen in one run."""

    losses: list[float]
    seconds: float
    first_warnings: list[warnings.WarningMessage] = field(default_factory=list)
    """the warnings before the sixth batch"""
    all_warnings: list[warnings.WarningMessage] = field(default_factory=list)
    error: str | None = None


def fit(module, batches, settings, callbacks=()):
    """Train a module on one core, with a TensorBoard logger in a temporary directory, and return what was seen."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # Weights that decay to nothing would make the processor slow.
    losses, error = Losses(), None
    settings = dict(settings)
    given = settings.pop("callbacks", [])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clock = WarningClock(caught)
        trainer = pl.Trainer(
            max_epochs=-1,
            accelerator="cpu",
            logger=TensorBoardLogger(folder),
            default_root_dir=folder,
            log_every_n_steps=10,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*given, losses, clock, *callbacks],
            **settings,
        )
        start = time.perf_counter()
        try:
            trainer.fit(module, batches)
        except Exception as failure:  # A run that ends with an error is a result, too.
            error = f"{type(failure).__name__}: {failure}"
        seconds = time.perf_counter() - start
    first = caught[: clock.count] if clock.count is not None else list(caught)
    return Run(losses.values, seconds, first, list(caught), error)
