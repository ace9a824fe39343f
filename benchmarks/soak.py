"""Train a very small network for very long, and test whether the monitors' use of resources keeps growing.

    python -m benchmarks.soak                          # 200,000 steps
    python -m benchmarks.soak --steps 20000 --minutes 10

Forty times, or every ``--every`` steps, it prints resident memory, live tensors, open files, threads, bytes of the
monitors' state in a checkpoint and bytes of events on disk. The last line says which of them still grow.
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
class ResourceUse:
    """The resources that a process uses after some steps."""

    step: int
    memory: int
    """resident memory in bytes"""
    tensors: int
    """live tensors"""
    files: int
    """open files"""
    threads: int
    state: int
    """bytes of the monitors' state in a checkpoint"""
    events: int
    """bytes of the event files"""


LIMITS = {"tensors": 64, "files": 2, "threads": 2, "state": 2**19, "events": 2**20, "memory": 64 * 2**20}
"""largest growth of each over the second half of a run: buffers may fill up, but nothing may grow with the steps"""


def resource_use(step: int, monitors: Sequence[Any], folder: Path) -> ResourceUse:
    """Return the resources in use now; event files are counted below `folder`."""
    gc.collect()
    state = io.BytesIO()
    torch.save([monitor.state_dict() for monitor in monitors], state)
    return ResourceUse(
        step=step,
        memory=_resident(),
        tensors=sum(isinstance(value, Tensor) for value in gc.get_objects()),
        files=len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0,
        threads=threading.active_count(),
        state=state.tell(),
        events=sum(path.stat().st_size for path in folder.rglob("events.jsonl")),
    )


def growth(counts: Sequence[ResourceUse]) -> dict[str, int]:
    """Return by how much each resource has grown from the middle of the run to its end."""
    middle, last = asdict(counts[len(counts) // 2]), asdict(counts[-1])
    return {name: last[name] - middle[name] for name in LIMITS}


def excessive_growth(counts: Sequence[ResourceUse]) -> dict[str, int]:
    """Return the growth of those resources that have grown by more than their limit."""
    return {name: increase for name, increase in growth(counts).items() if increase > LIMITS[name]}


def soak(
    monitors: Sequence[Callback],
    steps: int,
    every: int,
    folder: Path,
    on_count: Callable[[ResourceUse], object],
    minutes: float = 120.0,
) -> list[ResourceUse]:
    """Train a network with these monitors, and return the resources in use at regular steps.

    Args:
        monitors: callbacks of the run.
        steps: length of the run.
        every: steps between two counts.
        folder: for the files of the run.
        on_count: called with each count.
        minutes: after which the run ends earlier.
    """
    counter = _Counter(monitors, every, folder, on_count, minutes)
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=CSVLogger(folder, name="", version="", flush_logs_every_n_steps=1000),
        log_every_n_steps=max(1, steps // 100),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*monitors, counter],
    )
    seed_everything(1, verbose=False)
    trainer.fit(_Tiny(), DataLoader(_Endless(), batch_size=None))
    return counter.counts


class _Counter(Callback):
    """Counts resources every `every` steps, and stops the run after `minutes`."""

    def __init__(
        self,
        monitors: Sequence[Any],
        every: int,
        folder: Path,
        on_count: Callable[[ResourceUse], object],
        minutes: float,
    ) -> None:
        self.monitors, self.every, self.folder, self.on_count = monitors, every, folder, on_count
        self.counts: list[ResourceUse] = []
        self.end = time.monotonic() + 60 * minutes

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step % self.every == 0:
            self.counts.append(resource_use(trainer.global_step, self.monitors, self.folder))
            self.on_count(self.counts[-1])
            trainer.should_stop = trainer.should_stop or time.monotonic() > self.end


class _Tiny(LightningModule):
    """A network whose loss changes its scale every 3000 steps, so that it stalls and falls again without end."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        wave = 2.0 if (self.global_step // 3000) % 2 else 0.5
        return nn.functional.cross_entropy(self.net(batch[0]) * wave, batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.05)


class _Endless(IterableDataset[Any]):
    """Batches of random inputs without end."""

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(0)
        while True:
            inputs = torch.randn(16, 4, generator=generator)
            yield inputs, (inputs[:, 0] > 0).long()


def _resident() -> int:
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.is_file() else 0


def all_monitors() -> list[Callback]:
    """Return one monitor of each class with its default settings."""
    return [
        LandscapeMonitor(),
        GradientNormMonitor(),
        PlateauMonitor(),
        LossInterpolationMonitor(),
        CurvatureMonitor(),
    ]


def main() -> None:
    """Run the soak with the options of the command line, and print its counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200_000, help="length of the run")
    parser.add_argument("--every", type=int, default=0, help="steps between two counts; default: a fortieth of the run")
    parser.add_argument("--minutes", type=float, default=120.0, help="minutes after which the run ends earlier")
    options = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = soak(
            all_monitors(),
            options.steps,
            options.every or max(1, options.steps // 40),
            Path(folder),
            lambda count: print(json.dumps(asdict(count)), flush=True),
            options.minutes,
        )
    print(f"{counts[-1].step} steps in {time.monotonic() - start:.0f} s; growth over the second half: {growth(counts)}")
    print(f"grown by more than the limit: {excessive_growth(counts) or 'nothing'}")


if __name__ == "__main__":
    main()
