"""Every callback with every logger: the run is the same to the bit, and what the logger takes has come through."""

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
from tests.zoo.training import Diary, MemoryLogger, trace_of


class Refuses(MemoryLogger):
    """Takes the user's numbers and none of ours."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if any(name.startswith("landscape/") for name in metrics):
            raise ConnectionError("the server is down")
        super().log_metrics(metrics, step)


class Nothing(Logger):
    """As little as Lightning's interface asks for."""

    name, version = None, None  # type: ignore[assignment]

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...


def _wandb(folder: Path) -> Any:
    pytest.importorskip("wandb")
    return WandbLogger(save_dir=folder, offline=True, project="landscape", mode="disabled")


def _mlflow(folder: Path) -> Any:
    pytest.importorskip("mlflow")
    logger = MLFlowLogger("landscape", tracking_uri=(folder / "mlruns").as_uri())
    # The number of an experiment comes from a UUID, whose leading zeros MLflow replaces by draws from `random`.
    assert logger.experiment is not None
    return logger


def _of_the_other_namespace(folder: Path) -> Any:
    from pytorch_lightning.loggers import CSVLogger as Other

    return Other(folder, name="", version="")


def in_tensorboard(logger: Any, folder: Path) -> Iterable[str]:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 1, "images": 1})
    events.Reload()
    return events.Tags()["scalars"]


def in_csv(logger: Any, folder: Path) -> Iterable[str]:
    with (folder / "metrics.csv").open(encoding="utf-8") as file:
        return next(csv.reader(file))


def in_memory(logger: Any, folder: Path) -> Iterable[str]:
    return {name for row, *_ in logger.experiment.rows for name in row}


def in_mlflow(logger: Any, folder: Path) -> Iterable[str]:
    return logger.experiment.get_run(logger.run_id).data.metrics


@dataclass(frozen=True)
class Outlet:
    make: Callable[[Path], Any]
    received: Callable[[Any, Path], Iterable[str]] | None = None
    """names of the numbers that have arrived; None where the logger keeps nothing that could be asked for"""
    files: bool = False
    """whether the callback's own files may go to the logger's folder"""
    muted: bool = False
    """whether the logger refuses what it is sent, and the report says so"""


OUTLETS = {
    "none": Outlet(lambda folder: False),
    "memory": Outlet(lambda folder: MemoryLogger(), in_memory),
    "TensorBoard": Outlet(lambda folder: TensorBoardLogger(folder, "", ""), in_tensorboard, files=True),
    "CSV": Outlet(lambda folder: CSVLogger(folder, "", ""), in_csv, files=True),
    "two": Outlet(
        lambda folder: [CSVLogger(folder, "", ""), TensorBoardLogger(folder, "", "")],
        lambda logger, folder: set(in_csv(logger, folder)) & set(in_tensorboard(logger, folder)),
        files=True,
    ),
    "MLflow": Outlet(_mlflow, in_mlflow, files=True),
    "W&B": Outlet(_wandb, files=True),
    "dummy": Outlet(lambda folder: DummyLogger()),
    "bare interface": Outlet(lambda folder: Nothing()),
    "refuses": Outlet(lambda folder: Refuses(), muted=True),
    "of the other namespace": Outlet(_of_the_other_namespace, in_csv, files=True),
}


def run(outlet: Outlet, watcher: str | None, folder: Path) -> tuple[Any, Any, Any, list[str]]:
    logger = outlet.make(folder)
    seed_everything(7, verbose=False)
    module, diary = Perceptron(), Diary()
    watching = None if watcher is None else WATCHERS[watcher].make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=5,
            log_every_n_steps=5,
            logger=logger,
            default_root_dir=folder,
            callbacks=[*([] if watching is None else [watching]), diary],
            **dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        )
        trainer.fit(module, batches(), held_out())
    rows = logger if isinstance(logger, MemoryLogger) else MemoryLogger()
    said = [str(warning.message) for warning in caught if issubclass(warning.category, LandscapeWarning)]
    return trace_of(trainer, module, diary, rows), watching, logger, said


@functools.cache
def alone(name: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return run(OUTLETS[name], None, Path(folder))[0]


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    for name, value in {"MLFLOW_ALLOW_FILE_STORE": "true", "WANDB_SILENT": "true", "WANDB_MODE": "disabled"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    yield
    if (wandb := sys.modules.get("wandb")) is not None:
        wandb.finish()  # a run that is left open is the next test's


@pytest.mark.usefixtures("only_the_last_pictures")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("name", "watcher"), pairs(OUTLETS, {"two", "memory", "refuses"}))
def test_the_run_is_identical_and_the_logger_has_what_it_takes(name, watcher, tmp_path, caplog):
    outlet, folder = OUTLETS[name], tmp_path / "run"
    folder.mkdir()
    before = alone(name)
    trace, watching, logger, said = run(outlet, watcher, folder)
    differences = trace.differences(before)
    assert differences == []
    assert said == []
    assert watching.report.steps == 40
    if outlet.received is not None:
        assert {f"landscape/{scalar}" for scalar in WATCHERS[watcher].scalars} <= set(outlet.received(logger, folder))
    refused = bool(outlet.muted and WATCHERS[watcher].scalars)
    assert any("failed 3 times to log what it was sent" in note for note in watching.report.splitlines()) is refused
    assert any(record.name == "lightning_landscape" for record in caplog.records) is refused
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert outlet.files or list(folder.iterdir()) == []
