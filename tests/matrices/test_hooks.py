"""Every callback at every hook of a Trainer: where the run dies there, where it never comes, where it comes twice."""

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
OURS = [name for name in HOOKS if name in vars(Monitor)]
NEVER = {"on_exception"}
"""hooks that come only when a run dies"""


AT_WORK = {"on_train_batch_end", "on_before_optimizer_step", "teardown"}
"""hooks in which each callback's own parts are at work: a look at the surface, a measurement, the end"""
MISSED = {"on_before_optimizer_step": "[LL101]", "on_train_batch_start": "[LL310]"}
"""what a callback says of a hook that it misses: no step to be seen, no batch to look at"""


class Bomb(Callback):
    """Raises at one hook, once a first look has been taken where the hook comes often enough."""

    def __init__(self, hook: str) -> None:
        self.hook, self.error = hook, InterruptedError(hook)
        setattr(self, hook, functools.partial(self._strike, getattr(self, hook)))

    def _strike(self, original: Any, *args: Any, **kwargs: Any) -> Any:
        trainer = next((value for value in args if isinstance(value, Trainer)), None)
        often = "batch" in self.hook or "before" in self.hook or "after" in self.hook
        if not often or trainer is None or not trainer.training or trainer.global_step >= 12:
            raise self.error
        return original(*args, **kwargs)

    @property
    def state_key(self) -> str:
        return "bomb"


def killed(hook: str, watcher: str | None, folder: Path) -> tuple[Any, Any, BaseException | None]:
    """A run that dies at `hook`: what is left of it, the callback that watched, and of what it died."""
    checkpoint = resumable() if "load" in hook else None
    seed_everything(7, verbose=False)
    module, bomb = Perceptron(), Bomb(hook)
    watching = None if watcher is None else WATCHERS[watcher].make()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*([] if watching is None else [watching]), bomb, ModelCheckpoint(folder, save_top_k=1)],
    )
    died = None
    try:
        trainer.fit(module, batches(), held_out(), ckpt_path=checkpoint)
        for step in ("test", "predict"):
            if step in hook:
                setattr(module, f"{step}_step", lambda batch, batch_idx: module.net(batch[0]))
                getattr(trainer, step)(module, held_out())
    except InterruptedError as error:
        died = error if error is bomb.error else None
    handles = [o._optimizer_step_post_hooks or o._optimizer_step_pre_hooks for o in trainer.optimizers]
    left = (
        fingerprint(list(module.state_dict().values())),
        [fingerprint(list(optimizer.state.values())) for optimizer in trainer.optimizers],
        fingerprint([p.grad for p in module.parameters()]),
        fingerprint(torch.get_rng_state()),
        (torch.is_grad_enabled(), module.training, trainer.global_step, trainer.current_epoch),
        list(map(bool, handles)),
    )
    return left, watching, died


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
def killed_alone(hook: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return killed(hook, None, Path(folder))


def test_all_callbacks_share_their_hooks():
    kinds = {name: type(watcher.make()) for name, watcher in WATCHERS.items()}
    own = {
        name: [hook for hook in HOOKS if getattr(kind, hook) is not getattr(Monitor, hook)]
        for name, kind in kinds.items()
    }
    assert own == {name: [] for name in WATCHERS}


@pytest.mark.filterwarnings("ignore:.*resuming from a checkpoint", "ignore:Be aware that when using `ckpt_path`")
@pytest.mark.parametrize(("hook", "watcher"), pairs(HOOKS, AT_WORK))
def test_a_run_that_dies_there_dies_of_its_own_error_and_leaves_what_it_would_have_left(hook, watcher, tmp_path):
    alone, _, died_alone = killed_alone(hook)
    left, watching, died = killed(hook, watcher, tmp_path)
    same = left == alone  # by itself: pytest would print both
    assert same
    assert (died is None) is (died_alone is None) is (hook in NEVER)
    assert not watching._watching
    assert not watching._recorder._handles


def test_the_bombs_go_off_in_the_midst_of_the_run():
    """The weights at death are those of a run under way, not of one that never began."""
    steps = {hook: killed_alone(hook)[0][4][2] for hook in HOOKS if "train_batch" in hook or "backward" in hook}
    assert len(steps) >= 4
    assert all(step >= 12 for step in steps.values()), steps


@functools.cache
def short_alone() -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return outcome(SHORT, None, Path(folder))


def changed(watcher: str, folder: Path, change: Any) -> Outcome:
    """A short run with a callback of which some hooks have been changed."""

    def make() -> Monitor:
        monitor = WATCHERS[watcher].make()
        change(monitor)
        return monitor

    return outcome(SHORT, make, folder)


@pytest.mark.parametrize(("hook", "watcher"), pairs([name for name in OURS if name != "state_dict"], AT_WORK))
def test_a_hook_that_never_comes_is_no_harm_to_the_run(hook, watcher, tmp_path):
    def change(monitor: Monitor) -> None:
        setattr(monitor, hook, lambda *args, **kwargs: None)

    after = changed(watcher, tmp_path, change)
    differences = after.trace.differences(short_alone().trace)
    assert differences == []
    assert after.warnings == short_alone().warnings
    assert all(MISSED.get(hook, "silence") in text for text in after.said)


@pytest.mark.parametrize("watcher", WATCHERS)
def test_hooks_that_come_twice_are_no_harm_to_the_run(watcher, tmp_path):
    def change(monitor: Monitor) -> None:
        for hook in OURS:
            setattr(monitor, hook, functools.partial(_twice, getattr(monitor, hook)))

    after = changed(watcher, tmp_path, change)
    differences = after.trace.differences(short_alone().trace)
    assert differences == []
    assert after.warnings == short_alone().warnings
    assert after.watching.report.steps == SHORT.steps


def _twice(hook: Any, *args: Any, **kwargs: Any) -> Any:
    hook(*args, **kwargs)
    return hook(*args, **kwargs)


@pytest.mark.parametrize(("hook", "watcher"), pairs(OURS, AT_WORK))
def test_a_callback_that_has_seen_no_run_answers_to_any_hook(hook, watcher, tmp_path):
    monitor, module = WATCHERS[watcher].make(), Perceptron()
    trainer = quiet(tmp_path, max_epochs=1)
    given: dict[str, tuple[Any, ...]] = {
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
    getattr(monitor, hook)(*given.get(hook, (trainer, module)))
    assert monitor.report.steps == 0
    assert monitor.verdicts == ()
