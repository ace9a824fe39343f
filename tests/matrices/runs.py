"""One short run in a given setting, with or without a monitor, and everything that a monitor could have changed."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.errors import LandscapeWarning
from tests.zoo.plain import Perceptron
from tests.zoo.training import BatchRecorder, MemoryLogger, Trace, trace_of

STEPS = 40
"""optimizer steps of a run with the default settings: five epochs of eight batches"""


def learnable(seed: int = 0, samples: int = 64) -> TensorDataset:
    inputs = torch.randn(samples, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, inputs[:, :3].argmax(1))


def batches() -> DataLoader[Any]:
    return DataLoader(learnable(), batch_size=8, shuffle=True)


def held_out() -> DataLoader[Any]:
    return DataLoader(learnable(1, 16), batch_size=8)


@dataclass
class Run:
    """The argument of `Setting.drive`: each call of `begin` makes a new trainer, module and monitor."""

    setting: Setting
    make_monitor: Callable[[], Callback] | None
    folder: Path
    monitor: Any = None
    trainer: Any = None
    module: Any = None
    recorder: BatchRecorder = field(default_factory=BatchRecorder)
    logger: MemoryLogger = field(default_factory=MemoryLogger)

    def begin(self, *others: Callback, **settings: Any) -> Trainer:
        self.module = self.setting.module()
        self.monitor = None if self.make_monitor is None else self.make_monitor()
        monitors = [] if self.monitor is None else [self.monitor]
        defaults: dict[str, Any] = {
            **{"accelerator": "cpu", "devices": 1, "max_epochs": 5, "log_every_n_steps": 1, "num_sanity_val_steps": 1},
            **dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
            **{"logger": self.logger, "default_root_dir": self.folder},
        }
        callbacks = [*monitors, *self.setting.others(self.folder), *others, self.recorder]
        self.trainer = Trainer(**{**defaults, **self.setting.trainer(), **settings}, callbacks=callbacks)
        return self.trainer

    def fit(self, **settings: Any) -> None:
        self.trainer.fit(self.setting.prepare(self.module), self.setting.loader(), held_out(), **settings)


def fit_once(run: Run) -> None:
    run.begin()
    run.fit()


@dataclass(frozen=True)
class Setting:
    module: Callable[[], LightningModule] = Perceptron
    loader: Callable[[], Any] = batches
    trainer: Callable[[], dict[str, Any]] = dict
    others: Callable[[Path], list[Callback]] = lambda folder: []
    """makes the other callbacks of the run, which come after the monitor"""
    prepare: Callable[[Any], Any] = lambda module: module
    drive: Callable[[Run], None] = fit_once
    steps: int = STEPS
    """optimizer steps that the monitor's report counts; 0 if the run takes none"""
    allowed_codes: tuple[str, ...] = ()
    """codes of the warnings that a monitor may give in this setting, each at most once; all others are forbidden"""


@dataclass(frozen=True)
class Outcome:
    trace: Trace
    monitor: Any
    other_warnings: Counter[tuple[str, str]]
    """class and text of the warnings that are not from this library, with their counts"""
    landscape_warnings: list[str]
    """texts of the warnings of this library, in order"""


def outcome(setting: Setting, make_monitor: Callable[[], Callback] | None, folder: Path) -> Outcome:
    seed_everything(7, verbose=False)
    run = Run(setting, make_monitor, folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        setting.drive(run)
    ours = [str(warning.message) for warning in caught if issubclass(warning.category, LandscapeWarning)]
    others = [(w.category.__name__, str(w.message)) for w in caught if not issubclass(w.category, LandscapeWarning)]
    trace = trace_of(run.trainer, run.module, run.recorder, run.logger)
    return Outcome(trace, run.monitor, Counter(others), ours)
