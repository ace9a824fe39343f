"""Canaries: what is read of Lightning without being promised is there, or its public substitute does as well."""

from __future__ import annotations

import ast
import re
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
    """Notes what `question` answers at every end of a batch."""

    def __init__(self, question: Any) -> None:
        self.question, self.answers = question, []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.answers.append(self.question(trainer, pl_module))


def test_canary_the_hook_that_runs_is_known_in_it_and_none_outside():
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
def test_canary_our_x_is_the_x_of_what_the_user_logs(module, settings, steps):
    logger = MemoryLogger()
    asks = Asks(lambda trainer, module: _compat.logger_step(trainer))
    quiet(asks, logger=logger, log_every_n_steps=1, **settings).fit(module(), shuffled(), held_out())
    theirs = [step for row, step in logger.experiment.rows if "epoch" in row and any("loss" in name for name in row)]
    assert set(theirs) <= set(asks.answers)
    assert len(asks.answers) == len(steps)
    assert asks.answers == sorted(asks.answers)
    if not settings:
        assert asks.answers == steps


@pytest.mark.parametrize("loop", [None, SimpleNamespace()], ids=["no loop", "no counter"])
def test_without_the_private_counter_the_x_is_that_of_the_trainer(loop):
    trainer = SimpleNamespace(fit_loop=SimpleNamespace(epoch_loop=loop), global_step=7)
    assert _compat.logger_step(trainer) == 7


def test_canary_a_module_knows_its_trainer_under_the_names_that_are_left_out_of_copies():
    module = Perceptron()
    assert _compat.trainer_of(module) is None
    module.trainer = trainer = quiet()
    assert _compat.trainer_of(module) is trainer
    held = {name for name, value in vars(module).items() if value is trainer}
    assert held
    assert held <= _compat.TRAINERS
    assert {"_trainer", "_fabric"} <= vars(LightningModule()).keys()


def test_canary_the_trainer_logs_to_what_it_is_given_and_gets_its_own_back():
    mine = MemoryLogger()
    trainer = quiet(logger=mine)
    before = dict(vars(trainer))
    dummy = DummyLogger()
    _compat.take_loggers(trainer, [dummy])
    assert trainer.loggers == [dummy]
    assert trainer.logger is dummy
    vars(trainer).clear()
    vars(trainer).update(before)
    assert trainer.loggers == [mine]


def test_without_the_private_list_the_public_setter_is_used():
    class Newer:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        loggers = property(lambda self: self.kept, lambda self, value: setattr(self, "kept", value))

    trainer = Newer()
    _compat.take_loggers(trainer, ["dummy"])
    assert trainer.loggers == ["dummy"]


def test_canary_what_a_logger_writes_to_is_found_only_once_it_is_open(tmp_path):
    logger = CSVLogger(tmp_path)
    assert _compat.logger_handles(logger) == []
    opened = logger.experiment
    assert _compat.logger_handles(logger) == [opened]
    assert _compat.logger_handles(SimpleNamespace()) == []


@pytest.mark.parametrize("kind", [WandbLogger, MLFlowLogger])
def test_canary_other_loggers_keep_their_handle_under_a_name_that_is_looked_for(kind):
    import inspect

    source = inspect.getsource(kind)
    assert any(f"self.{name}" in source for name in ("_experiment", "_run", "_mlflow_client", "_run_instance"))


def test_canary_the_strategies_are_still_called_by_their_names():
    from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

    names = {kind.__name__ for kind in (DDPStrategy, FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)}
    assert names == {"DDPStrategy", "FSDPStrategy", "ModelParallelStrategy", "DeepSpeedStrategy"}
    assert "SingleDeviceStrategy" in _compat.strategy_lineage(quiet().strategy)


def test_canary_modules_are_known_by_what_they_can_do_and_overrides_by_their_class():
    assert _compat.is_lightning_module(Perceptron())
    assert not _compat.is_lightning_module(nn.Linear(1, 1))
    assert _compat.overrides(OwnClipping(), "configure_gradient_clipping")
    assert not _compat.overrides(Perceptron(), "configure_gradient_clipping")


def test_canary_compiled_modules_run_eagerly_and_the_stance_goes_with_the_block():
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


def test_without_stances_nothing_is_forced(monkeypatch):
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
    """Every private name that Lightning's objects have and plain torch modules have not."""
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
"""what Lightning documents for callbacks, though it begins with an underscore"""


def named_in(source: str) -> set[str]:
    """The private names that this source reads of other objects, and every string that it holds."""
    nodes = list(ast.walk(ast.parse(source)))
    read = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
    }
    return read | {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_no_other_module_reads_what_lightning_keeps_private():
    private, paths = private_names() - ALLOWED, sorted(ROOT.rglob("*.py"))
    assert "_logger_connector" in private
    assert paths
    found = [
        f"{path.relative_to(ROOT).as_posix()} reads {name}"
        for path in paths
        if path.name != "_compat.py"
        for name in sorted(named_in(path.read_text(encoding="utf-8")) & private)
    ]
    assert not found, "\n".join(found)
