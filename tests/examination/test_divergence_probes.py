"""The search for what made a loss infinite or NaN: the same after a resume and on every rank, and without a trace."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from lightning_landscape import Cause, LandscapeMonitor
from lightning_landscape.evidence import BeforeAndAfter, NotFinite
from tests.faults.runs import Net, Stuck, bits, fit, trace, warnings_of
from tests.ranks import TIMEOUT_SECONDS
from tests.saving import SaveAt

ROOT = Path(__file__).parents[2]


class Fails(Stuck):
    """From step 22 on, the loss contains the root of 0, so that the weights are NaN after that step."""

    def loss(self, batch):
        loss = super().loss(batch)
        return loss + (0 * loss).sqrt() if self.global_step >= 22 else loss


class Recovers(Net):
    """Losses are NaN for 12 steps, in which the gradient is set to 0, and finite afterwards."""

    def loss(self, batch):
        return super().loss(batch) * (math.nan if 22 <= self.global_step < 34 else 1.0)

    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad.nan_to_num_(nan=0.0)


class ChecksItsInputs(Fails):
    """The step raises an error at weights that are NaN."""

    strict = False

    def loss(self, batch):
        if self.strict and not all(weight.isfinite().all() for weight in self.parameters()):
            raise RuntimeError("the weights are not finite")
        return super().loss(batch)


class StrictWhenEvaluated(ChecksItsInputs):
    def on_train_batch_start(self, batch, batch_idx):
        self.strict = False

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.strict = True


def run(module, *callbacks, **settings):
    """Fit the module with a monitor, and return the monitor and the trace of the run."""
    monitor, runs = LandscapeMonitor(max_batches=4), []
    warnings_of(lambda: runs.append(fit(module, monitor, *callbacks, steps=60, **settings)))
    assert not monitor._guard.failures
    return monitor, trace(runs[0])


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
@pytest.mark.parametrize("stop", [9, 21, 23, 29, 31, 35, 39, 41])
def test_a_resumed_run_has_the_verdict_of_a_straight_run(stop, tmp_path):
    path = tmp_path / "stop.ckpt"
    straight, _ = run(Fails(), SaveAt(stop, path))
    resumed, _ = run(Fails(), ckpt_path=path)
    assert [verdict.cause for verdict in straight.verdicts] == [Cause.DIVERGED]
    assert [v.to_dict()["finding"] for v in resumed.verdicts] == [v.to_dict()["finding"] for v in straight.verdicts]
    assert resumed.verdicts == straight.verdicts
    assert json.dumps(resumed._state.state_dict(), default=str) == json.dumps(straight._state.state_dict(), default=str)
    assert bits(resumed._examination.state_dict()["snapshots"]) == bits(straight._examination.state_dict()["snapshots"])


def test_the_verdict_waits_for_one_check_and_has_the_finding():
    monitor, _ = run(Fails())
    (verdict,) = monitor.verdicts
    assert (verdict.since, verdict.step) == (23, 39)  # found at the check after step 29
    assert verdict.finding.name == "not-finite"
    assert verdict.evidence.get(NotFinite).operation == "sqrt"


def test_a_checkpoint_in_every_step_does_not_prevent_the_finding(tmp_path):
    class SaveAlways(SaveAt):
        def on_train_batch_end(self, trainer, *args):
            trainer.save_checkpoint(self.path)

    monitor = LandscapeMonitor(max_batches=4)
    warnings_of(lambda: fit(Fails(), SaveAlways(0, tmp_path / "last.ckpt"), monitor, steps=60))
    assert [verdict.cause for verdict in monitor.verdicts] == [Cause.DIVERGED]
    assert monitor.verdict.step == 39


def test_the_search_leaves_no_trace_in_the_run():
    fits = []
    warnings_of(lambda: fits.append(fit(Fails(), steps=60)))
    assert bits(run(Fails())[1]["weights"]) == bits(trace(fits[0])["weights"])
    assert bits(run(Fails())[1]["optimizers"]) == bits(trace(fits[0])["optimizers"])


def test_a_loss_that_is_finite_again_at_the_next_check_is_no_alarm():
    monitor, _ = run(Recovers())
    assert monitor._state.steps == 60
    assert monitor.verdicts == ()


def test_a_step_that_fails_at_weights_that_are_not_finite_is_evaluated_at_finite_ones():
    monitor, _ = run(StrictWhenEvaluated())
    assert not monitor._examination.skipped
    assert monitor.verdict.finding.name == "not-finite"


def test_an_early_stop_on_nan_keeps_the_verdict(tmp_path):
    class Logs(Fails):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            self.log("mean_loss", loss, on_step=False, on_epoch=True)
            return loss

    stop = EarlyStopping("mean_loss", check_finite=True, check_on_train_epoch_end=True, patience=99)
    monitor = LandscapeMonitor(max_batches=4)
    warnings_of(lambda: fit(Logs(), monitor, stop, steps=60))
    assert monitor._state.steps == 32
    assert [verdict.cause for verdict in monitor.verdicts] == [Cause.DIVERGED]


class LearnsFromItself(L.LightningModule):
    """A value that is to exceed its own frozen copy by a growing amount: a healthy run whose loss grows."""

    follows = True

    def __init__(self):
        super().__init__()
        self.value, self.copy = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1).requires_grad_(requires_grad=False)

    def on_train_batch_start(self, batch, batch_idx):
        if self.global_step % 10 == 0:
            self.copy.load_state_dict(self.value.state_dict())

    def training_step(self, batch, batch_idx):
        target = self.copy(batch[0]) + 1.02**self.global_step if self.follows else batch[1]
        return ((self.value(batch[0]) - target) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Explodes(LearnsFromItself):
    """The same network with fixed targets, and with steps that are a little too large."""

    follows = False

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def of_growing_loss(module, **settings):
    torch.manual_seed(0)
    inputs = torch.randn(400, 8, 1, generator=torch.Generator().manual_seed(0))
    batches = [(x, 3 * x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))) for x in inputs]
    monitor = LandscapeMonitor(max_batches=4)
    trainer = L.Trainer(
        max_steps=400, callbacks=[monitor], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    warnings_of(lambda: trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=None), **settings))
    assert not monitor._guard.failures
    return monitor


def test_a_loss_that_grows_because_its_targets_grow_is_no_alarm():
    monitor = of_growing_loss(LearnsFromItself())
    assert monitor._state.progress.divergence.finite
    assert not any(verdict.stuck for verdict in monitor.verdicts)


def test_a_loss_that_grows_because_the_steps_are_too_large_is_an_alarm():
    monitor = of_growing_loss(Explodes())
    assert [verdict.cause for verdict in monitor.verdicts if verdict.stuck] == [Cause.DIVERGED]
    assert monitor.verdict.evidence.get(BeforeAndAfter).lost > 1000


def test_anomaly_detection_ends_the_run_with_its_own_error():
    monitor = LandscapeMonitor(max_batches=4)
    with pytest.raises(RuntimeError, match="returned nan values"):
        warnings_of(lambda: fit(Fails(), monitor, steps=60, detect_anomaly=True))
    assert monitor._state.steps == 22


@pytest.mark.distributed
def test_two_ranks_find_the_operation_that_failed_on_one_of_them(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.examination.diverging_ranks", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert first == [["diverged", "not-finite-batch", "batch[0]"]]
