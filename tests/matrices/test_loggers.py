"""Every monitor with every logger: the run is the same to the bit, and the logger has received the scalars."""

from __future__ import annotations

import csv
import functools
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_landscape.errors import LandscapeWarning
from tests.matrices.runs import batches, held_out
from tests.matrices.watchers import WATCHERS, pairs
from tests.zoo.plain import Perceptron
from tests.zoo.training import BatchRecorder, MemoryLogger, trace_of


class RefusesOurMetrics(MemoryLogger):
    """Logs the user's metrics and raises for those of this library."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if any(name.startswith("landscape/") for name in metrics):
            raise ConnectionError("the server is down")
        super().log_metrics(metrics, step)


class MinimalLogger(Logger):
    """Implements no more than Lightning's interface requires."""

    name, version = None, None  # type: ignore[assignment]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...


def _wandb(folder: Path) -> Any:
    pytest.importorskip("wandb")
    return WandbLogger(save_dir=folder, offline=True, project="landscape", mode="disabled")


def _mlflow(folder: Path) -> Any:
    pytest.importorskip("mlflow")
    logger = MLFlowLogger("landscape", tracking_uri=(folder / "mlruns").as_uri())
    # Create the experiment before seeding: MLflow may draw from `random` to make the experiment's number.
    assert logger.experiment is not None
    return logger


def _of_the_other_namespace(folder: Path) -> Any:
    from pytorch_lightning.loggers import CSVLogger as Other

    return Other(folder, name="", version="")


def names_in_tensorboard(logger: Any, folder: Path) -> Iterable[str]:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 1, "images": 1})
    events.Reload()
    return events.Tags()["scalars"]


def names_in_csv(logger: Any, folder: Path) -> Iterable[str]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return next(csv.reader(file))


def names_in_memory(logger: Any, folder: Path) -> Iterable[str]:
    return {name for row, *_ in logger.experiment.rows for name in row}


def names_in_mlflow(logger: Any, folder: Path) -> Iterable[str]:
    return logger.experiment.get_run(logger.run_id).data.metrics


@dataclass(frozen=True)
class LoggerCase:
    make: Callable[[Path], Any]
    received: Callable[[Any, Path], Iterable[str]] | None = None
    """returns the names of the scalars that the logger has received; None if the logger cannot be read"""
    files: bool = False
    """whether the monitor may write files into the logger's folder"""
    refuses: bool = False
    """whether the logger raises for the monitor's scalars, which the report then notes"""


LOGGERS = {
    "none": LoggerCase(lambda folder: False),
    "memory": LoggerCase(lambda folder: MemoryLogger(), names_in_memory),
    "TensorBoard": LoggerCase(lambda folder: TensorBoardLogger(folder, "", ""), names_in_tensorboard, files=True),
    "CSV": LoggerCase(lambda folder: CSVLogger(folder, "", ""), names_in_csv, files=True),
    "two": LoggerCase(
        lambda folder: [CSVLogger(folder, "", ""), TensorBoardLogger(folder, "", "")],
        lambda logger, folder: set(names_in_csv(logger, folder)) & set(names_in_tensorboard(logger, folder)),
        files=True,
    ),
    "MLflow": LoggerCase(_mlflow, names_in_mlflow, files=True),
    "W&B": LoggerCase(_wandb, files=True),
    "dummy": LoggerCase(lambda folder: DummyLogger()),
    "bare interface": LoggerCase(lambda folder: MinimalLogger()),
    "refuses": LoggerCase(lambda folder: RefusesOurMetrics(), refuses=True),
    "of the other namespace": LoggerCase(_of_the_other_namespace, names_in_csv, files=True),
}


def run(case: LoggerCase, watcher: str | None, folder: Path) -> tuple[Any, Any, Any, list[str]]:
    logger = case.make(folder)
    seed_everything(7, verbose=False)
    module, recorder = Perceptron(), BatchRecorder()
    monitor = None if watcher is None else WATCHERS[watcher].make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=5,
            log_every_n_steps=5,
            logger=logger,
            default_root_dir=folder,
            callbacks=[*([] if monitor is None else [monitor]), recorder],
            **dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        )
        trainer.fit(module, batches(), held_out())
    rows = logger if isinstance(logger, MemoryLogger) else MemoryLogger()
    messages = [str(warning.message) for warning in caught if issubclass(warning.category, LandscapeWarning)]
    return trace_of(trainer, module, recorder, rows), monitor, logger, messages


@functools.cache
def alone(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return run(LOGGERS[name], None, Path(folder))[0]


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    for name, value in {"MLFLOW_ALLOW_FILE_STORE": "true", "WANDB_SILENT": "true", "WANDB_MODE": "disabled"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield
    if (wandb := sys.modules.get("wandb")) is not None:
        wandb.finish()  # otherwise the next test would continue this run


@pytest.mark.usefixtures("only_the_last_pictures")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("name", "watcher"), pairs(LOGGERS, {"two", "memory", "refuses"}))
def test_the_run_is_identical_and_the_logger_has_received_the_scalars(name, watcher, tmp_path, caplog):
    case, folder = LOGGERS[name], tmp_path / "run"
    folder.mkdir()
    trace_alone = alone(name)
    trace, monitor, logger, messages = run(case, watcher, folder)
    differences = trace.differences(trace_alone)
    assert differences == []
    assert messages == []
    assert monitor.report.steps == 40
    if case.received is not None:
        assert {f"landscape/{scalar}" for scalar in WATCHERS[watcher].scalars} <= set(case.received(logger, folder))
    refused = bool(case.refuses and WATCHERS[watcher].scalars)
    assert any("failed 3 times to log what it was sent" in note for note in monitor.report.splitlines()) is refused
    assert any(record.name == "lightning_landscape" for record in caplog.records) is refused
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert case.files or list(folder.iterdir()) == []
