"""Train on two processes, of which one gets NaN in its data: ``python -m tests.examination.diverging_ranks FOLDER``.

Each rank writes its verdicts to FOLDER, where `test_divergence_probes.py` compares them.
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
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.evidence import NotFinite
from tests.faults.runs import Net
from tests.ranks import TIMEOUT


class GapsOnRankOne(Net):
    """The data loader of rank 1 gives NaN after step 12."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if self.trainer.global_rank == 1 and self.global_step > 12:
            batch[0][0, 0] = torch.nan
        return batch


class Report(L.Callback):
    """Writes the verdicts of this rank."""

    def __init__(self, folder: Path, monitor: LandscapeMonitor) -> None:
        self.folder, self.monitor = folder, monitor

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        found = [
            (verdict.cause.value, verdict.finding and verdict.finding.name, reading and reading.operation)
            for verdict in self.monitor.verdicts
            for reading in [verdict.evidence.get(NotFinite)]
        ]
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(found))


def main(folder: Path) -> None:
    L.seed_everything(7, verbose=False)
    monitor = LandscapeMonitor(max_batches=4)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    strategy = DDPStrategy(start_method="fork", timeout=TIMEOUT, process_group_backend="gloo")
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        max_steps=60,
        callbacks=[monitor, Report(folder, monitor)],
        **quiet,
    )
    rows = torch.randn(640, 4)
    trainer.fit(GapsOnRankOne(), DataLoader(TensorDataset(rows, rows[:, :3].argmax(1)), batch_size=8))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
