"""F19-F22: disks that are full, read-only or elsewhere, and runs that are killed while they write."""

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
from tests.faults.runs import NO_LOGGER, Flat, Net, Stuck, fit, said_by, trace

ROOT = Path(__file__).parents[2]


@contextmanager
def mounted(folder, *options):
    """A file system of its own in the folder, where this user may mount one."""
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
    """Numbers in memory; pictures and the rest become files in its directory."""

    name, version = "rows", 0

    def __init__(self, folder):
        super().__init__()
        self.place, self.rows = str(folder), []

    @property
    def save_dir(self):
        return self.place

    def log_hyperparams(self, *args, **kwargs): ...

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


def landscape(**settings):
    return LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, norm_every_n_steps=1, **settings)


def watched_on_a_bad_disk(caplog, folder, logger):
    """One complaint, no trace in the training, and everything that needs no disk is there."""
    without, monitor = trace(fit(Flat(), steps=60)), landscape(dirpath=str(folder))
    with caplog.at_level(logging.WARNING, "lightning_landscape"):
        run = None

        def work():
            nonlocal run
            run = fit(Flat(), monitor, steps=60, logger=[logger])

        said = said_by(work)
    assert trace(run)["weights"] == without["weights"]
    assert len(said) == 1  # the alarm
    assert monitor.verdict.stuck
    assert [step for step, metrics in logger.rows if "landscape/grad_norm" in metrics][-1] == 59
    about_files = [r.getMessage() for r in caplog.records if "Writing to" in r.getMessage()]
    assert len(about_files) == 1
    assert "landscape failed 3 times" in monitor.report
    return about_files[0]


def test_f19_a_disk_that_is_full_ends_the_files_with_one_complaint_and_nothing_else(tmp_path, caplog):
    with mounted(tmp_path / "full", "-o", "size=16k") as full:
        (full / "filler").write_bytes(b"\0" * 12288)
        with pytest.raises(OSError, match="No space left"):
            (full / "more").write_bytes(b"\0" * 16384)
        (full / "more").unlink()
        complaint = watched_on_a_bad_disk(caplog, full / "landscape", Rows(full))
        assert "No space left on device" in complaint
        assert not [path for path in full.rglob("*") if path.suffix == ".part"]


