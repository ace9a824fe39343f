"""F19-F22: disks that are full, read-only or remote, and runs that are killed while they write."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import Logger

from lightning_landscape import LandscapeMonitor, read_events
from tests.faults.runs import NO_LOGGER, Flat, Net, Stuck, fit, trace, warnings_of

ROOT = Path(__file__).parents[2]


@contextmanager
def mounted(folder, *options):
    """Mount a small file system at the folder; skip the test if this user may not mount one."""
    folder.mkdir(exist_ok=True)
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root on Linux")
    done = subprocess.run([mount, "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount"), str(folder)], check=True)


class Rows(Logger):
    """A logger that has its metrics in memory; the monitor writes figures and reports into its `save_dir`."""

    name, version = "rows", 0

    def __init__(self, folder):
        super().__init__()
        self.url, self.rows = str(folder), []

    @property
    def save_dir(self):
        return self.url

    def log_hyperparams(self, *args, **kwargs): ...

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


def landscape(**settings):
    return LandscapeMonitor(
        every_n_steps=10, num_points=3, max_batches=2, norm_every_n_steps=1, effort="standard", **settings
    )


def complaint_about_files(caplog, folder, logger):
    """Train where files cannot be written, and return the one message about files.

    Training must be unchanged, and the alarm, the scalars and the report must be complete.
    """
    without, monitor = trace(fit(Flat(), steps=60)), landscape(dirpath=str(folder))
    with caplog.at_level(logging.WARNING, "lightning_landscape"):
        run = None

        def work():
            nonlocal run
            run = fit(Flat(), monitor, steps=60, logger=[logger])

        messages = warnings_of(work)
    assert trace(run)["weights"] == without["weights"]
    assert len(messages) == 1  # the alarm
    assert monitor.verdict.stuck
    assert [step for step, metrics in logger.rows if "landscape/grad_norm" in metrics][-1] == 59
    about_files = [r.getMessage() for r in caplog.records if "Writing to" in r.getMessage()]
    assert len(about_files) == 1
    assert "landscape failed 3 times" in monitor.report
    return about_files[0]


def test_f19_on_a_full_disk_writing_files_ends_with_one_message_and_the_run_is_unchanged(tmp_path, caplog):
    with mounted(tmp_path / "full", "-o", "size=16k") as full:
        (full / "filler").write_bytes(b"\0" * 12288)
        with pytest.raises(OSError, match="No space left"):
            (full / "more").write_bytes(b"\0" * 16384)
        (full / "more").unlink()
        message = complaint_about_files(caplog, full / "landscape", Rows(full))
        assert "No space left on device" in message
        assert not [path for path in full.rglob("*") if path.suffix == ".part"]


@contextmanager
def no_file_larger_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_f19_under_a_limit_on_file_size_smaller_files_are_written_and_no_partial_file_is_left(tmp_path, caplog):
    without, monitor = trace(fit(Flat(), steps=60)), landscape(dirpath=str(tmp_path / "landscape"))
    logger = Rows(tmp_path)
    with no_file_larger_than(2000), caplog.at_level(logging.WARNING, "lightning_landscape"):
        warnings_of(lambda: fit(Flat(), monitor, steps=60, logger=[logger]))
    assert trace_weights(fit(Flat(), steps=60)) == without["weights"]
    assert monitor.verdict.stuck
    assert "File too large" in caplog.text
    sizes = {path.name: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert not [name for name in sizes if name.endswith((".part", ".html", ".png"))]
    assert sizes["events.jsonl"] <= 2000
    assert read_events(tmp_path / "landscape")[0]["event"] == "start"


def trace_weights(run):
    return trace(run)["weights"]


def test_f20_in_a_read_only_directory_writing_files_ends_with_one_message_and_the_run_is_unchanged(tmp_path, caplog):
    with mounted(tmp_path / "fixed", "-o", "ro") as fixed:
        assert "Read-only file system" in complaint_about_files(caplog, fixed / "landscape", Rows(fixed))


def test_f20_if_the_directory_is_a_file_writing_files_ends_with_one_message_and_the_run_is_unchanged(tmp_path, caplog):
    (taken := tmp_path / "taken").write_text("no directory")
    assert "Not a directory" in complaint_about_files(caplog, taken / "landscape", Rows(taken))


def test_f20_a_directory_that_is_deleted_during_the_run_is_created_again(tmp_path):
    class Vanishes(Flat):
        def on_train_batch_start(self, batch, batch_idx):
            if self.global_step == 30:
                shutil.rmtree(tmp_path / "landscape")

    monitor = landscape(dirpath=str(tmp_path / "landscape"))
    warnings_of(lambda: fit(Vanishes(), monitor, steps=60))
    assert read_events(tmp_path / "landscape")[-1]["event"] == "end"
    assert "writing to" not in monitor.report


@pytest.mark.parametrize("url", ["s3://bucket/run", "memory://run"])
def test_f20_for_a_logger_with_a_remote_save_dir_no_local_file_is_written(tmp_path, monkeypatch, url):
    monkeypatch.chdir(tmp_path)
    logger = Rows(tmp_path)
    logger.url = url
    monitor = landscape()
    warnings_of(lambda: fit(Flat(), monitor, steps=60, logger=[logger], default_root_dir=tmp_path))
    assert monitor._reporter.failures == [0]
    assert list(tmp_path.iterdir()) == []


MODULE = "tests.faults.killed"
mid_epoch = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


def kill_run(moment, folder):
    """Run `tests.faults.killed` until it kills itself."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", MODULE, moment, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr[-2000:]


