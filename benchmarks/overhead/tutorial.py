"""Time runs that are as short as those of a tutorial: 300 steps of 1, 20 or 200 ms."""

from __future__ import annotations

import contextlib
import io
import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.overhead.models import Module, chain, clusters, unlearnable
from lightning_landscape import LandscapeMonitor
from lightning_landscape.examination.account import DIAGNOSES, SHARE

STEPS = 300
MILLISECONDS = (1, 20, 200)
HEADERS = (
    *("run", "step, ms", "first diagnosis, at most", "gradients taken", "limit", "within the limit"),
    *("bare, s", "watched, s", "added, s", "verdicts"),
)


class SlowModule(Module):
    """A module whose training step takes at least `seconds`, in evaluations by probes as well."""

    def __init__(self, net: nn.Module, seconds: float) -> None:
        super().__init__(net)
        self.seconds = seconds

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the cross-entropy of one batch, after `seconds` at the earliest."""
        end = time.perf_counter() + self.seconds
        loss = super().training_step(batch, batch_idx)
        time.sleep(max(0.0, end - time.perf_counter()))
        return loss


def fit_seconds(seconds: float, batches: Any, folder: str, *callbacks: L.Callback) -> float:
    """Return the wall-clock seconds of a fit of `STEPS` steps with TensorBoard's logger, whose steps take `seconds`."""
    torch.manual_seed(0)
    trainer = L.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        logger=TensorBoardLogger(folder),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):  # the monitor prints a summary
        trainer.fit(SlowModule(chain(32), seconds), batches)
    return time.perf_counter() - start


def tutorial_rows(folder: str) -> list[list[str]]:
    """Return a row for each length of a step, healthy and stuck: the work of its probes, its limit, and the times."""
    table = []
    healthy = clusters(16)(64)
    for milliseconds in MILLISECONDS:
        for kind, batches in (("learns", healthy), ("cannot learn", unlearnable(healthy)[:STEPS])):
            loader = DataLoader([batches[i % len(batches)] for i in range(STEPS)], batch_size=None)
            monitor = LandscapeMonitor()
            bare = fit_seconds(milliseconds / 1e3, loader, folder)
            watched = fit_seconds(milliseconds / 1e3, loader, folder, monitor)
            account = monitor._examination.limits.account
            assert account.effort is not None  # it is chosen at the first check
            first = account.effort.gradients
            limit = DIAGNOSES * first + SHARE * STEPS
            verdicts = ", ".join(verdict.cause.value for verdict in monitor.verdicts) or "none"
            work = [f"{first}", f"{account.spent:.0f}", f"{limit:.0f}", "yes" if account.spent <= limit else "NO"]
            times = [f"{bare:.1f}", f"{watched:.1f}", f"{watched - bare:.1f}"]
            table.append([kind, f"{milliseconds}", *work, *times, verdicts])
    return table
