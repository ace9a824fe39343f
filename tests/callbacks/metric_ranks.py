"""Train on two processes with metrics that differ between them: ``python -m tests.callbacks.metric_ranks FOLDER``.

Each rank writes what its monitor knows of the metrics to FOLDER, where `test_metric_ranks.py` compares them.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import PlateauMonitor
from tests.ranks import TIMEOUT


class Ranked(L.LightningModule):
    """Logs a score at each step on rank 0 only, and a validation loss and an accuracy that differ between ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.log("score", float(self.global_step % 7), rank_zero_only=True)
        return self.net(batch[0]).pow(2).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.net(batch[0]).pow(2).mean() + self.global_rank, sync_dist=False)
        self.log("val_acc", float(self.global_rank), sync_dist=False)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Report(L.Callback):
    """Writes the metrics, scalars and verdicts of this rank."""

    def __init__(self, file: Path, monitor: PlateauMonitor) -> None:
        self.file, self.monitor = file, monitor

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        metrics = self.monitor._state.metrics
        report = {
            "drawn": metrics.drawn(),
            "scalars": metrics.scalars,
            "per_step": metrics.per_step,
            "verdicts": [str(verdict) for verdict in metrics.verdicts],
        }
        self.file.with_suffix(f".{trainer.global_rank}.json").write_text(json.dumps(report))


def main(folder: Path) -> None:
    L.seed_everything(7, verbose=False)
    monitor = PlateauMonitor(monitor=["score", "val_acc"], mode="max")
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    strategy = DDPStrategy(start_method="fork", timeout=TIMEOUT, process_group_backend="gloo")
    callbacks = [monitor, Report(folder / "m", monitor)]
    trainer = L.Trainer(accelerator="cpu", devices=2, strategy=strategy, max_epochs=12, callbacks=callbacks, **quiet)
    data = TensorDataset(torch.randn(400, 4))
    trainer.fit(Ranked(), DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=200))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
