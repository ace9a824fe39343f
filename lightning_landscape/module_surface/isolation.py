"""A module lends itself to a probe and gets every object of its own back, untouched.

Nothing is protected by undoing: the originals are put aside as they are and the module works on private copies, so that
whatever else holds a reference to an original never sees a difference.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor, nn
from torchmetrics import Metric

from lightning_landscape.module_surface.copier import Copier, is_immutable
from lightning_landscape.module_surface.global_state import RandomStreams, TorchFlags
from lightning_landscape.module_surface.other_attributes import OtherAttributes
from lightning_landscape.module_surface.weights import Weights
from lightning_landscape.trainer._compat import (
    TRAINERS,
    forced_eager,
    is_lightning_module,
    logger_handles,
)
from lightning_landscape.trainer.host import Host

Attributes = dict[str, Any]

# Registries whose entries are code or are protected by themselves: a shallow copy keeps track of what is added.
_REGISTRIES = frozenset({
    "_parameters",
    "_modules",
    "_non_persistent_buffers_set",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
})
# Backward hooks watch training (gradient logging); a probe takes gradients behind their back.
_BACKWARD_HOOKS = frozenset({"_backward_hooks", "_backward_pre_hooks"})


@dataclass(frozen=True)
class Copies:
    """What an evaluation works on in place of the originals."""

    modules: dict[str, Attributes]
    """what is in the ``__dict__`` of each submodule, by its name"""
    others: list[Attributes]
    """attributes of the user's classes, and those in slots"""


class Isolation:
    """What a module and its trainer had when the probe began, and private copies for each evaluation.

    Making one changes nothing. `install` hands out copies, `renew` new ones, `put_back` returns the originals.
    """

    def __init__(self, host: Host, weights: Weights) -> None:
        self.weights = weights
        self._streams, self._switches = RandomStreams.now(), TorchFlags.now()
        self._contexts = contextlib.ExitStack()
        self.modules = dict(host.module.named_modules())
        self._originals = {name: dict(module.__dict__) for name, module in self.modules.items()}
        self._changeable = {
            name: [key for key, value in original.items() if key not in TRAINERS and not is_immutable(value)]
            for name, original in self._originals.items()
        }
        self._others = OtherAttributes(self.modules.values())
        self._metrics = {name for name, module in self.modules.items() if isinstance(module, Metric)}
        self._host, self._host_attributes = host, dict(host.attributes)
        self._groups = [(group, dict(group)) for optimizer in host.optimizers for group in optimizer.param_groups]
        self._grads = [(p, p.grad, p.requires_grad) for p in weights.parameters.values()]
        self._hooks = [
            (hooks, dict(hooks))
            for p in weights.parameters.values()
            for hooks in (p._backward_hooks, getattr(p, "_post_accumulate_grad_hooks", None))
            if hooks
        ]
        self._shadows = {name: _silent() for name, module in self.modules.items() if is_lightning_module(module)}
        self._copier = Copier(_belongings(host, weights), _stand_ins(host))
        self._returned = False

    @property
    def uncopied(self) -> dict[str, str]:
        """Attributes that could not be copied and are in use themselves: where, and of which type."""
        return self._copier.uncopied

    def shadow(self, name: str, attribute: str, value: Any) -> None:
        """Let submodule `name` have `value` for `attribute` in every evaluation from the next `renew` on."""
        self._shadows.setdefault(name, {})[attribute] = value

    def install(self) -> None:
        """Take the trainer's loggers and profiler, all gradients and all gradient hooks away; gradients are enabled."""
        # Entered in the line that makes it: the stance is taken as soon as it is made.
        self._contexts.enter_context(forced_eager())
        self._contexts.enter_context(torch.inference_mode(mode=False))
        torch.set_grad_enabled(True)
        self._host.silence()
        for parameter, _, _ in self._grads:
            parameter.grad = None
        for hooks, _ in self._hooks:
            hooks.clear()
        self.renew()

    def renew(self, training: Mapping[str, bool] = MappingProxyType({})) -> None:
        """Private copies as of the beginning, so that no evaluation sees what the one before has done.

        Args:
            training: the flag of each submodule by name; one that is not named keeps its own
        """
        memo = self._copier.memo()
        copies = {}
        for name, original in self._originals.items():
            made = original | {key: self._copy(name, key, original[key], memo) for key in self._changeable[name]}
            if "training" in made:  # a compiled submodule only passes on the flag of what it wraps
                made["training"] = training.get(name, made["training"])
            copies[name] = made | self._shadows.get(name, {})
        self._others.install_copies(lambda value, where: self._copier.copy(value, memo, where))
        self._use(copies)

    def _copy(self, name: str, key: str, value: Any, memo: dict[int, Any]) -> Any:
        if key in _REGISTRIES:
            return value.copy()
        if key in _BACKWARD_HOOKS:
            return type(value)()
        if type(value) is list and name in self._metrics:  # a list state only grows, and by then it may be long
            return value.copy()
        return self._copier.copy(value, memo, f"{name}.{key}" if name else key)

    def set_buffers(self, buffers: Mapping[str, Mapping[str, Tensor | None]]) -> None:
        """Give submodules copies of these buffers in place of what `renew` gave them."""
        for name, values in buffers.items():
            copies = {key: None if value is None else value.clone() for key, value in values.items()}
            self.modules[name]._buffers.update(copies)

    def handed_out(self) -> Copies:
        """The copies in use, as the last evaluation has left them."""
        return Copies({name: dict(module.__dict__) for name, module in self.modules.items()}, self._others.in_use())

    def hand_out(self, copies: Copies) -> None:
        """Use these copies; gradients and flags of the parameters begin anew."""
        self._others.use(copies.others)
        self._use(copies.modules)

    def _use(self, copies: dict[str, Attributes]) -> None:
        self.weights.reshard()
        for name, module in self.modules.items():
            _become(module.__dict__, copies[name])
        for group, original in self._groups:
            _become(group, original)
        for parameter, _, requires_grad in self._grads:
            parameter.grad = None
            _flag(parameter, requires_grad)

    def put_back(self) -> None:
        """Return every original. Interrupted anywhere, it can be called again and completes."""
        if self._returned:
            return
        self.weights.reshard()
        for name, module in self.modules.items():
            _become(module.__dict__, self._originals[name])
        self._others.put_back()
        _become(self._host.attributes, self._host_attributes)
        for group, original in self._groups:
            _become(group, original)
        self.weights.put_back()
        for parameter, grad, requires_grad in self._grads:
            parameter.grad = grad
            _flag(parameter, requires_grad)
        for hooks, original in self._hooks:
            _become(hooks, original)
        self._contexts.close()  # what it has closed, it does not close twice
        self._switches.put_back()
        self._streams.put_back()
        self._returned = True


