"""A good guest: nothing on the disk unasked, and nothing left behind in the process, however the run ends."""

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
    """The user's own error, between two looks."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.global_step == 25:
            raise InterruptedError
        return super().training_step(batch, batch_idx)


class Keeps(Callback):
    """The watched run's optimizers outlive it, as they do where a user holds on to them."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self.optimizers = list(trainer.optimizers)


def process() -> dict[str, Any]:
    """All that belongs to the process rather than to the run."""
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
    """Open files by what they lead to; sockets and pipes of the test runner included."""
    folder = Path("/proc/self/fd")
    found = set()
    for handle in folder.iterdir() if folder.is_dir() else ():
        try:
            found.add(os.readlink(handle))
        except OSError:  # the listing's own
            continue
    return found


def threads() -> set[threading.Thread]:
    """The threads that go on; a timer that was cancelled ends as soon as it wakes, and is waited for."""
    running = set(threading.enumerate())
    for timer in {thread for thread in running if isinstance(thread, threading.Timer) and thread.finished.is_set()}:
        timer.join()
        running.remove(timer)
    return running


def figures() -> list[int]:
    import matplotlib.pyplot as plt

    return plt.get_fignums()


def train(watcher: str, folder: Path, module: Any, **settings: Any) -> tuple[Run, Keeps]:
    seed_everything(7, verbose=False)
    keeps = Keeps()
    run = Run(Setting(module), WATCHERS[watcher].make, folder)
    run.begin(keeps, **settings)
    try:
        run.fit()
    except InterruptedError:
        assert module is Fails
    return run, keeps


ENDINGS = {"ends": Convolutional, "dies": Fails}


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(("ending", "watcher"), pairs(ENDINGS, {"dies"}))
def test_nothing_of_the_process_is_changed_by_a_run_that(ending, watcher, tmp_path):
    train(watcher, tmp_path, ENDINGS[ending])  # what is loaded once for a process is there by now
    before, threads_before, open_before = process(), threads(), handles()
    train(watcher, tmp_path, ENDINGS[ending])
    after = process()
    assert {name for name in before if before[name] != after[name]} == set()
    assert threads() <= threads_before
    assert handles() <= open_before
    assert figures() == []


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(("ending", "watcher"), pairs(ENDINGS, {"dies"}))
def test_no_hook_and_no_flag_is_left_on_module_or_optimizer_of_a_run_that(ending, watcher, tmp_path):
    run, keeps = train(watcher, tmp_path, ENDINGS[ending])
    for part in run.module.modules():
        assert {name: dict(vars(part)[name]) for name in HOOKS if vars(part).get(name)} == {}
        assert not {"log", "log_dict", "print"} & vars(part).keys()
    for parameter in run.module.parameters():
        assert parameter.requires_grad
        assert not parameter._backward_hooks
        assert not getattr(parameter, "_post_accumulate_grad_hooks", None)
    for optimizer in keeps.optimizers:
        assert not optimizer._optimizer_step_post_hooks
        assert not optimizer._optimizer_step_pre_hooks
        assert not [name for name in optimizer.param_groups[0] if "landscape" in name]


@pytest.mark.parametrize(("ending", "watcher"), pairs(ENDINGS, {"dies"}))
def test_without_logger_and_path_nothing_is_written_by_a_run_that(ending, watcher, tmp_path, monkeypatch):
    here, root = tmp_path / "here", tmp_path / "root"
    here.mkdir()
    root.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    monkeypatch.setenv("TMPDIR", str(here))
    train(watcher, root, ENDINGS[ending], logger=False)
    assert list(tmp_path.rglob("*")) == [here, root] or set(tmp_path.rglob("*")) == {here, root}


def test_the_comparison_notices_what_a_bad_guest_leaves(tmp_path):
    class BadGuest(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            warnings.simplefilter("ignore", BytesWarning)
            torch.set_default_dtype(torch.float64)
            self.file = (tmp_path / "left").open("w")
            self.thread = threading.Timer(60, print)
            self.thread.start()

    before, threads_before, open_before = process(), threads(), handles()
    guest = BadGuest()
    guest.on_train_start(None, None)
    try:
        after = process()
        assert {name for name in before if before[name] != after[name]} == {"filters", "dtype"}
        assert not threads() <= threads_before
        assert not handles() <= open_before
    finally:
        torch.set_default_dtype(torch.float32)
        warnings.filters.pop(0)
        guest.thread.cancel()
        guest.file.close()


def test_a_monitor_that_is_kept_after_the_run_keeps_no_batches(tmp_path):
    run, _ = train("LandscapeMonitor", tmp_path, Convolutional, logger=False)
    monitor: LandscapeMonitor = run.watching
    assert len(monitor._examination.probe_set) == 0
    state = io.BytesIO()
    torch.save(monitor.state_dict(), state)
    assert torch.load(io.BytesIO(state.getvalue()), weights_only=True)["seen"]


def test_importing_the_library_leaves_the_random_streams_and_the_loggers_alone():
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


def test_the_streams_of_the_process_stand_where_they_stood_without_a_monitor(tmp_path):
    def streams(watch: Any) -> Any:
        seed_everything(7, verbose=False)
        run = Run(Setting(Convolutional), watch, tmp_path)
        run.begin()
        run.fit()
        return fingerprint(torch.get_rng_state()), random.getstate(), fingerprint(np.random.get_state())

    same = streams(None) == streams(WATCHERS["whole examination"].make)
    assert same
