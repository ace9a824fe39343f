"""F26-F31: files that are no checkpoints, or not the ones they were taken for, as anchors of a run."""

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
from tests.faults.runs import Net, alone, fit, said_by, trace, watched

ROOT = Path(__file__).parents[2]
LINES = {
    "landscape": lambda *anchors: LandscapeMonitor(every_n_steps=10, num_points=3, max_batches=2, anchors=anchors),
    "interpolation": lambda *anchors: LossInterpolationMonitor(
        every_n_steps=10, num_points=3, max_batches=2, anchors=anchors
    ),
}
every_line = pytest.mark.parametrize("name", LINES)


class Malicious:
    """Leaves a directory behind when it is unpickled."""

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


def changed(path, **weights):
    """The checkpoint with other entries in its state dict."""
    content = torch.load(path, weights_only=True)
    content["state_dict"] |= weights
    torch.save(content, path)


def flipped(path):
    data = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["state_dict"]["net.0.weight"]
    data[data.index(weights.numpy().tobytes()) + 5] ^= 1
    path.write_bytes(data)


FAULTS = {
    "f26 empty": (lambda path: path.write_bytes(b""), "is empty"),
    "f26 truncated": (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged"),
    "f26 garbage": (lambda path: path.write_bytes(b"nothing of the kind" * 99), "is damaged"),
    "f26 a directory": (lambda path: (path.unlink(), path.mkdir()), "is a directory"),
    "f27 a bare pickle": (lambda path: path.write_bytes(pickle.dumps(Malicious(path.with_name("ran")))), "damaged"),
    "f27 in an archive": (
        lambda path: torch.save({"state_dict": {}, "more": Malicious(path.with_name("ran"))}, path),
        "contains other objects than tensors and builtins",
    ),
    "f28 a flipped bit": (flipped, "is damaged: the checksum of"),
    "f29 another shape": (lambda path: changed(path, **{"net.0.weight": torch.ones(8, 5)}), "(8, 5) in the file"),
    "f29 whole numbers": (
        lambda path: changed(path, **{"net.0.weight": torch.ones(8, 4, dtype=torch.int8)}),
        "(8, 4) int8 in the file",
    ),
    "f29 complex": (
        lambda path: changed(path, **{"net.0.weight": torch.ones(8, 4, dtype=torch.complex64)}),
        "(8, 4) complex in the file",
    ),
    "f29 sparse": (
        lambda path: changed(path, **{"net.0.weight": torch.ones(8, 4).to_sparse()}),
        "(8, 4) torch.sparse_coo in the file",
    ),
    "f29 another model": (
        lambda path: torch.save({"state_dict": torch.nn.Linear(2, 2).state_dict()}, path),
        "has no net.0.weight, net.0.bias, net.1.weight (6 of 6 parameters are missing)",
    ),
    "f29 no state dict": (lambda path: torch.save([1, 2], path), "contains a list"),
    "f31 gone": (lambda path: path.unlink(), "does not exist"),
}


@every_line
@pytest.mark.parametrize("fault", FAULTS)
def test_f26_f27_f28_f29_f31_a_bad_file_is_skipped_with_its_reason_nothing_runs_and_other_lines_are_drawn(
    name, fault, good
):
    spoil, reason = FAULTS[fault]
    spoil(good)
    monitor = LINES[name]("initial", str(good))
    said = watched(monitor)
    assert len(said) == 1
    assert "good.ckpt is skipped: " in said[0]
    assert reason in said[0]
    assert list(monitor._state.readings.lines()) == ["initial"]
    assert reason in monitor.report
    assert not good.with_name("ran").exists()
    assert not monitor._guard.failures


@every_line
def test_f29_a_checkpoint_of_lower_precision_is_the_same_point_and_is_used(name, good):
    weights = torch.load(good, weights_only=True)["state_dict"]
    changed(good, **{key: value.bfloat16() for key, value in weights.items() if value.is_floating_point()})
    monitor = LINES[name](str(good))
    assert watched(monitor) == []
    assert len(monitor._state.readings.lines()[str(good)]) == 4


@every_line
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_f30_a_checkpoint_that_is_not_finite_makes_a_curve_with_gaps_that_can_be_drawn_and_saved(
    name, bad, good, tmp_path
):
    changed(good, **{"net.4.bias": torch.tensor([0.0, bad, 0.0])})
    monitor, logger = LINES[name](str(good)), TensorBoardLogger(tmp_path, name="", version="run")
    assert watched(LINES[name](str(good))) == []
    assert said_by(lambda: fit(Net(), monitor, logger=logger)) == []
    assert monitor._reporter.failures == [0]
    assert not monitor._guard.failures
    (line, *_) = (line for _, line in monitor._state.readings.lines()[str(good)])
    assert not torch.tensor(line.losses[0]).isfinite()
    assert torch.tensor(line.losses[2]).isfinite()
    document = json.loads(json.dumps(monitor.report.document, allow_nan=False))
    (curves,) = (part for part in document["lines"].values() if isinstance(part, list))
    assert curves[0]["losses"][0] is None


@every_line
def test_f31_a_file_that_comes_and_goes_with_save_top_k_is_read_while_it_is_there(name, good):
    kept = good.with_name("kept.ckpt")
    shutil.copy(good, kept)

    class Rotates(Net):
        def on_train_batch_start(self, batch, batch_idx):
            if self.global_step == 12:
                good.unlink()
            if self.global_step == 25:
                shutil.copy(kept, good)

    monitor = LINES[name](str(good))
    said = said_by(lambda: runs.append(fit(Rotates(), monitor)), runs := [])
    assert trace(runs[0])["weights"] == alone()["weights"]
    assert ["does not exist" in text for text in said] == [True]
    assert [step for step, _ in monitor._state.readings.lines()[str(good)]] == [9, 29, 39]


OVERWRITTEN = """
import os, sys, torch
from tests.faults.runs import *
path = sys.argv[1]
def overwrites(surface):
    if path not in surface.anchors:
        return
    os.truncate(path, 0)  # cp another.ckpt last.ckpt, in the midst of an examination
    assert surface.loss(dict(surface.anchors[path])) > 0
monitor = LandscapeMonitor(anchors=[path], max_batches=2)
monitor._examination._scheduled, monitor._examination.schedule.every_n_steps = (overwrites,), 10
fit(Net(), monitor)
print("ended after", monitor._state.steps, monitor._guard.failures)
"""


@pytest.mark.slow
def test_f31_a_file_that_is_overwritten_in_place_while_it_is_looked_at_does_not_kill_the_process(good, tmp_path):
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