@contextlib.contextmanager
def isolated(host: Host, weights: Weights) -> Iterator[Isolation]:
    """Inside, the module may be run at any weights; afterwards nobody can tell.

    Yields:
        the isolation, installed
    """
    isolation = Isolation(host, weights)
    try:
        try:
            isolation.install()
            yield isolation
        finally:
            isolation.put_back()
    finally:
        isolation.put_back()  # Ctrl-C may have struck in the midst of the first


def _become(attributes: dict[Any, Any], others: dict[Any, Any]) -> None:
    attributes.clear()
    attributes.update(others)


def _silent() -> Attributes:
    """What a LightningModule logs and prints with."""
    return dict.fromkeys(("log", "log_dict", "print"), _say_nothing)


def _say_nothing(*args: Any, **kwargs: Any) -> None:
    """Stands in for a method that reports something."""


def _belongings(host: Host, weights: Weights) -> list[object]:
    """Return the objects that no copy of an attribute may take along."""
    # Parameters are the same objects at other weights.
    return [*host.never_copied(), *host.module.modules(), *weights.parameters.values()]


def _stand_ins(host: Host) -> list[tuple[object, object]]:
    """A module may have kept a logger, or what a logger writes to, in an attribute."""
    dummies = [(logger, DummyLogger()) for logger in host.loggers]
    return dummies + [(handle, dummy.experiment) for logger, dummy in dummies for handle in logger_handles(logger)]


def _flag(parameter: nn.Parameter, requires_grad: bool) -> None:  # noqa: FBT001 - the flag is the value
    if parameter.requires_grad != requires_grad:  # a lazy parameter that never got its shape can only be asked
        parameter.requires_grad_(requires_grad)
