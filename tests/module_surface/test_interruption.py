"""Ctrl-C and exceptions leave no trace, at any line of the isolation and in the user's training step."""

from __future__ import annotations

import inspect
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from torch.optim.optimizer import register_optimizer_step_post_hook

from lightning_landscape.module_surface import copier as copying
from lightning_landscape.module_surface import global_state, isolation, other_attributes, weights
from lightning_landscape.module_surface.during_fit import module_surface
from lightning_landscape.module_surface.isolation import isolated
from lightning_landscape.module_surface.weights import Weights
from lightning_landscape.trainer._compat import hooks_of_all_optimizers
from lightning_landscape.trainer.lightning_host import LightningHost
from tests.callbacks.test_transparency import alone
from tests.module_surface.observers import Prober
from tests.zoo import SPECIMENS, train
from tests.zoo.training import MemoryLogger, attributes, attributes_of_classes, fingerprint, fit, make_trainer

ISOLATION = {inspect.getfile(module) for module in (isolation, weights, global_state, copying, other_attributes)}
SURFACE = {str(path) for path in Path(inspect.getfile(isolation)).parent.glob("*.py")}


class Fault(BaseException):
    """Not an Exception, as KeyboardInterrupt is not."""


class FaultAtLine:
    """Raises a `Fault` at the n-th line that is executed in the given files, inside a ``with`` block."""

    def __init__(self, files: set[str], n: int) -> None:
        self.files, self.n, self.executed, self.place = files, n, 0, ""

    def __enter__(self) -> FaultAtLine:
        sys.settrace(self.call)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(None)

    def call(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        return self.line if frame.f_code.co_filename in self.files else None

    def line(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "line":
            self.executed += 1
            if self.executed == self.n:
                sys.settrace(None)
                self.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
                raise Fault(self.place)
        return self.line


def everything(trainer: Any, pl_module: Any) -> dict[str, Any]:
    """Return everything that the isolation has to restore: values, and the identities of objects."""
    return {
        "objects": {(name, key): id(value) for name, m in pl_module.named_modules() for key, value in vars(m).items()},
        "attributes": {name: attributes(module) for name, module in pl_module.named_modules()},
        "class objects": {
            (kind.__name__, key): id(value)
            for kind in _classes_of(pl_module)
            for key, value in vars(kind).items()
            if not key.startswith("__")
        },
        "class attributes": attributes_of_classes(pl_module),
        "storages": [(p.data_ptr(), p.requires_grad, id(p.grad)) for p in pl_module.parameters()],
        "weights": [fingerprint(p) for p in pl_module.parameters()],
        "gradients": [fingerprint(p.grad) for p in pl_module.parameters()],
        "hooks": [list((p._backward_hooks or {}).values()) for p in pl_module.parameters()],
        "hooks of all optimizers": [list(hooks.values()) for hooks in hooks_of_all_optimizers()],
        "loggers": [id(logger) for logger in trainer.loggers],
        "trainer": {key: id(value) for key, value in vars(trainer).items()},
        "groups": [fingerprint(list(group.items())) for o in trainer.optimizers for group in o.param_groups],
        "streams": (fingerprint(torch.get_rng_state()), random.getstate(), fingerprint(np.random.get_state())),
        "backward": torch.Tensor.backward,
        "switches": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.is_autocast_enabled("cpu"),
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cudnn.enabled,
            torch._dynamo.eval_frame._stance.stance,
        ),
    }


def _classes_of(pl_module: Any) -> set[type]:
    return {kind for module in pl_module.modules() for kind in type(module).__mro__}


class EveryLine(Prober):
    """Does the same work again and again, with a fault one line later each time, until it ends without a fault."""

    def __init__(self, files: set[str], work: Callable[[EveryLine, Any, Any], None]) -> None:
        super().__init__(lambda surface: None, batches=1)
        self.files, self.work = files, work
        self.places: list[str] = []
        self.damaged: list[str] = []

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx != 1:
            return
        before = everything(trainer, pl_module)
        n = 0
        while True:
            n += 1
            fault = FaultAtLine(self.files, n)
            try:
                with fault:
                    self.work(self, trainer, pl_module)
            except Fault:
                self.places.append(fault.place)
            else:
                break
            after = everything(trainer, pl_module)
            self.damaged += [f"{fault.place} {key}" for key in before if before[key] != after[key]]
        trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None: ...


def interrupted_everywhere(name: str, files: set[str], work: Callable[..., None]) -> EveryLine:
    seed_everything(7, verbose=False)
    specimen = SPECIMENS[name]
    observer = EveryLine(files, work)
    trainer = make_trainer(specimen, observer, logger=MemoryLogger())
    handle = register_optimizer_step_post_hook(lambda *args: None)
    try:
        fit(specimen, trainer, specimen.module())
    finally:
        handle.remove()
    return observer


def enter_and_leave(observer: EveryLine, trainer: Any, pl_module: Any) -> None:
    with isolated(LightningHost(trainer, pl_module), Weights(pl_module)):
        pass


def open_and_evaluate(observer: EveryLine, trainer: Any, pl_module: Any) -> None:
    with module_surface(trainer, pl_module, observer.probe_set) as surface:
        surface.loss(surface.here)


@pytest.mark.parametrize("name", ["Hooked", "HiddenState", "UsesTrainer"])
def test_a_fault_at_any_line_of_the_isolation_leaves_everything_as_it_was(name: str):
    observer = interrupted_everywhere(name, ISOLATION, enter_and_leave)

    assert observer.damaged == []
    interrupted = set(observer.places)
    assert len(interrupted) > 60
    if name == "Hooked":  # it has hooks and all else that the loops run over, so that every line is executed
        assert _lines_of(isolation.Isolation.start) | _lines_of(isolation.Isolation.restore) <= interrupted


def change_classes(observer: EveryLine, trainer: Any, pl_module: Any) -> None:
    with isolated(LightningHost(trainer, pl_module), Weights(pl_module)):
        kind = type(pl_module)
        kind.calls += 1
        kind.batch_indices.append(kind.calls)
        kind.added = []
        del kind.total


def test_a_fault_at_any_line_leaves_the_classes_as_they_were():
    observer = interrupted_everywhere("ClassState", ISOLATION, change_classes)

    assert observer.damaged == []
    owner = other_attributes._Owner
    assert _lines_of(other_attributes.OtherAttributes.restore) | _lines_of(owner.set_to) <= set(observer.places)


@pytest.mark.slow
def test_a_fault_at_any_line_of_a_whole_evaluation_leaves_everything_as_it_was():
    observer = interrupted_everywhere("BackwardByHand", SURFACE, open_and_evaluate)

    assert observer.damaged == []
    assert len(set(observer.places)) > 200


def _lines_of(function: Callable[..., Any]) -> set[str]:
    """Return the lines of `function`, without those of an early return."""
    file = Path(inspect.getfile(function)).name
    source, first = inspect.getsourcelines(function)
    code = function.__code__
    lines = {line for _, _, line in code.co_lines() if line is not None and line > first}
    return {f"{file}:{line}" for line in lines if "return" not in source[line - first]}


class Raises(Prober):
    """Lets the user's training step raise an error at other weights than those of the run."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(lambda surface: surface.loss({name: weight * 2 for name, weight in surface.here.items()}))
        self.error, self.interrupted = error, 0

    def examine(self, trainer: Any, pl_module: Any) -> None:
        calls = 0

        def raise_error(*args: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 4:  # opening the surface evaluates the loss three times
                raise self.error

        # The hook is removed after the probe, since the run without a probe does not have it.
        handle = pl_module.net[2].register_forward_hook(raise_error)
        try:
            super().examine(trainer, pl_module)
        except KeyboardInterrupt:
            self.interrupted += 1
        finally:
            handle.remove()


@pytest.mark.parametrize("name", ["Convolutional", "AccumulatedAndClipped"])
def test_an_exception_in_the_step_skips_the_probe_and_training_goes_on(name: str):
    raising = Raises(ValueError("at these weights I cannot"))

    assert train(SPECIMENS[name], raising).differences(alone(name)) == []
    assert raising.readings == []
    assert all("ValueError: at these weights I cannot" in said for said in raising.refusals)
    assert raising.refusals


def test_ctrl_c_in_the_step_passes_through_with_everything_restored():
    raising = Raises(KeyboardInterrupt())

    assert train(SPECIMENS["Convolutional"], raising).differences(alone("Convolutional")) == []
    assert raising.interrupted > 0
    assert raising.readings == raising.refusals == []
