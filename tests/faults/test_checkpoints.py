"""F26-F31: anchors that are files with damage, of other models, with hostile content, or that are missing."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from lightning_landscape import LandscapeMonitor, LossInterpolationMonitor
from tests.faults.runs import Net, fit, fit_monitored, trace, trace_alone, warnings_of

ROOT = Path(__file__).parents[2]
MAKE = {
    "landscape": lambda *anchors: LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, anchors=anchors),
    "interpolation": lambda *anchors: LossInterpolationMonitor(
        every_n_steps=10, num_points=3, max_batches=2, anchors=anchors
    ),
}
every_monitor_with_lines = pytest.mark.parametrize("name", MAKE)


class Malicious:
    """Makes a directory when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (os.fspath(self.trace),)


@pytest.fixture
def good(tmp_path):
    run = fit(Net(), steps=5)
    path = tmp_path / "good.ckpt"
    run.save_checkpoint(path)
    return path


def change_weights(path, **weights):
    """Replace entries of the state dict in the checkpoint."""
    content = torch.load(path, weights_only=True)
    content["state_dict"] |= weights
    torch.save(content, path)


def flip_a_bit(path):
    """Flip one bit of a weight in the checkpoint."""
    data = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["state_dict"]["net.0.weight"]
    data[data.index(weights.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(data)


FAULTS = {
    "f26 empty": (lambda path: path.write_bytes(b""), "is empty"),
    "f26 truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged"),
    "f26 garbage": (lambda path: path.write_bytes(b"no checkpoint at all" * 99), "is damaged"),
    "f26 a directory": (lambda path: (path.unlink(), path.mkdir()), "is a directory"),
    "f27 a bare pickle": (lambda path: path.write_bytes(pickle.dumps(Malicious(path.with_name("ran")))), "damaged"),
    "f27 in an archive": (
        lambda path: torch.save({"state_dict": {}, "more": Malicious(path.with_name("ran"))}, path),
        "contains other objects than tensors and builtins",
    ),
    "f28 a flipped bit": (flip_a_bit, "is damaged: the checksum of"),
    "f29 another shape": (
        lambda path: change_weights(path, **{"net.0.weight": torch.ones(8, 5)}),
        "(8, 5) in the file",
    ),
    "f29 whole numbers": (
        lambda path: change_weights(path, **{"net.0.weight": torch.ones(8, 4, dtype=torch.int8)}),
        "(8, 4) int8 in the file",
    ),
    "f29 complex": (
        lambda path: change_weights(path, **{"net.0.weight": torch.ones(8, 4, dtype=torch.complex64)}),
        "(8, 4) complex in the file",
    ),
    "f29 sparse": (
        lambda path: change_weights(path, **{"net.0.weight": torch.ones(8, 4).to_sparse()}),
        "(8, 4) torch.sparse_coo in the file",
    ),
    "f29 another model": (
        lambda path: torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, path),
        "has no net.0.weight, net.0.bias, net.1.weight (6 of 6 parameters are missing)",
    ),
    "f29 no state dict": (lambda path: torch.save([1, 2], path), "contains a list"),
    "f31 gone": (lambda path: path.unlink(), "does not exist"),
}


@every_monitor_with_lines
@pytest.mark.parametrize("fault", FAULTS)
def test_f26_f27_f28_f29_f31_a_bad_file_is_skipped_with_a_reason_without_running_code_and_other_lines_are_measured(
    name, fault, good
):
    damage, reason = FAULTS[fault]
    damage(good)
    monitor = MAKE[name]("initial", str(good))
    messages = fit_monitored(monitor)
    assert len(messages) == 1
    assert "good.ckpt is skipped: " in messages[0]
    assert reason in messages[0]
    assert list(monitor._state.readings.lines()) == ["initial"]
    assert reason in monitor.report
    assert not good.with_name("ran").exists()
    assert not monitor._guard.failures


@every_monitor_with_lines
def test_f29_a_checkpoint_of_lower_precision_is_used_as_an_anchor(name, good):
    weights = torch.load(good, weights_only=True)["state_dict"]
    change_weights(good, **{key: value.bfloat16() for key, value in weights.items() if value.is_floating_point()})
    monitor = MAKE[name](str(good))
    assert fit_monitored(monitor) == []
    assert len(monitor._state.readings.lines()[str(good)]) == 4


@every_monitor_with_lines
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_f30_a_checkpoint_with_weights_that_are_not_finite_gives_a_curve_with_gaps_that_is_drawn_and_saved(
    name, bad, good, tmp_path
):
    change_weights(good, **{"net.4.bias": torch.tensor([0.0, bad, 0.0])})
    monitor, logger = MAKE[name](str(good)), TensorBoardLogger(tmp_path, name="", version="run")
    assert fit_monitored(MAKE[name](str(good))) == []
    assert warnings_of(lambda: fit(Net(), monitor, logger=logger)) == []
    assert monitor._reporter.failures == [0]
    assert not monitor._guard.failures
    (line, *_) = (line for _, line in monitor._state.readings.lines()[str(good)])
    assert not torch.tensor(line.losses[0]).isfinite()
    assert torch.tensor(line.losses[2]).isfinite()
    document = json.loads(json.dumps(monitor.report.document, allow_nan=False))
    (curves,) = (value for value in document["lines"].values() if isinstance(value, list))
    assert curves[0]["losses"][0] is None


@every_monitor_with_lines
def test_f31_a_file_that_is_deleted_and_written_again_is_read_while_it_exists(name, good):
    """`ModelCheckpoint(save_top_k=...)` deletes and rewrites files in this way."""
    backup = good.with_name("backup.ckpt")
    shutil.copy(good, backup)

    class Rotates(Net):
        def on_train_batch_start(self, batch, batch_idx):
            if self.global_step == 12:
                good.unlink()
            if self.global_step == 25:
                shutil.copy(backup, good)

    monitor, runs = MAKE[name](str(good)), []
    messages = warnings_of(lambda: runs.append(fit(Rotates(), monitor)))
    assert trace(runs[0])["weights"] == trace_alone()["weights"]
    assert ["does not exist" in text for text in messages] == [True]
    assert [step for step, _ in monitor._state.readings.lines()[str(good)]] == [9, 29, 39]


OVERWRITTEN = """
import os, sys, torch
from tests.faults.runs import *
path = sys.argv[1]
def overwrites(surface):
    if path not in surface.anchors:
        return
    os.truncate(path, 0)  # as `cp another.ckpt last.ckpt` does while a probe reads last.ckpt
    assert surface.loss(dict(surface.anchors[path])) > 0
monitor = LandscapeMonitor(anchors=[path], max_batches=2)
monitor._examination._scheduled, monitor._examination.schedule.every_n_steps = (overwrites,), 10
fit(Net(), monitor)
print("ended after", monitor._state.steps, monitor._guard.failures)
"""


@pytest.mark.slow
def test_f31_a_file_that_is_overwritten_in_place_while_a_probe_reads_it_does_not_kill_the_process(good, tmp_path):
    weights = torch.load(good, weights_only=True)
    weights["state_dict"] |= {"padding": torch.ones(2**18)}
    torch.save(weights, good)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", OVERWRITTEN, str(good)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert "ended after 40 {}" in done.stdout
