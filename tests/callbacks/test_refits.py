"""Several fits with one monitor or its copies, as in a cross-validation: what is drawn, kept and said of each."""

from __future__ import annotations

import copy
import gc
import logging
import os
import pickle
import threading
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import Cause, LandscapeMonitor
from lightning_landscape.examination import fit_start
from lightning_landscape.examination.fit_start import FitStart
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.tracking.step_record import StepRecord
from lightning_landscape.trainer._compat import hooks_of_all_optimizers
from tests.clocks import ManualClock
from tests.faults.runs import MONITORS, Flat, Net, fit, trainer, warnings_of

pytestmark = pytest.mark.filterwarnings("ignore::lightning_landscape.errors.LandscapeWarning")


def pictures(folder: Path) -> int:
    return len(list(folder.rglob("*.png")))


def light() -> LandscapeMonitor:
    return LandscapeMonitor(effort="light")


@pytest.mark.parametrize("use", ["the same monitor", "a copy for each fit"])
def test_pictures_of_healthy_runs_are_drawn_for_the_first_fit_and_later_only_if_asked_for(use, tmp_path):
    original = light()
    drawn = []
    for i in range(3):
        monitor = original if use == "the same monitor" else copy.deepcopy(original)
        fit(Net(), monitor, logger=CSVLogger(tmp_path, version=i))
        drawn.append(pictures(tmp_path / "lightning_logs" / f"version_{i}"))
    assert drawn[0] > 0
    assert drawn[1:] == [0, 0]
    assert (tmp_path / "lightning_logs" / "version_2" / "landscape" / "landscape_report.html").exists()
    assert set(monitor.figures()) == {"timeline", "grad_norms"}


def test_each_new_monitor_draws_its_first_fit(tmp_path):
    for i in range(2):
        fit(Net(), light(), logger=CSVLogger(tmp_path, version=i))
        assert pictures(tmp_path / "lightning_logs" / f"version_{i}") > 0


def test_a_first_fit_without_a_logger_does_not_count_as_drawn(tmp_path):
    monitor = light()
    fit(Net(), monitor)
    fit(Net(), monitor, logger=CSVLogger(tmp_path))
    assert pictures(tmp_path) > 0


def test_a_later_fit_with_an_alarm_is_drawn(tmp_path):
    monitor = LandscapeMonitor(probes=())
    fit(Net(), monitor, logger=CSVLogger(tmp_path, version=0))
    fit(Flat(), monitor, steps=120, logger=CSVLogger(tmp_path, version=1))
    assert any(verdict.stuck for verdict in monitor.verdicts)
    assert pictures(tmp_path / "lightning_logs" / "version_1") > 0


def test_the_time_that_watching_took_includes_the_pictures_at_the_end(monkeypatch, tmp_path):
    monitor = light()
    monitor.clock = ManualClock()
    monkeypatch.setattr(Reporter, "pictures", lambda *args, **kwargs: monitor.clock.move(7.0))
    fit(Net(), monitor, logger=CSVLogger(tmp_path))
    assert "watching and diagnosing took 7.0 s" in monitor.report


def held() -> dict[str, Any]:
    """Return what fits could leave in the process."""
    gc.collect()
    folder = Path("/proc/self/fd")
    return {
        "descriptors": len(os.listdir(folder)) if folder.is_dir() else 0,
        "threads": threading.active_count(),
        "handlers": [len(logging.getLogger(name).handlers) for name in ("", "lightning_landscape", "py.warnings")],
        "filters": len(warnings.filters),
        "hooks of optimizers": [len(hooks) for hooks in hooks_of_all_optimizers()],
        "states": sum(type(kept) is RunState for kept in gc.get_objects()),
        "tensors": sum(type(kept) in (Tensor, nn.Parameter) for kept in gc.get_objects()),
        "modules": len(fit_start._latest),
    }


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_twenty_folds_with_one_monitor_leave_nothing_behind(tmp_path):
    monitor = MONITORS["landscape"]()
    kept, sizes = [], []
    for i in range(20):
        fit(Net(), monitor, steps=20 + i % 17, logger=CSVLogger(tmp_path))
        assert monitor.report.steps == 20 + i % 17
        if i in (2, 19):
            kept.append(held())
            sizes.append(len(pickle.dumps(monitor)))
    assert kept[0] == kept[1]
    assert sizes[1] < 2 * sizes[0]
    files = [len(list(folder.rglob("*"))) for folder in (tmp_path / "lightning_logs").iterdir()]
    assert max(files) - min(files) <= 2


class Compresses(L.LightningModule):
    """A linear autoencoder, whose loss soon reaches the lowest value that it can have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(20, 8), nn.Linear(8, 20))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.mse_loss(self.net(batch[0]), batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def noise() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(2048, 20, generator=generator)), 128, shuffle=True)


@pytest.mark.slow
@pytest.mark.parametrize("resumes", [False, True])
def test_a_fit_that_goes_on_from_a_minimum_is_no_alarm(resumes, tmp_path):
    module = Compresses()
    first = light()
    run = trainer(first, steps=400)
    run.fit(module, noise())
    if resumes:  # by a process that knows nothing of the first fit: the checkpoint has no state of a monitor
        run.callbacks.clear()
        run.save_checkpoint(tmp_path / "last.ckpt")
        module = Compresses()
    monitor = LandscapeMonitor(effort="standard")
    path = tmp_path / "last.ckpt" if resumes else None
    trainer(monitor, steps=1000 if resumes else 600).fit(module, noise(), ckpt_path=path)
    assert [verdict.cause for verdict in monitor.verdicts if verdict.stuck] == []
    assert {verdict.cause for verdict in monitor.verdicts} <= {Cause.SETTLED, Cause.UNDECIDED}
    assert monitor._state.continues


def test_the_start_of_an_earlier_fit_is_known_as_long_as_its_module_exists():
    module = nn.Linear(1, 1)
    first = FitStart.of(module, 0)
    assert (first.earlier, first.known) == (None, True)
    first.enter(2.3)
    first.enter(0.1)
    again = FitStart.of(module, 0)
    again.enter(0.1)
    assert again.earlier == 2.3
    assert FitStart.of(module, 500).known
    assert not FitStart.of(nn.Linear(1, 1), 500).known
    count = len(fit_start._latest)
    del module
    gc.collect()
    assert len(fit_start._latest) < count


@pytest.mark.parametrize(
    ("start", "losses", "continues"),
    [
        (FitStart(), 0.5, False),
        (FitStart(earlier=2.0), 0.5, True),
        (FitStart(earlier=2.0), 2.1, False),  # the weights were drawn anew, as for each fold
        (FitStart(known=False), 0.5, True),
    ],
)
def test_a_fit_continues_an_earlier_one_if_it_begins_clearly_lower_or_after_unknown_steps(start, losses, continues):
    state = RunState(1000, start=start)
    feed(state, losses)
    assert state.continues is continues
    resumed = RunState(1000)
    resumed.load_state_dict(state.state_dict())
    assert resumed.continues is continues


def feed(state: RunState, loss: float) -> None:
    for step in range(100):
        state.update(StepRecord(step, 0, loss + 1e-3 * (-1) ** step, learning_rate=0.1, stepped=True))


def test_a_monitor_that_no_longer_watches_says_nothing_of_the_next_fit():
    monitor = light()
    fit(Net(), monitor, steps=20)
    before = monitor.report
    fit(Net(), steps=30)
    assert monitor.report == before
    assert warnings_of(lambda: fit(Net(), monitor, steps=25)) == []
    assert monitor.report.steps == 25
