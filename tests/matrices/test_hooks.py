"""Every monitor at every hook of a Trainer: the run fails in the hook, or the hook is never called, or called twice."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_landscape.callbacks.monitor import Monitor
from tests.matrices.runs import Outcome, Setting, batches, held_out, outcome
from tests.matrices.watchers import WATCHERS, pairs
from tests.zoo.plain import Perceptron
from tests.zoo.training import fingerprint

pytestmark = pytest.mark.usefixtures("without_pictures")

SHORT = Setting(trainer=lambda: {"max_epochs": 3}, steps=24)
HOOKS = sorted(name for name in vars(Callback) if name.startswith("on_") or name in {"setup", "teardown", "state_dict"})
MONITOR_HOOKS = [name for name in HOOKS if name in vars(Monitor)]
ONLY_AFTER_ERRORS = {"on_exception"}
"""hooks that are called only when a run fails"""


BUSY_HOOKS = {"on_train_batch_end", "on_before_optimizer_step", "teardown"}
"""hooks in which the monitors do different things: a check with its probes, a measurement, the end of the run"""
WARNINGS_IF_MISSED = {"on_before_optimizer_step": "[LL101]", "on_train_batch_start": "[LL310]"}
"""codes of the warnings if a hook is never called: no optimizer step was observed, no batch was captured"""


class RaiseAt(Callback):
    """Raises in one hook; in a hook that is called at every step, only after the first check."""

    def __init__(self, hook: str) -> None:
        self.hook, self.error = hook, InterruptedError(hook)
        setattr(self, hook, functools.partial(self._raise, getattr(self, hook)))

    def _raise(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        trainer = next((value for value in args if isinstance(value, Trainer)), None)
        every_step = "batch" in self.hook or "before" in self.hook or "after" in self.hook
        if not every_step or trainer is None or not trainer.training or trainer.global_step >= 12:
            raise self.error
        return original(*args, **kwargs)

    @property
    def state_key(self) -> str:
        return "raiser"


def fail_at(hook: str, watcher: str | None, folder: Path) -> tuple[Any, Any, BaseException | None]:
    """Return the state after a run that fails in `hook`, the monitor, and the error of `RaiseAt`, if it was raised."""
    checkpoint = resumable() if "load" in hook else None
    seed_everything(7, verbose=False)
    module, raiser = Perceptron(), RaiseAt(hook)
    monitor = None if watcher is None else WATCHERS[watcher].make()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*([] if monitor is None else [monitor]), raiser, ModelCheckpoint(folder, save_top_k=1)],
    )
    caught = None
    try:
        trainer.fit(module, batches(), held_out(), ckpt_path=checkpoint)
        for step in ("test", "predict"):
            if step in hook:
                setattr(module, f"{step}_step", lambda batch, batch_idx: module.net(batch[0]))
                getattr(trainer, step)(module, held_out())
    except InterruptedError as error:
        caught = error if error is raiser.error else None
    handles = [o._optimizer_step_post_hooks or o._optimizer_step_pre_hooks for o in trainer.optimizers]
    state = (
        fingerprint(list(module.state_dict().values())),
        [fingerprint(list(optimizer.state.values())) for optimizer in trainer.optimizers],
        fingerprint([p.grad for p in module.parameters()]),
        fingerprint(torch.get_rng_state()),
        (torch.is_grad_enabled(), module.training, trainer.global_step, trainer.current_epoch),
        list(map(bool, handles)),
    )
    return state, monitor, caught


def quiet(folder: Any, **settings: Any) -> Trainer:
    off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger"), False)
    return Trainer(accelerator="cpu", default_root_dir=folder, **off, **settings)


@functools.cache
def resumable() -> str:
    folder = tempfile.mkdtemp()
    trainer = quiet(folder, max_epochs=1, callbacks=[WATCHERS["PlateauMonitor"].make()])
    trainer.fit(Perceptron(), batches(), held_out())
    trainer.save_checkpoint(f"{folder}/resumable.ckpt")
    return f"{folder}/resumable.ckpt"


@functools.cache
def fail_at_alone(hook: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return fail_at(hook, None, Path(folder))


def test_all_monitors_inherit_their_hooks_from_monitor():
    kinds = {name: type(watcher.make()) for name, watcher in WATCHERS.items()}
    own = {
        name: [hook for hook in HOOKS if getattr(kind, hook) is not getattr(Monitor, hook)]
        for name, kind in kinds.items()
    }
    assert own == {name: [] for name in WATCHERS}


@pytest.mark.filterwarnings("ignore:.*resuming from a checkpoint", "ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize(("hook", "watcher"), pairs(HOOKS, BUSY_HOOKS))
def test_a_run_that_fails_in_a_hook_raises_the_same_error_and_leaves_the_same_state(hook, watcher, tmp_path):
    state_alone, _, error_alone = fail_at_alone(hook)
    state, monitor, error = fail_at(hook, watcher, tmp_path)
    same = state == state_alone  # in its own line, because pytest would print both states
    assert same
    assert (error is None) is (error_alone is None) is (hook in ONLY_AFTER_ERRORS)
    assert not monitor._watching
    assert not monitor._recorder._handles


def test_hooks_that_are_called_at_every_step_raise_in_the_middle_of_the_run():
    """Otherwise the test above would compare runs that have not trained."""
    steps = {hook: fail_at_alone(hook)[0][4][2] for hook in HOOKS if "train_batch" in hook or "backward" in hook}
    assert len(steps) >= 4
    assert all(step >= 12 for step in steps.values()), steps


@functools.cache
def short_run_alone() -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return outcome(SHORT, None, Path(folder))


def run_with_changed_hooks(watcher: str, folder: Path, change: Any) -> Outcome:
    """Return the outcome of a short run with a monitor after `change` has been applied to it."""

    def make() -> Monitor:
        monitor = WATCHERS[watcher].make()
        change(monitor)
        return monitor

    return outcome(SHORT, make, folder)


@pytest.mark.parametrize(
    ("hook", "watcher"), pairs([name for name in MONITOR_HOOKS if name != "state_dict"], BUSY_HOOKS)
)
def test_a_run_is_unchanged_if_a_hook_of_the_monitor_is_never_called(hook, watcher, tmp_path):
    def change(monitor: Monitor) -> None:
        setattr(monitor, hook, lambda *args, **kwargs: None)

    after = run_with_changed_hooks(watcher, tmp_path, change)
    differences = after.trace.differences(short_run_alone().trace)
    assert differences == []
    assert after.other_warnings == short_run_alone().other_warnings
    assert all(WARNINGS_IF_MISSED.get(hook, "no warning") in text for text in after.landscape_warnings)


@pytest.mark.parametrize("watcher", WATCHERS)
def test_a_run_is_unchanged_if_each_hook_of_the_monitor_is_called_twice(watcher, tmp_path):
    def change(monitor: Monitor) -> None:
        for hook in MONITOR_HOOKS:
            setattr(monitor, hook, functools.partial(_call_twice, getattr(monitor, hook)))

    after = run_with_changed_hooks(watcher, tmp_path, change)
    differences = after.trace.differences(short_run_alone().trace)
    assert differences == []
    assert after.other_warnings == short_run_alone().other_warnings
    assert after.monitor.report.steps == SHORT.steps


def _call_twice(hook: Any, *args: Any, **kwargs: Any) -> Any:
    hook(*args, **kwargs)
    return hook(*args, **kwargs)


@pytest.mark.parametrize(("hook", "watcher"), pairs(MONITOR_HOOKS, BUSY_HOOKS))
def test_any_hook_can_be_called_on_a_monitor_that_was_in_no_run(hook, watcher, tmp_path):
    monitor, module = WATCHERS[watcher].make(), Perceptron()
    trainer = quiet(tmp_path, max_epochs=1)
    arguments: dict[str, tuple[Any, ...]] = {
        "on_exception": (trainer, module, KeyError("mine")),
        "on_train_batch_start": (trainer, module, None, 0),
        "on_train_batch_end": (trainer, module, None, None, 0),
        "on_before_backward": (trainer, module, torch.zeros(())),
        "on_before_optimizer_step": (trainer, module, torch.optim.SGD(module.parameters(), 0.1)),
        "on_save_checkpoint": (trainer, module, {}),
        "on_load_checkpoint": (trainer, module, {}),
        "teardown": (trainer, module, "fit"),
        "state_dict": (),
    }
    getattr(monitor, hook)(*arguments.get(hook, (trainer, module)))
    assert monitor.report.steps == 0
    assert monitor.verdicts == ()
