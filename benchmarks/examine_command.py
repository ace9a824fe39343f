"""Does `landscape examine` name the cause that the monitor names in the run? On checkpoints of 20 stuck runs.

``python -m benchmarks.examine_command [--runs 20] [--seed 0] [--jobs 1]`` trains every run until the first alarm of the
monitor, saves a checkpoint there, and examines it twice: with the state of the monitor, and without it, as a checkpoint
of a run that had no monitor. It prints the causes, and how many agree.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader

from benchmarks.stuck_runs.configurations import CONFIGURATIONS, SPLITS
from benchmarks.stuck_runs.processes import run_in_processes
from benchmarks.stuck_runs.training import Batches, Module, fit
from benchmarks.stuck_runs.watching import silence
from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import LandscapeError
from lightning_landscape.from_checkpoint import examine, stored_run

SPLITS_USED = ("open", "second")
OTHER_BATCHES = 1000
"""added to the seed of the run for the batches of the examination, which the run has not seen"""


@dataclass(frozen=True)
class Job:
    """A run to train and to examine."""

    name: str
    seed: int


@dataclass(frozen=True)
class Compared:
    """The causes that were named for one run."""

    live: str
    """by the monitor in the run; empty if it raised no alarm"""
    step: int
    watched: str
    """by the examination of the checkpoint with the state of the monitor"""
    unwatched: str
    """by the examination of the checkpoint without it"""


class SaveAtAlarm(Callback):
    """Saves a checkpoint after the first alarm, and ends the run."""

    def __init__(self, monitor: LandscapeMonitor, path: Path) -> None:
        self.monitor, self.path = monitor, path

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Save once an alarm is raised."""
        if any(verdict.stuck for verdict in self.monitor.verdicts) and not self.path.exists():
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def compare(job: Job) -> Compared:
    """Train a run until its first alarm, and examine the checkpoint of that step."""
    configuration = CONFIGURATIONS[job.name]
    with tempfile.TemporaryDirectory() as folder:
        path, bare = Path(folder) / "alarm.ckpt", Path(folder) / "without_monitor.ckpt"
        monitor = LandscapeMonitor()
        with silence():
            fit(
                configuration.problem(job.seed),
                job.seed,
                configuration.horizon,
                monitor,
                SaveAtAlarm(monitor, path),
            )
        alarm = next((verdict for verdict in monitor.verdicts if verdict.stuck), None)
        if alarm is None or not path.exists():
            return Compared("", 0, "", "")
        content = torch.load(path, weights_only=True)
        del content["callbacks"]
        torch.save(content, bare)
        causes = [_examined(job, checkpoint) for checkpoint in (path, bare)]
        return Compared(alarm.cause.value, alarm.step, *causes)


def _examined(job: Job, checkpoint: Path) -> str:
    """Return the cause that the examination of a checkpoint names."""
    configuration = CONFIGURATIONS[job.name]
    problem = configuration.problem(job.seed)
    try:
        run = stored_run(
            checkpoint,
            lambda: Module(problem),
            DataLoader(Batches(problem, job.seed + OTHER_BATCHES), batch_size=None),
            trainer={
                "accelerator": "cpu",
                "gradient_clip_val": problem.clip,
                "accumulate_grad_batches": problem.accumulate,
            },
            horizon=configuration.horizon,
        )
        verdict = examine(run).verdict
    except LandscapeError as error:
        return f"{type(error).__name__}: {error}"
    return "no verdict" if verdict is None else verdict.cause.value


def chosen(count: int) -> list[str]:
    """Return the names of this many stuck configurations, spread evenly over the open sets."""
    names = [c.name for split in SPLITS_USED for c in SPLITS[split] if c.stuck]
    return [names[i * len(names) // count] for i in range(min(count, len(names)))]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and examine the runs, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.examine_command", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args(arguments)
    results: list[Compared] = []
    print("| run | alarm at step | cause in the run | examined with its state | without |\n|---|--:|---|---|---|")
    jobs = [Job(name, options.seed) for name in chosen(options.runs)]
    for job, compared in run_in_processes(compare, jobs, options.jobs):
        results.append(compared)
        row = (compared.live or "no alarm", compared.watched, compared.unwatched)
        print(f"| {job.name} | {compared.step} | {' | '.join(row)} |", flush=True)
    judged = [result for result in results if result.live]
    for what, agree in (
        ("with the state of the monitor", sum(result.watched == result.live for result in judged)),
        ("without it", sum(result.unwatched == result.live for result in judged)),
    ):
        print(f"\nThe same cause {what}: {agree} of {len(judged)}")


if __name__ == "__main__":
    main()
