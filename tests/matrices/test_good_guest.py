"""A monitor writes only files that the user asks for, and leaves the process unchanged, even if the run fails."""

from __future__ import annotations

import io
import logging
import os
import random
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from torch import nn

from lightning_landscape import LandscapeMonitor
from tests.matrices.runs import Run, Setting
from tests.matrices.watchers import WATCHERS, pairs
from tests.zoo.plain import Convolutional
from tests.zoo.training import fingerprint

HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]


class Fails(Convolutional):
    """Raises an error of the user's own between two checks."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 25:
            raise InterruptedError
        return super().training_step(batch, batch_idx)


class KeepOptimizers(Callback):
    """Keeps references to the optimizers after the run, as a user may do."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.optimizers = list(trainer.optimizers)


def process_state() -> dict[str, Any]:
    """Return the settings of the process that a run could change."""
    return {
        "filters": list(warnings.filters),
        "showwarning": (warnings.showwarning, warnings.formatwarning),
        "handlers": {name: list(logging.getLogger(name).handlers) for name in ("", "lightning_landscape")},
        "level": logging.getLogger("lightning_landscape").level,
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "dtype": torch.get_default_dtype(),
        "threads of torch": torch.get_num_threads(),
        "deterministic": (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic),
        "benchmark": torch.backends.cudnn.benchmark,
        "precision": (torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu")),
        "attention": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()),
        "numpy": np.geterr(),
        "directory": os.getcwd(),
        "environment": dict(os.environ),
    }  # fmt: skip


def handles() -> set[str]:
    """Return the targets of all open file descriptors, including sockets and pipes of the test runner."""
    folder = Path("/proc/self/fd")
    targets = set()
    for handle in folder.iterdir() if folder.is_dir() else ():
        try:
            targets.add(os.readlink(handle))
        except OSError:  # the descriptor of the listing itself, which is closed by now
            continue
    return targets


def threads() -> set[threading.Thread]:
    """Return the running threads, after waiting for cancelled timers, which end as soon as they wake."""
    running = set(threading.enumerate())
    for timer in {thread for thread in running if isinstance(thread, threading.Timer) and thread.finished.is_set()}:
        timer.join()
        running.remove(timer)
    return running


def figures() -> list[int]:
    import matplotlib.pyplot as plt

    return plt.get_fignums()


def train(watcher: str, folder: Path, module: Any, **settings: Any) -> tuple[Run, KeepOptimizers]:
    seed_everything(7, verbose=False)
    callback = KeepOptimizers()
    run = Run(Setting(module), WATCHERS[watcher].make, folder)
    run.begin(callback, **settings)
    try:
        run.fit()
    except InterruptedError:
        assert module is Fails
    return run, callback


ENDINGS = {"ends": Convolutional, "fails": Fails}


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(("ending", "watcher"), pairs(ENDINGS, {"fails"}))
def test_a_run_that_ends_or_fails_does_not_change_the_state_of_the_process(ending, watcher, tmp_path):
    train(watcher, tmp_path, ENDINGS[ending])  # a first run, so that everything is loaded that is loaded only once
    before, threads_before, open_before = process_state(), threads(), handles()
    train(watcher, tmp_path, ENDINGS[ending])
    after = process_state()
    assert {name for name in before if before[name] != after[name]} == set()
    assert threads() <= threads_before
    assert handles() <= open_before
    assert figures() == []


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(("ending", "watcher"), pairs(ENDINGS, {"fails"}))
def test_a_run_that_ends_or_fails_leaves_no_hook_and_no_flag_on_module_and_optimizer(ending, watcher, tmp_path):
    run, kept = train(watcher, tmp_path, ENDINGS[ending])
    for module in run.module.modules():
        assert {name: dict(vars(module)[name]) for name in HOOKS if vars(module).get(name)} == {}
        assert not {"log", "log_dict", "print"} & vars(module).keys()
    for parameter in run.module.parameters():
        assert parameter.requires_grad
        assert not parameter._backward_hooks
        assert not getattr(parameter, "_post_accumulate_grad_hooks", None)
    for optimizer in kept.optimizers:
        assert not optimizer._optimizer_step_post_hooks
        assert not optimizer._optimizer_step_pre_hooks
        assert not [name for name in optimizer.param_groups[0] if "landscape" in name]


@pytest.mark.parametrize(("ending", "watcher"), pairs(ENDINGS, {"fails"}))
def test_without_logger_and_dirpath_no_file_is_written(ending, watcher, tmp_path, monkeypatch):
    here, root = tmp_path / "here", tmp_path / "root"
    here.mkdir()
    root.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("TMPDIR", str(here))
    train(watcher, root, ENDINGS[ending], logger=False)
    assert list(tmp_path.rglob("*")) == [here, root] or set(tmp_path.rglob("*")) == {here, root}


def test_these_tests_notice_a_callback_that_changes_the_process(tmp_path):
    class Careless(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            warnings.simplefilter("ignore", BytesWarning)
            torch.set_default_dtype(torch.float64)
            self.file = (tmp_path / "left").open("w")
            self.thread = threading.Timer(60, print)
            self.thread.start()

    before, threads_before, open_before = process_state(), threads(), handles()
    careless = Careless()
    careless.on_train_start(None, None)
    try:
        after = process_state()
        assert {name for name in before if before[name] != after[name]} == {"filters", "dtype"}
        assert not threads() <= threads_before
        assert not handles() <= open_before
    finally:
        torch.set_default_dtype(torch.float32)
        warnings.filters.pop(0)
        careless.thread.cancel()
        careless.file.close()


def test_a_monitor_has_no_batches_after_the_run(tmp_path):
    run, _ = train("LandscapeMonitor", tmp_path, Convolutional, logger=False)
    monitor: LandscapeMonitor = run.monitor
    assert len(monitor._examination.probe_set) == 0
    state = io.BytesIO()
    torch.save(monitor.state_dict(), state)
    assert torch.load(io.BytesIO(state.getvalue()), weights_only=True)["run"]


def test_importing_the_library_changes_neither_random_number_generators_nor_logging():
    import subprocess
    import sys

    program = """
import logging, random, warnings
import torch, numpy as np, lightning.pytorch
before = (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), list(warnings.filters),
          list(logging.getLogger().handlers), torch.get_num_threads())
from lightning_landscape import LandscapeMonitor
LandscapeMonitor()
after = (random.getstate(), torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), list(warnings.filters),
         list(logging.getLogger().handlers), torch.get_num_threads())
assert before == after
assert all(isinstance(h, logging.NullHandler) for h in logging.getLogger("lightning_landscape").handlers)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_the_random_number_generators_of_the_process_are_as_without_a_monitor(tmp_path):
    def random_states(make_monitor: Any) -> Any:
        seed_everything(7, verbose=False)
        run = Run(Setting(Convolutional), make_monitor, tmp_path)
        run.begin()
        run.fit()
        return fingerprint(torch.get_rng_state()), random.getstate(), fingerprint(np.random.get_state())

    same = random_states(None) == random_states(WATCHERS["all probes"].make)
    assert same
