"""A very long run of a very small network, and what the monitors hold on to meanwhile.

    python -m benchmarks.soak                          # 200,000 steps
    python -m benchmarks.soak --steps 20000 --minutes 10

Every so many steps it prints what there is: resident memory, live tensors, objects, open files, threads, bytes of the
monitors' state in a checkpoint, and bytes of events on disk. The last line tells whether any of them still grows.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import logging
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from lightning_landscape import (
    CurvatureMonitor,
    GradientNormMonitor,
    LandscapeMonitor,
    LossInterpolationMonitor,
    PlateauMonitor,
)


@dataclass(frozen=True)
class Holdings:
    """What a process holds after so many steps; memory in bytes."""

    step: int
    memory: int
    tensors: int
    files: int
    threads: int
    state: int
    events: int


LIMITS = {"tensors": 64, "files": 2, "threads": 2, "state": 2**19, "events": 2**20, "memory": 64 * 2**20}
"""by how much each may still grow over the second half of a run: buffers fill up, but nothing grows with the steps"""


def holdings(step: int, monitors: Sequence[Any], folder: Path) -> Holdings:
    """Count what there is now."""
    gc.collect()
    state = io.BytesIO()
    torch.save([monitor.state_dict() for monitor in monitors], state)
    return Holdings(
        step=step,
        memory=_resident(),
        tensors=sum(isinstance(value, Tensor) for value in gc.get_objects()),
        files=len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0,
        threads=threading.active_count(),
        state=state.tell(),
        events=sum(path.stat().st_size for path in folder.rglob("events.jsonl")),
    )


def growth(seen: Sequence[Holdings]) -> dict[str, int]:
    """By how much each holding has grown from the middle of the run to its end."""
    middle, last = asdict(seen[len(seen) // 2]), asdict(seen[-1])
    return {name: last[name] - middle[name] for name in LIMITS}


def unbounded(seen: Sequence[Holdings]) -> dict[str, int]:
    """Those that have grown by more than they may."""
    return {name: more for name, more in growth(seen).items() if more > LIMITS[name]}


def soak(
    monitors: Sequence[Callback],
    steps: int,
    every: int,
    folder: Path,
    tell: Callable[[Holdings], object],
    minutes: float = 120.0,
) -> list[Holdings]:
    """Train for so many steps with these monitors, or so many minutes, and count every so many steps."""
    counting = _Counting(monitors, every, folder, tell, minutes)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1000),
        log_every_n_steps=max(1, steps // 100),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*monitors, counting],
    )
    seed_everything(1, verbose=False)
    trainer.fit(_Tiny(), DataLoader(_Endless(), batch_size=None))
    return counting.seen


class _Counting(Callback):
    def __init__(
        self,
        monitors: Sequence[Any],
        every: int,
        folder: Path,
        tell: Callable[[Holdings], object],
        minutes: float,
    ) -> None:
        self.monitors, self.every, self.folder, self.tell = monitors, every, folder, tell
        self.seen: list[Holdings] = []
        self.end = time.monotonic() + 60 * minutes

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step % self.every == 0:
            self.seen.append(holdings(trainer.global_step, self.monitors, self.folder))
            self.tell(self.seen[-1])
            trainer.should_stop = trainer.should_stop or time.monotonic() > self.end


class _Tiny(LightningModule):
    """Falls, stalls and falls again, for ever, so that there is always something to say."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        wave = 2.0 if (self.global_step // 3000) % 2 else 0.5
        return nn.functional.cross_entropy(self.net(batch[0]) * wave, batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


class _Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        while True:
            inputs = torch.randn(16, 4, generator=generator)
            yield inputs, (inputs[:, 0] > 0).long()


def _resident() -> int:
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.is_file() else 0


def all_monitors() -> list[Callback]:
    """One of each, with the settings that they come with."""
    return [
        LandscapeMonitor(),
        GradientNormMonitor(),
        PlateauMonitor(),
        LossInterpolationMonitor(),
        CurvatureMonitor(),
    ]


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--every", type=int, default=0, help="steps between two counts; a fortieth of the run")
    parser.add_argument("--minutes", type=float, default=120.0, help="after which the run ends as it is")
    given = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        seen = soak(
            all_monitors(),
            given.steps,
            given.every or max(1, given.steps // 40),
            Path(folder),
            lambda now: print(json.dumps(asdict(now)), flush=True),
            given.minutes,
        )
    print(f"{seen[-1].step} steps in {time.monotonic() - began:.0f} s; from the middle on: {growth(seen)}")
    print(f"still growing: {unbounded(seen) or 'nothing'}")


if __name__ == "__main__":
    main()