def resume(folder, path):
    """Train from the checkpoint, or from the start if `path` is None, and return the trace and the monitor."""
    monitor = landscape(dirpath=str(folder / "landscape"))
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=15, save_top_k=-1)
    runs = []
    warnings_of(lambda: runs.append(fit(Stuck(), monitor, saves, steps=60, ckpt_path=path)))
    return trace(runs[0]), monitor


@mid_epoch
@pytest.mark.slow
def test_f21_a_run_that_is_killed_during_a_probe_and_resumed_ends_like_one_that_was_not_killed(tmp_path):
    kill_run("probe", tmp_path / "killed")
    checkpoints = sorted(path.name for path in (tmp_path / "killed").glob("*.ckpt"))
    assert checkpoints == ["step=15.ckpt", "step=30.ckpt"]
    path = tmp_path / "killed/landscape/events.jsonl"
    with path.open("a", encoding="utf-8") as file:  # the beginning of a line, as after a kill during a write
        file.write('{"v": 1, "event": "rea')
    partial_file = path.parent / "landscape_report.html.part"
    partial_file.write_text("<html>half of a page")

    expected, straight = resume(tmp_path / "straight", None)
    resumed, monitor = resume(tmp_path / "killed", tmp_path / "killed" / checkpoints[-1])
    assert resumed["weights"] == expected["weights"]
    assert resumed["optimizers"] == expected["optimizers"]
    assert monitor.verdicts == straight.verdicts
    assert monitor._state.state_dict() == straight._state.state_dict()
    events = read_events(path)
    assert events.skipped == 1
    assert events[-1]["event"] == "end"
    assert not partial_file.exists()


@mid_epoch
@pytest.mark.slow
def test_f22_a_run_that_is_killed_while_it_writes_a_checkpoint_can_be_resumed_from_the_one_before(tmp_path):
    kill_run("checkpoint", tmp_path)
    checkpoints = sorted(path.name for path in tmp_path.glob("*.ckpt"))
    assert checkpoints == ["step=15.ckpt"]
    state = torch.load(tmp_path / checkpoints[0], weights_only=True)
    assert any(key.startswith("LandscapeMonitor") for key in state["callbacks"])
    _, monitor = resume(tmp_path, tmp_path / checkpoints[0])
    assert monitor._state.steps == 60


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
def test_f22_a_partial_file_of_a_killed_run_is_replaced(tmp_path):
    folder = tmp_path / "run" / "landscape"
    folder.mkdir(parents=True)
    (folder / "landscape_report.html.part").write_text("torn")
    warnings_of(lambda: fit(Net(), landscape(), logger=CSVLogger(tmp_path, name="", version="run")))
    page = (folder / "landscape_report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert not list(folder.glob("*.part"))


def test_f22_without_logger_and_dirpath_no_file_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    warnings_of(lambda: fit(Flat(), landscape(), steps=60, logger=NO_LOGGER, default_root_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
