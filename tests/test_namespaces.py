"""A monitor works with `lightning.pytorch` and with `pytorch_lightning`, whose classes are different objects."""

from __future__ import annotations

import functools
import importlib
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from packaging.version import Version
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.errors import LandscapeWarning
from tests.clocks import ManualClock
from tests.matrices.watchers import WATCHERS

ROOT = Path(__file__).parents[1]
NAMESPACES = ("lightning.pytorch", "pytorch_lightning")


needs_lightning_2_6 = pytest.mark.skipif(
    Version(lightning.__version__) < Version("2.6"),
    reason="before 2.6, pytorch_lightning must be imported before the monitors, as in the last test of this file",
)


def module_of(namespace: Any) -> Any:
    class Module(namespace.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    return Module()


def fit(name: str, callbacks: Any, folder: Path, **settings: Any) -> tuple[Any, list[str]]:
    namespace = importlib.import_module(name)
    torch.manual_seed(7)
    inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = namespace.Trainer(
            **{"accelerator": "cpu", "max_epochs": 5, "log_every_n_steps": 5, "default_root_dir": folder, **off}
            | settings,
            logger=importlib.import_module(f"{name}.loggers").CSVLogger(folder, "", ""),
            callbacks=callbacks,
        )
        trainer.fit(module_of(namespace), DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), 8, shuffle=True))
    messages = [str(w.message) for w in caught if issubclass(w.category, LandscapeWarning)]
    return trainer, messages


@needs_lightning_2_6
@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("watcher", WATCHERS)
def test_a_monitor_publishes_and_reports_the_same_in_both_namespaces(watcher, tmp_path):
    results = {}
    for name in NAMESPACES:
        monitor = WATCHERS[watcher].make()
        monitor.clock = ManualClock()
        trainer, messages = fit(name, [monitor], tmp_path / name)
        weights = {key: value.tolist() for key, value in trainer.lightning_module.state_dict().items()}
        metrics = {key: float(value) for key, value in trainer.callback_metrics.items()}
        columns = (tmp_path / name / "metrics.csv").read_text(encoding="utf-8").splitlines()[0]
        results[name] = (weights, metrics, columns, messages, monitor.report.steps, str(monitor.report))
        assert monitor.report.steps == 40
        assert {f"landscape/{scalar}" for scalar in WATCHERS[watcher].scalars} <= metrics.keys()
        assert messages == []
    first, second = results.values()
    assert first == second


@needs_lightning_2_6
def test_the_same_hooks_of_a_monitor_are_called_in_both_namespaces(tmp_path):
    calls: dict[str, set[str]] = {}
    for name in NAMESPACES:
        monitor = WATCHERS["GradientNormMonitor"].make()
        for hook in (h for h in dir(monitor) if h.startswith("on_") or h == "teardown"):
            called = calls.setdefault(name, set())
            original = getattr(monitor, hook)
            setattr(monitor, hook, functools.partial(_record_call, called, hook, original))
        fit(name, [monitor], tmp_path / name)
    first, second = calls.values()
    assert first == second
    assert {"on_train_start", "on_before_optimizer_step", "on_train_batch_end", "on_train_end", "teardown"} <= first


def _record_call(called: set[str], hook: str, original: Any, *args: Any, **kwargs: Any) -> Any:
    called.add(hook)
    return original(*args, **kwargs)


@needs_lightning_2_6
def test_a_state_that_was_saved_in_one_namespace_can_be_loaded_in_the_other(tmp_path):
    namespace = importlib.import_module(NAMESPACES[0])
    saver = namespace.callbacks.ModelCheckpoint(tmp_path, "last")
    fit(
        NAMESPACES[0],
        [WATCHERS["PlateauMonitor"].make(), saver],
        tmp_path / "a",
        max_steps=24,
        enable_checkpointing=True,
    )
    states = torch.load(tmp_path / "last.ckpt", weights_only=True)["callbacks"]
    (state,) = (value for key, value in states.items() if key.startswith("PlateauMonitor"))
    monitor = WATCHERS["PlateauMonitor"].make()
    assert monitor.state_key in states
    monitor.load_state_dict(state)
    fit(NAMESPACES[1], [monitor], tmp_path / "b", max_steps=16)
    assert monitor.report.steps == 24 + 16


PROGRAM = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from {name} import LightningModule, Trainer
from lightning_landscape import LandscapeMonitor
class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 2)
    def training_step(self, batch, batch_idx):
        return self.net(batch).square().mean()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)
monitor = LandscapeMonitor(every_n_steps=10, num_points=3)
trainer = Trainer(accelerator="cpu", max_epochs=4, logger=False, enable_checkpointing=False,
                  enable_progress_bar=False, enable_model_summary=False, callbacks=monitor)
trainer.fit(Module(), torch.utils.data.DataLoader(torch.randn(40, 4), 4))
assert monitor.report.steps == 40
print(*[tree for tree in ("lightning.pytorch", "pytorch_lightning") if tree in sys.modules])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMESPACES)
def test_a_single_monitor_need_not_be_in_a_list_and_does_not_import_the_other_namespace(name):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(name=name)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    loaded = done.stdout.splitlines()[-1].split()
    assert name in loaded
    if name == "lightning.pytorch":
        assert loaded == ["lightning.pytorch"]
