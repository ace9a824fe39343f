"""Train a run with `LandscapeMonitor()`, and return what it reported and what it cost."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from benchmarks.long_runs.curve import Curve, flat_from
from benchmarks.long_runs.runs import RUNS, TURNS
from benchmarks.overhead import timing
from benchmarks.overhead.turns import time_in_turns
from benchmarks.stuck_runs.watching import silence
from lightning_landscape import LandscapeMonitor


@dataclass(frozen=True)
class Job:
    """A run, its length, and the folder for its results."""

    name: str
    minutes: float
    folder: Path
    paired: bool = False
    """whether a twin without a monitor is trained in turn with it"""

    @property
    def file(self) -> Path:
        """The file of the result."""
        return self.folder / f"{self.name}.json"


@dataclass(frozen=True)
class Reported:
    """A verdict of the monitor."""

    step: int
    since: int
    stuck: bool
    code: str
    """the code of the cause, with the finding if there is one"""
    cause: str
    reason: str
    advice: str

    @property
    def title(self) -> str:
        """The code, with the cause in words if no finding says more."""
        return self.code if " " in self.code else f"{self.code} {self.cause.replace('_', ' ')}"


@dataclass(frozen=True)
class Result:
    """What the monitor reported about a run, and what it cost."""

    name: str
    minutes: float
    """that were asked for"""
    steps: int
    training_seconds: float
    """of the fit without those of the monitor; in a paired run, of the twin, in processor time"""
    monitor_seconds: float
    """by the monitor's own account, which includes the pictures at the end"""
    quality: tuple[float, float]
    """before and after training"""
    mistake_from: int | None
    """first step at which the mistake acts; None in a healthy run"""
    flat_from: int
    """step from which on the loss hardly falls, see `flat_from`"""
    curve: Curve
    segments: list[list[Any]] = field(default_factory=list)
    """(first step, state of the run) pairs"""
    verdicts: list[Reported] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ratio: float | None = None
    """time with the monitor over that of the twin; None for a run without a twin"""
    typical_ratio: str = ""
    """median and quartiles of this ratio over the turns"""
    environment: str = ""
    error: str | None = None
    """class and message of the error that ended the run"""

    @property
    def price(self) -> float:
        """Seconds of the monitor over those of training."""
        return self.monitor_seconds / max(self.training_seconds, 1e-9)

    @property
    def stuck_from(self) -> int | None:
        """Step from which on the run is stuck: its mistake acts and its loss is flat; None for a healthy run."""
        return None if self.mistake_from is None else max(self.mistake_from, self.flat_from)


class Losses(pl.Callback):
    """Records the loss of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *args: Any) -> None:
        """Append the loss of this batch."""
        self.values.append(outputs["loss"].item())


def train(module: pl.LightningModule, batches: Any, clip: float | None, callbacks: list[pl.Callback], to: Path) -> None:
    """Train for one epoch, with TensorBoard's logger."""
    trainer = pl.Trainer(
        max_epochs=1,
        gradient_clip_val=clip,
        callbacks=callbacks,
        logger=TensorBoardLogger(to, name="", version=""),
        accelerator="cpu",
        devices=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches)


def watch(job: Job) -> Result:
    """Train the run with the monitor, write the result to the job's file, and return it."""
    run = RUNS[job.name]
    steps = run.steps(job.minutes)
    torch.manual_seed(0)
    module, data = run.build(steps)
    before = module.quality()
    monitor, losses, error = LandscapeMonitor(), Losses(), None
    ratio, typical = None, ""
    with silence():
        try:
            start = time.perf_counter()
            if job.paired:
                ratio, typical, seconds = in_turns(job, module, data, [losses, monitor])
            else:
                train(module, DataLoader(data, batch_size=None), run.clip, [losses, monitor], job.folder / job.name)
                seconds = monitor._stopwatch.training
        except Exception as failure:  # A run that fails must not end the others.
            error, seconds = f"{type(failure).__name__}: {failure}"[:500], time.perf_counter() - start
    course = monitor.report.document.get("course", {})
    result = Result(
        name=job.name,
        minutes=job.minutes,
        steps=steps,
        training_seconds=seconds,
        monitor_seconds=monitor._stopwatch.spent,
        quality=(before, module.quality()),
        mistake_from=round(run.share * steps) if run.stuck else None,
        flat_from=flat_from(losses.values[: round(run.until * steps)]),
        curve=Curve.of(losses.values),
        segments=course.get("segments", []),
        verdicts=[
            Reported(v.step, v.since, v.stuck, v.code, v.cause.value, v.reason, v.advice) for v in monitor.verdicts
        ],
        notes=monitor.report.to_dict()["notes"],
        ratio=ratio,
        typical_ratio=typical,
        environment=timing.environment(),
        error=error,
    )
    job.file.parent.mkdir(parents=True, exist_ok=True)
    job.file.write_text(json.dumps(asdict(result), indent=1), encoding="utf-8")
    return result


def in_turns(job: Job, module: pl.LightningModule, data: Any, callbacks: list[pl.Callback]) -> tuple[float, str, float]:
    """Train the module with these callbacks, in turn with a twin that has the same batches and no monitor.

    Returns:
        The ratio of their times, its spread over the turns, and the seconds of the twin.

    Raises:
        RuntimeError: if one of the two fails.
    """
    run = RUNS[job.name]
    torch.manual_seed(0)
    twin, _ = run.build(len(data))
    turns = min(TURNS, len(data) // 10)
    fits = {
        "bare": lambda batches: train(twin, batches, run.clip, [Losses()], job.folder / f"{job.name}_twin"),
        "watched": lambda batches: train(module, batches, run.clip, callbacks, job.folder / job.name),
    }
    timings = time_in_turns(fits, data, turns=turns, turn=len(data) // turns)
    if timings.errors:
        raise RuntimeError("; ".join(timings.errors.values()))
    bare = timings.totals["bare"]
    return timings.totals["watched"] / bare, str(timings.ratio("watched", "bare")), bare


def load(file: Path) -> Result:
    """Return the result in a file that `watch` wrote."""
    known = json.loads(file.read_text(encoding="utf-8"))
    known["curve"] = Curve(**known["curve"])
    known["verdicts"] = [Reported(**verdict) for verdict in known["verdicts"]]
    return Result(**{**known, "quality": tuple(known["quality"])})


def is_finished(job: Job) -> bool:
    """Return whether the job's file has the result of a run of this length, with a twin if one is asked for."""
    if not job.file.exists():
        return False
    result = load(job.file)
    return result.error is None and result.minutes == job.minutes and (result.ratio is not None or not job.paired)


def results(folder: Path, names: Sequence[str]) -> list[Result]:
    """Return the results of these runs that are in the folder, in their order."""
    files = [folder / f"{name}.json" for name in names]
    return [load(file) for file in files if file.exists()]
