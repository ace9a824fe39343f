"""Runs as long as a tutorial's: 300 steps of 1, 20 and 200 ms, which a diagnosis must not outweigh."""

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
    *("run", "step, ms", "first diagnosis, at most", "gradients taken", "cap", "kept"),
    *("bare, s", "watched, s", "added, s", "what it said"),
)


class Paced(Module):
    """A step that takes at least this long, when a probe repeats it as well."""

    def __init__(self, net: nn.Module, seconds: float) -> None:
        super().__init__(net)
        self.seconds = seconds

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Cross-entropy of one batch."""
        end = time.perf_counter() + self.seconds
        loss = super().training_step(batch, batch_idx)
        time.sleep(max(0.0, end - time.perf_counter()))
        return loss


def trained(seconds: float, batches: Any, folder: str, *callbacks: L.Callback) -> float:
    """Seconds on the wall that the fit takes, with TensorBoard, pictures and report."""
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
    with contextlib.redirect_stdout(io.StringIO()):  # the monitor's own summary
        trainer.fit(Paced(chain(32), seconds), batches)
    return time.perf_counter() - start


def tutorial_rows(folder: str) -> list[list[str]]:
    """One row for each pace, healthy and stuck: the work that was done, and the most that it may be."""
    table = []
    healthy = clusters(16)(64)
    for milliseconds in MILLISECONDS:
        for kind, batches in (("learns", healthy), ("cannot learn", unlearnable(healthy)[:STEPS])):
            loader = DataLoader([batches[i % len(batches)] for i in range(STEPS)], batch_size=None)
            monitor = LandscapeMonitor()
            bare = trained(milliseconds / 1e3, loader, folder)
            watched = trained(milliseconds / 1e3, loader, folder, monitor)
            account = monitor._examination.limits.account
            assert account.effort is not None  # it is chosen at the first check
            first = account.effort.gradients
            cap = DIAGNOSES * first + SHARE * STEPS
            said = ", ".join(verdict.cause.value for verdict in monitor.verdicts) or "nothing"
            work = [f"{first}", f"{account.spent:.0f}", f"{cap:.0f}", "yes" if account.spent <= cap else "NO"]
            times = [f"{bare:.1f}", f"{watched:.1f}", f"{watched - bare:.1f}"]
            table.append([kind, f"{milliseconds}", *work, *times, said])
    return table
