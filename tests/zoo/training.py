"""Train a specimen and return everything that a probe could have changed."""

from __future__ import annotations

import logging
import random
import threading
import types
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader

from tests.zoo.specimen import Specimen, labelled

for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero", "lightning.fabric"):
    logging.getLogger(name).setLevel(logging.ERROR)


class Rows:
    """The `experiment` of the logger: a list of all rows that were written."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def add_scalar(self, name: str, value: Any, step: int) -> None:
        self.rows.append((name, float(value), step))


class MemoryLogger(Logger):
    def __init__(self) -> None:
        super().__init__()
        self._experiment = Rows()

    @property
    def name(self) -> str:
        return "memory"

    @property
    def version(self) -> int:
        return 0

    @property
    def experiment(self) -> Rows:
        return self._experiment

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self._experiment.rows.append((dict(metrics), step))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...


class BatchRecorder(Callback):
    """Records fingerprints of each batch and of the random number generators before each step."""

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append((fingerprint(batch), fingerprint(torch.get_rng_state()), random.getstate()[1][:3]))


@dataclass(frozen=True)
class Trace:
    weights: Any
    optimizers: Any
    gradients: Any
    metrics: Any
    rows: Any
    streams: Any
    batches: Any
    hidden: Any

    def differences(self, other: Trace) -> list[str]:
        return [f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]


def train(specimen: Specimen, *callbacks: Callback) -> Trace:
    seed_everything(7, verbose=False)
    module = specimen.module()
    recorder, logger = BatchRecorder(), MemoryLogger()
    trainer = make_trainer(specimen, *callbacks, recorder, logger=logger)
    fit(specimen, trainer, module)
    return trace_of(trainer, module, recorder, logger)


def trace_of(trainer: Trainer, module: Any, recorder: BatchRecorder, logger: MemoryLogger) -> Trace:
    """Return the state of a finished run, without the values that this library publishes."""
    return Trace(
        weights={name: fingerprint(value) for name, value in module.state_dict().items()},
        optimizers=[fingerprint(list(optimizer.state.values())) for optimizer in trainer.optimizers],
        gradients={name: fingerprint(p.grad) for name, p in module.named_parameters()},
        metrics={key: float(value) for key, value in trainer.callback_metrics.items() if not is_ours(key)},
        rows=[row for row in logger.experiment.rows if not is_ours(row)],
        streams=(fingerprint(torch.get_rng_state()), random.getstate(), fingerprint(np.random.get_state())),
        batches=recorder.batches,
        hidden={name: attributes(part) for name, part in module.named_modules()}
        | {"classes": attributes_of_classes(module)}
        | {
            "trainer": {
                key: value
                for key, value in vars(trainer).items()
                if key not in {"_last_val_time", "_default_root_dir"} and isinstance(value, (bool, int, float, str))
            }
        },
    )


def is_ours(row: Any) -> bool:
    """Return whether a metric's name or a logger's row belongs to this library."""
    first = row[0] if isinstance(row, tuple) else row
    names = first if isinstance(first, dict) else [first]
    return any(name.startswith("landscape/") for name in names)


def make_trainer(specimen: Specimen, *callbacks: Callback, logger: Logger | bool = False) -> Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "max_epochs": specimen.epochs,
        "num_sanity_val_steps": 1,
        "log_every_n_steps": 1,
        "logger": logger,
        "callbacks": list(callbacks),
    }
    return Trainer(**settings | specimen.trainer())


def fit(specimen: Specimen, trainer: Trainer, module: Any) -> None:
    trainer.fit(specimen.prepare(module), specimen.loader(), DataLoader(labelled(1, 16), batch_size=8))


def attributes(module: Any) -> Any:
    left_out = {
        "_trainer",
        "_fabric",
        "_modules",
        "_parameters",
        "_compiler_ctx",
        "_current_fx_name",
        "_torchdynamo_wrapper_id",
    }
    known = {key: value for key, value in vars(module).items() if key not in left_out}
    # The keys of hooks are numbers that are counted up in the whole process.
    return {key: fingerprint(list(value.values()) if "hooks" in key else value) for key, value in known.items()}


def attributes_of_classes(module: Any) -> Any:
    """Return fingerprints of the attributes of all classes of the module's parts that tests define, by name."""
    kinds = {kind for part in module.modules() for kind in type(part).__mro__ if kind.__module__.startswith("tests.")}
    return {
        f"{kind.__name__}.{key}": fingerprint(value)
        for kind in kinds
        for key, value in vars(kind).items()
        if not key.startswith("__")
    }


def fingerprint(value: Any, depth: int = 0) -> Any:
    """Return an object that can be compared: two are equal only if the values are equal to the bit."""
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().reshape(-1)
        return (str(value.dtype), tuple(value.shape), value.requires_grad, flat.view(torch.uint8).numpy().tobytes())
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.shape, value.tobytes())
    if isinstance(value, torch.Generator):
        return fingerprint(value.get_state())
    if isinstance(value, np.random.Generator):
        return str(value.bit_generator.state)
    if isinstance(value, (int, float, str, bytes, bool, type(None), torch.dtype, torch.device)):
        return value
    if isinstance(value, (list, tuple, deque)):
        return [fingerprint(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {str(key): fingerprint(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (types.FunctionType, types.MethodType, type, weakref.ref, torch.nn.Module, Rows, Trainer)):
        return type(value).__name__
    if hasattr(value, "__dict__") and not isinstance(value, (threading.Thread, Logger, DataLoader)) and depth < 3:
        return (type(value).__name__, {key: fingerprint(item, depth + 1) for key, item in vars(value).items()})
    return type(value).__name__
