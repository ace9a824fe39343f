"""Train a run that kills itself with SIGKILL: ``python -m tests.faults.killed MOMENT FOLDER``.

MOMENT is "probe" (while a probe evaluates the module) or "checkpoint" (while the second checkpoint is written).
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_landscape import LandscapeMonitor
from tests.faults.runs import Stuck, fit


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class KilledInAProbe(Stuck):
    """Kills itself while a probe evaluates it at other weights, after the checkpoint at step 30."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if "log" in vars(self) and self.global_step >= 40:  # a probe is evaluating the step
            kill()
        return super().training_step(batch, batch_idx)


def main(moment: str, folder: Path) -> None:
    monitor = LandscapeMonitor(
        every_n_steps=10,
        num_points=3,
        max_batches=2,
        norm_every_n_steps=1,
        effort="standard",
        dirpath=str(folder / "landscape"),
    )
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=15, save_top_k=-1)
    if moment == "checkpoint":
        save, count = torch.save, [0]

        def save_and_kill(content: Any, file: Any, *args: Any, **kwargs: Any) -> None:
            count[0] += 1
            save(content, file, *args, **kwargs)
            if count[0] == 2:  # Lightning has serialized the checkpoint but not yet moved the file into place
                kill()

        torch.save = save_and_kill
    fit(Stuck() if moment == "checkpoint" else KilledInAProbe(), monitor, saves, steps=60)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], Path(sys.argv[2]))