@contextmanager
def no_file_larger_than(size):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_f19_a_limit_on_the_size_of_files_leaves_what_fits_and_no_half_of_anything(tmp_path, caplog):
    without, monitor = trace(fit(Flat(), steps=60)), landscape(dirpath=str(tmp_path / "landscape"))
    logger = Rows(tmp_path)
    with no_file_larger_than(2000), caplog.at_level(logging.WARNING, "lightning_landscape"):
        said_by(lambda: fit(Flat(), monitor, steps=60, logger=[logger]))
    assert trace_weights(fit(Flat(), steps=60)) == without["weights"]
    assert monitor.verdict.stuck
    assert "File too large" in caplog.text
    sizes = {path.name: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    assert not [name for name in sizes if name.endswith((".part", ".html", ".png"))]
    assert sizes["events.jsonl"] <= 2000
    assert read_events(tmp_path / "landscape")[0]["event"] == "start"


def trace_weights(run):
    return trace(run)["weights"]


def test_f20_a_read_only_directory_ends_the_files_with_one_complaint_and_nothing_else(tmp_path, caplog):
    with mounted(tmp_path / "fixed", "-o", "ro") as fixed:
        assert "Read-only file system" in watched_on_a_bad_disk(caplog, fixed / "landscape", Rows(fixed))


def test_f20_a_file_where_the_directory_should_be_is_met_in_the_same_way(tmp_path, caplog):
    (taken := tmp_path / "taken").write_text("no directory")
    assert "Not a directory" in watched_on_a_bad_disk(caplog, taken / "landscape", Rows(taken))


def test_f20_a_directory_that_vanishes_in_mid_run_is_made_anew(tmp_path):
    class Vanishes(Flat):
        def on_train_batch_start(self, batch, batch_idx):
            if self.global_step == 30:
                shutil.rmtree(tmp_path / "landscape")

    monitor = landscape(dirpath=str(tmp_path / "landscape"))
    said_by(lambda: fit(Vanishes(), monitor, steps=60))
    assert read_events(tmp_path / "landscape")[-1]["event"] == "end"
    assert "writing to" not in monitor.report


@pytest.mark.parametrize("place", ["s3://bucket/run", "memory://run"])
def test_f20_a_logger_that_keeps_its_files_elsewhere_gets_none_here(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    logger = Rows(tmp_path)
    logger.place = place
    monitor = landscape()
    said_by(lambda: fit(Flat(), monitor, steps=60, logger=[logger], default_root_dir=tmp_path))
    assert monitor._reporter.failures == [0]
    assert list(tmp_path.iterdir()) == []


MODULE = "tests.faults.killed"
mid_epoch = pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")


def killed(moment, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", MODULE, moment, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr[-2000:]


def resumed(folder, path):
    monitor = landscape(dirpath=str(folder / "landscape"))
    saves = ModelCheckpoint(folder, "{step}", every_n_train_steps=15, save_top_k=-1)
    said_by(lambda: runs.append(fit(Stuck(), monitor, saves, steps=60, ckpt_path=path)), runs := [])
    return trace(runs[0]), monitor


@mid_epoch
@pytest.mark.slow
def test_f21_a_run_that_is_killed_in_mid_probe_and_resumed_ends_as_if_nothing_had_been(tmp_path):
    killed("probe", tmp_path / "killed")
    left = sorted(path.name for path in (tmp_path / "killed").glob("*.ckpt"))
    assert left == ["step=15.ckpt", "step=30.ckpt"]
    events = tmp_path / "killed/landscape/events.jsonl"
    with events.open("a", encoding="utf-8") as file:  # the line that it was about to write
        file.write('{"v": 1, "event": "rea')
    torn = events.parent / "landscape_report.html.part"
    torn.write_text("<html>half of a page")

    whole, straight = resumed(tmp_path / "straight", None)
    ended, monitor = resumed(tmp_path / "killed", tmp_path / "killed" / left[-1])
    assert ended["weights"] == whole["weights"]
    assert ended["optimizers"] == whole["optimizers"]
    assert monitor.verdicts == straight.verdicts
    assert monitor._state.state_dict() == straight._state.state_dict()
    read = read_events(events)
    assert read.skipped == 1
    assert read[-1]["event"] == "end"
    assert not torn.exists()


@mid_epoch
@pytest.mark.slow
def test_f22_a_run_that_is_killed_while_its_checkpoint_is_written_leaves_the_one_before(tmp_path):
    killed("checkpoint", tmp_path)
    left = sorted(path.name for path in tmp_path.glob("*.ckpt"))
    assert left == ["step=15.ckpt"]
    state = torch.load(tmp_path / left[0], weights_only=True)
    assert any(key.startswith("LandscapeMonitor") for key in state["callbacks"])
    _, monitor = resumed(tmp_path, tmp_path / left[0])
    assert monitor._state.steps == 60


@pytest.mark.filterwarnings("ignore:Experiment logs directory .* exists and is not empty")
def test_f22_what_a_killed_writer_left_of_a_file_is_replaced_and_never_read(tmp_path):
    folder = tmp_path / "run" / "landscape"
    folder.mkdir(parents=True)
    (folder / "landscape_report.html.part").write_text("torn")
    said_by(lambda: fit(Net(), landscape(), logger=CSVLogger(tmp_path, name="", version="run")))
    page = (folder / "landscape_report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert not list(folder.glob("*.part"))


def test_f22_with_no_logger_and_no_folder_there_is_nothing_to_tear(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said_by(lambda: fit(Flat(), landscape(), steps=60, logger=NO_LOGGER, default_root_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []
