"""Train a stuck network on two processes, with each remedy: ``python -m tests.examination.remedied_ranks FOLDER``.

Each rank writes its final weights and outcomes to FOLDER, where `test_remedied_ranks.py` compares them.
"""

from __future__ import annotations

import hashlib
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

from lightning_landscape import LandscapeMonitor
from lightning_landscape.remedies import Perturb, Stop
from tests.ranks import TIMEOUT

CASES: dict[str, Any] = {
    "isotropic": Perturb(scale=0.8),
    "lambda_min": Perturb(scale=0.8, direction="lambda_min"),
    "stop": Stop(),
}


STEPS = 100


class Stuck(L.LightningModule):
    """A deep linear network next to the saddle at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(*[nn.Linear(4, 4, bias=False) for _ in range(3)])
        for weight in self.parameters():
            nn.init.normal_(weight, std=1e-3)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.mse_loss(self.net(batch[0]), batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Report(L.Callback):
    """Writes the final weights and outcomes of this rank."""

    def __init__(self, file: Path, monitor: LandscapeMonitor) -> None:
        self.file, self.monitor = file, monitor

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        digest = hashlib.sha256()
        for weight in pl_module.parameters():
            digest.update(weight.detach().numpy().tobytes())
        report = {
            "digest": digest.hexdigest(),
            "steps": trainer.global_step,
            "remedy_outcomes": [repr(outcome) for outcome in self.monitor.remedy_outcomes],
        }
        self.file.with_suffix(f".{trainer.global_rank}.json").write_text(json.dumps(report))


def main(case: str, folder: Path) -> None:
    L.seed_everything(7, verbose=False)
    monitor = LandscapeMonitor(remedies=[CASES[case]])
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    strategy = DDPStrategy(start_method="fork", timeout=TIMEOUT, process_group_backend="gloo")
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=strategy,
        max_steps=STEPS,
        callbacks=[monitor, Report(folder / case, monitor)],
        **quiet,
    )
    trainer.fit(Stuck(), DataLoader(TensorDataset(torch.randn(640, 4)), batch_size=16, shuffle=True))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in CASES:
        main(name, Path(sys.argv[1]))
