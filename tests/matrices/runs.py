"""One short run in a given setting, with or without a callback, and all that a callback could have changed in it."""

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
from tests.zoo.training import Diary, MemoryLogger, Trace, trace_of

STEPS = 40
"""optimizer steps of a run that is not otherwise set: five epochs of eight batches"""


def learnable(seed: int = 0, samples: int = 64) -> TensorDataset:
    inputs = torch.randn(samples, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, inputs[:, :3].argmax(1))


def batches() -> DataLoader[Any]:
    return DataLoader(learnable(), batch_size=8, shuffle=True)


def held_out() -> DataLoader[Any]:
    return DataLoader(learnable(1, 16), batch_size=8)


@dataclass
class Run:
    """What `drive` is given to work with: a run can be begun as often as it likes, each time with a fresh callback."""

    setting: Setting
    watch: Callable[[], Callback] | None
    folder: Path
    watching: Any = None
    trainer: Any = None
    module: Any = None
    diary: Diary = field(default_factory=Diary)
    logger: MemoryLogger = field(default_factory=MemoryLogger)

    def begin(self, *others: Callback, **settings: Any) -> Trainer:
        self.module = self.setting.module()
        self.watching = None if self.watch is None else self.watch()
        watching = [] if self.watching is None else [self.watching]
        defaults: dict[str, Any] = {
            **{"accelerator": "cpu", "devices": 1, "max_epochs": 5, "log_every_n_steps": 1, "num_sanity_val_steps": 1},
            **dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
            **{"logger": self.logger, "default_root_dir": self.folder},
        }
        callbacks = [*watching, *self.setting.others(self.folder), *others, self.diary]
        self.trainer = Trainer(**{**defaults, **self.setting.trainer(), **settings}, callbacks=callbacks)
        return self.trainer

    def fit(self, **settings: Any) -> None:
        self.trainer.fit(self.setting.prepare(self.module), self.setting.loader(), held_out(), **settings)


def once(run: Run) -> None:
    run.begin()
    run.fit()


@dataclass(frozen=True)
class Setting:
    module: Callable[[], LightningModule] = Perceptron
    loader: Callable[[], Any] = batches
    trainer: Callable[[], dict[str, Any]] = dict
    others: Callable[[Path], list[Callback]] = lambda folder: []
    """other callbacks of the run, behind the one that watches"""
    prepare: Callable[[Any], Any] = lambda module: module
    drive: Callable[[Run], None] = once
    steps: int = STEPS
    """optimizer steps that a callback has seen in the end; 0 where there is nothing to see"""
    may_say: tuple[str, ...] = ()
    """codes of what some callback has good reason to say here, at most once; everybody else is silent"""


@dataclass(frozen=True)
class Outcome:
    trace: Trace
    watching: Any
    warnings: Counter[tuple[str, str]]
    """of everybody else, by kind and text"""
    said: list[str]
    """by the library"""


def outcome(setting: Setting, watch: Callable[[], Callback] | None, folder: Path) -> Outcome:
    seed_everything(7, verbose=False)
    run = Run(setting, watch, folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        setting.drive(run)
    ours = [str(warning.message) for warning in caught if issubclass(warning.category, LandscapeWarning)]
    theirs = [(w.category.__name__, str(w.message)) for w in caught if not issubclass(w.category, LandscapeWarning)]
    trace = trace_of(run.trainer, run.module, run.diary, run.logger)
    return Outcome(trace, run.watching, Counter(theirs), ours)
