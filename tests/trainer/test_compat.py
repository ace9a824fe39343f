"""Canaries: the undocumented attributes of Lightning that the library reads exist, or a public one replaces them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from lightning_landscape.trainer import _compat
from tests.matrices.runs import held_out
from tests.zoo.manual import Adversaries
from tests.zoo.plain import OwnClipping, Perceptron
from tests.zoo.specimen import SPECIMENS, shuffled
from tests.zoo.training import MemoryLogger, make_trainer

ROOT = Path(__file__).parents[2] / "lightning_landscape"


def quiet(*callbacks: Callback, **settings: Any) -> Trainer:
    off = dict.fromkeys(("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "logger"), False)
    return Trainer(**{"accelerator": "cpu", "max_epochs": 1, **off, **settings}, callbacks=list(callbacks))


class Asks(Callback):
    """Calls `question` at the end of every batch, and keeps the results."""

    def __init__(self, question: Callable[[Trainer, LightningModule], Any]) -> None:
        self.question, self.answers = question, []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.answers.append(self.question(trainer, pl_module))


def test_canary_the_running_hook_has_a_name_and_there_is_none_outside_of_hooks():
    asks, module = Asks(lambda trainer, module: _compat.current_hook(module)), Perceptron()
    quiet(asks).fit(module, shuffled(), held_out())
    assert set(asks.answers) == {"on_train_batch_end"}
    assert _compat.current_hook(module) is None
    assert _compat.current_hook(nn.Linear(1, 1)) is None


@pytest.mark.parametrize(
    ("module", "settings", "steps"),
    [
        (Perceptron, {}, [0, 1, 2, 3, 4, 5]),
        (Perceptron, {"accumulate_grad_batches": 2}, [0, 1, 1, 2, 2, 3]),
        (Adversaries, {}, [0, 1, 2, 3, 4, 5]),
    ],
    ids=["plain", "accumulate", "two optimizers"],
)
def test_canary_the_x_is_that_of_the_metrics_that_the_user_logs(module, settings, steps):
    logger = MemoryLogger()
    asks = Asks(lambda trainer, module: _compat.logger_step(trainer))
    quiet(asks, logger=logger, log_every_n_steps=1, **settings).fit(module(), shuffled(), held_out())
    logged = [step for row, step in logger.experiment.rows if "epoch" in row and any("loss" in name for name in row)]
    assert set(logged) <= set(asks.answers)
    assert len(asks.answers) == len(steps)
    assert asks.answers == sorted(asks.answers)
    if not settings:
        assert asks.answers == steps


@pytest.mark.parametrize("loop", [None, SimpleNamespace()], ids=["no loop", "no counter"])
def test_without_the_private_counter_the_x_is_the_global_step(loop):
    trainer = SimpleNamespace(fit_loop=SimpleNamespace(epoch_loop=loop), global_step=7)
    assert _compat.logger_step(trainer) == 7


def test_canary_a_module_refers_to_its_trainer_by_the_names_that_copies_leave_out():
    module = Perceptron()
    assert _compat.trainer_of(module) is None
    module.trainer = trainer = quiet()
    assert _compat.trainer_of(module) is trainer
    names = {name for name, value in vars(module).items() if value is trainer}
    assert names
    assert names <= _compat.TRAINERS
    assert {"_trainer", "_fabric"} <= vars(LightningModule()).keys()


def test_canary_the_loggers_of_a_trainer_can_be_replaced_and_restored():
    logger = MemoryLogger()
    trainer = quiet(logger=logger)
    before = dict(vars(trainer))
    dummy = DummyLogger()
    _compat.take_loggers(trainer, [dummy])
    assert trainer.loggers == [dummy]
    assert trainer.logger is dummy
    vars(trainer).clear()
    vars(trainer).update(before)
    assert trainer.loggers == [logger]


def test_without_the_private_list_the_public_setter_is_used():
    class NewerTrainer:
        def __init__(self) -> None:
            self.all_loggers: list[Any] = []

        loggers = property(lambda self: self.all_loggers, lambda self, value: setattr(self, "all_loggers", value))

    trainer = NewerTrainer()
    _compat.take_loggers(trainer, ["dummy"])
    assert trainer.loggers == ["dummy"]


def test_canary_the_objects_that_a_logger_writes_to_are_found_once_they_exist(tmp_path):
    logger = CSVLogger(tmp_path)
    assert _compat.logger_handles(logger) == []
    opened = logger.experiment
    assert _compat.logger_handles(logger) == [opened]
    assert _compat.logger_handles(SimpleNamespace()) == []


@pytest.mark.parametrize("kind", [WandbLogger, MLFlowLogger])
def test_canary_other_loggers_keep_these_objects_under_the_names_that_are_read(kind):
    import inspect

    source = inspect.getsource(kind)
    assert any(f"self.{name}" in source for name in _compat._LOGGER_HANDLES)


def test_canary_the_strategies_have_the_names_that_are_read():
    from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

    names = {kind.__name__ for kind in (DDPStrategy, FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)}
    assert names == {"DDPStrategy", "FSDPStrategy", "ModelParallelStrategy", "DeepSpeedStrategy"}
    assert "SingleDeviceStrategy" in _compat.strategy_lineage(quiet().strategy)


def test_canary_lightning_modules_and_overridden_methods_are_recognised():
    assert _compat.is_lightning_module(Perceptron())
    assert not _compat.is_lightning_module(nn.Linear(1, 1))
    assert _compat.overrides(OwnClipping(), "configure_gradient_clipping")
    assert not _compat.overrides(Perceptron(), "configure_gradient_clipping")


def test_canary_compiled_modules_run_eagerly_within_the_context_only():
    calls = []

    def counting(graph: Any, inputs: Any) -> Any:
        calls.append(1)
        return graph.forward

    compiled = torch.compile(nn.Linear(2, 2), backend=counting)
    with _compat.forced_eager():
        compiled(torch.ones(1, 2))
    assert not calls
    compiled(torch.ones(1, 2))
    assert calls


def test_before_torch_2_6_the_context_does_nothing(monkeypatch):
    monkeypatch.delattr(torch.compiler, "set_stance", raising=False)
    with _compat.forced_eager() as nothing:
        assert nothing is None


def test_canary_hooks_of_all_optimizers_are_in_the_dictionaries_that_are_read():
    pre, post = _compat.hooks_of_all_optimizers()
    before = len(pre), len(post)
    added = register_optimizer_step_pre_hook(print), register_optimizer_step_post_hook(print)
    try:
        assert (len(pre), len(post)) == (before[0] + 1, before[1] + 1)
    finally:
        for hook in added:
            hook.remove()
    assert (len(pre), len(post)) == before


def private_names() -> set[str]:
    """Return the private names of Lightning's objects that plain torch modules do not have."""
    trainer, module = make_trainer(SPECIMENS["Perceptron"]), Perceptron()
    objects = [
        trainer,
        module,
        trainer.fit_loop,
        trainer.fit_loop.epoch_loop,
        trainer.strategy,
        trainer.precision_plugin,
    ]
    objects += [DummyLogger(), CSVLogger("nowhere"), trainer._logger_connector, trainer._callback_connector, Callback()]
    names = {name for value in objects for name in (*vars(value), *dir(type(value)))}
    return {name for name in names - set(dir(nn.Module())) if re.fullmatch(r"_[a-z]\w*", name)}


ALLOWED = {"_generate_state_key"}
"""private names that Lightning documents for callbacks"""


def names_in(source: str) -> set[str]:
    """Return the private names that this source reads of other objects, and all its strings."""
    nodes = list(ast.walk(ast.parse(source)))
    read = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    }
    return read | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_no_other_module_reads_private_names_of_lightning():
    private, paths = private_names() - ALLOWED, sorted(ROOT.rglob("*.py"))
    assert "_logger_connector" in private
    assert paths
    found = [
        f"{path.relative_to(ROOT).as_posix()} reads {name}"
        for path in paths
        if path.name != "_compat.py"
        for name in sorted(names_in(path.read_text(encoding="utf-8")) & private)
    ]
    assert not found, "\n".join(found)
