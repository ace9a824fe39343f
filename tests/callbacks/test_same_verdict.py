"""The same run gets the same verdict to the letter, regardless of the speed of the machine and of its clock."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
import time

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from tests.clocks import JumpingClock
from tests.faults.runs import warnings_of

pytestmark = pytest.mark.slow
STEPS = 400
EPOCH = 32
"""batches of an epoch; runs are resumed only at its end, because inside an epoch the resumed run gets other batches"""
BUSY = "while True: pass"


class Run(L.LightningModule):
    """Trains `net`; `pause` is a number of seconds to sleep in each step."""

    def __init__(self, net, loss=F.cross_entropy, optimizer=torch.optim.Adam, lr=3e-3, pause=0.0, **settings):
        super().__init__()
        self.net, self._loss, self._optimizer = net, loss, functools.partial(optimizer, lr=lr, **settings)
        self.pause = pause

    def training_step(self, batch, batch_idx):
        if self.pause:
            time.sleep(self.pause)
        return self._loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return self._optimizer(self.parameters())


def mlp(*widths, activation=nn.ReLU):
    layers = [part for a, b in itertools.pairwise(widths) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


def zeroed(net):
    """Set all parameters of the network to zero and return it."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    return net


def clusters(*, permuted=False):
    """Four Gaussian clusters in twelve dimensions, shape (1024, 12), with their labels or with permuted ones."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 4, (1024,), generator=generator)
    inputs = 2 * torch.randn(4, 12, generator=generator)[labels] + torch.randn(1024, 12, generator=generator)
    return inputs, labels[torch.randperm(1024, generator=generator)] if permuted else labels


def curve():
    """A noisy sine of one of twelve inputs: shapes (1024, 12) and (1024, 1)."""
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(1024, 12, generator=generator)
    return inputs, inputs[:, :1].sin() + 0.1 * torch.randn(1024, 1, generator=generator)


HEALTHY = {
    "classifier": lambda **kw: (Run(mlp(12, 32, 4), **kw), clusters()),
    "regression": lambda **kw: (Run(mlp(12, 32, 1), F.mse_loss, **kw), curve()),
    "plain gradient descent": lambda **kw: (Run(mlp(12, 32, 4), optimizer=torch.optim.SGD, lr=0.1, **kw), clusters()),
    "linear model": lambda **kw: (Run(nn.Linear(12, 4), lr=0.03, **kw), clusters()),
}
STUCK = {
    "permuted labels": lambda **kw: (Run(nn.Linear(12, 4), **kw), clusters(permuted=True)),
    "zero weights": lambda **kw: (Run(zeroed(mlp(12, 16, 16, 4)), **kw), clusters()),
    "tiny learning rate": lambda **kw: (Run(mlp(12, 32, 4), lr=1e-7, **kw), clusters()),
    "deep sigmoids": lambda **kw: (
        Run(mlp(12, *[16] * 8, 4, activation=nn.Sigmoid), optimizer=torch.optim.SGD, lr=0.05, **kw),
        clusters(),
    ),
}
RUNS = HEALTHY | STUCK


class SaveAt(L.Callback):
    """Writes a checkpoint after each of these steps."""

    def __init__(self, folder, steps):
        self.folder, self.steps = folder, steps

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step in self.steps:
            trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


def monitor_of_run(name, clock=None, callbacks=(), ckpt_path=None, steps=STEPS, **settings):
    """Train the run of this name and return its monitor."""
    torch.manual_seed(7)
    module, data = RUNS[name](**settings)
    monitor = LandscapeMonitor()
    if clock is not None:
        monitor.clock = clock
    trainer = L.Trainer(
        max_steps=steps, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[monitor, *callbacks],
    )  # fmt: skip
    loader = DataLoader(TensorDataset(*data), batch_size=32)
    warnings_of(lambda: trainer.fit(module, loader, ckpt_path=ckpt_path))
    return monitor


def results_of(monitor):
    """Return the verdicts with their evidence, the lines and the number of gradients that were computed, as text."""
    by_anchor = monitor._state.readings.lines()
    lines = {anchor: [[step, *line.losses] for step, line in pairs] for anchor, pairs in by_anchor.items()}
    gradients = monitor._examination.limits.account.spent
    verdicts = [verdict.to_dict() for verdict in monitor.verdicts]
    return json.dumps({"verdicts": verdicts, "lines": lines, "gradients": gradients}, indent=1)


@functools.cache
def expected_results(name):
    return results_of(monitor_of_run(name))


@pytest.mark.parametrize("name", RUNS)
def test_the_stuck_runs_get_an_alarm_and_the_healthy_runs_do_not(name):
    verdicts = json.loads(expected_results(name))["verdicts"]
    assert any(verdict["stuck"] for verdict in verdicts) is (name in STUCK), expected_results(name)


@pytest.mark.parametrize("name", RUNS)
def test_a_pause_in_every_step_changes_no_letter_of_a_verdict(name):
    assert results_of(monitor_of_run(name, pause=0.001)) == expected_results(name)


@pytest.mark.parametrize("name", RUNS)
def test_a_clock_that_jumps_changes_no_letter_of_a_verdict(name):
    assert results_of(monitor_of_run(name, clock=JumpingClock(seed=1))) == expected_results(name)


@pytest.fixture(scope="module")
def busy():
    """Start two processes that load the processor."""
    loads = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(2)]
    yield
    for load in loads:
        load.kill()
        load.wait()


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.usefixtures("busy")
def test_a_busy_machine_changes_no_letter_of_a_verdict(name):
    assert results_of(monitor_of_run(name)) == expected_results(name)


@pytest.mark.parametrize("name", ["classifier", "permuted labels", "zero weights"])
def test_a_resumed_run_with_a_jumping_clock_gets_the_verdicts_of_the_straight_run(name, tmp_path):
    steps = (2 * EPOCH, 5 * EPOCH, 9 * EPOCH)
    straight = monitor_of_run(name, JumpingClock(seed=0), [SaveAt(tmp_path, steps)])
    for step in steps:
        save = [SaveAt(tmp_path / "again", steps)]
        resumed = monitor_of_run(name, JumpingClock(seed=step), save, ckpt_path=tmp_path / f"{step}.ckpt")
        assert results_of(resumed) == results_of(straight)


class SlowClock(JumpingClock):
    """A clock that advances by `seconds` at each call of `now`."""

    def __init__(self, seconds):
        super().__init__(seed=0)
        self._seconds = seconds

    def now(self):
        self._now += self._seconds
        return self._now


def test_the_effort_is_chosen_once_and_does_not_change_when_the_run_is_resumed_on_a_faster_machine(tmp_path):
    first = monitor_of_run("permuted labels", SlowClock(0.05), [SaveAt(tmp_path, (5 * EPOCH,))])
    effort = first._examination.limits.account.effort
    assert effort.gradients < 500
    assert f"the first diagnosis may compute {effort.gradients} gradients of one batch" in first.report
    save = [SaveAt(tmp_path / "again", (5 * EPOCH,))]
    again = monitor_of_run("permuted labels", callbacks=save, ckpt_path=tmp_path / f"{5 * EPOCH}.ckpt")
    assert again._examination.limits.account.effort == effort


class RecordDiagnosis(L.Callback):
    """Records the steps after which a diagnosis is unfinished."""

    def __init__(self):
        self.steps = []

    def on_train_batch_end(self, trainer, *args):
        monitor = next(callback for callback in trainer.callbacks if isinstance(callback, LandscapeMonitor))
        if monitor._examination.memory.underway is not None:
            self.steps.append(trainer.global_step)


def test_with_slow_steps_a_diagnosis_is_spread_over_several_checks_and_can_be_resumed_between_two(tmp_path):
    recorder = RecordDiagnosis()
    spread = monitor_of_run("permuted labels", SlowClock(0.5), [recorder], steps=2 * STEPS)
    assert spread._examination.limits.account.effort.sliced
    assert spread.verdict is not None
    stop = next(step for step in recorder.steps if step % EPOCH == 0)
    straight = monitor_of_run("permuted labels", SlowClock(0.5), [SaveAt(tmp_path, (stop,))], steps=2 * STEPS)
    states = torch.load(tmp_path / f"{stop}.ckpt", weights_only=True)["callbacks"]
    (state,) = (state for key, state in states.items() if key.startswith("LandscapeMonitor"))
    assert state["examination"]["underway"] is not None
    save = [SaveAt(tmp_path / "again", (stop,))]
    ckpt = tmp_path / f"{stop}.ckpt"
    resumed = monitor_of_run("permuted labels", SlowClock(0.5), save, ckpt, steps=2 * STEPS)
    assert results_of(resumed) == results_of(straight)
