"""Evaluate a module while it is trained, and leave no trace in the run.

The constructor of `Isolation` records everything that an evaluation may change: the attributes of the modules, of their
classes and of the trainer, gradients, hooks, parameter groups, random number generators and flags of torch. `start`
then removes loggers and hooks, which would report evaluations to the user. Each evaluation works on new copies of the
attributes, so that it neither writes to the originals nor depends on earlier evaluations. The parameters themselves are
not copied, since optimizers and hooks refer to them; `Weights` exchanges the tensors in which they hold their values.
At the end `restore` puts every recorded object back, and after Ctrl-C a second call of it completes the first.
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
from lightning_landscape.module_surface.repeated_warnings import repeated_warnings_dropped
from lightning_landscape.module_surface.weights import Weights
from lightning_landscape.trainer._compat import (
    TRAINERS,
    forced_eager,
    hooks_of_all_optimizers,
    is_lightning_module,
    logger_handles,
)
from lightning_landscape.trainer.host import Host

Attributes = dict[str, Any]
"""attributes by their names"""

# Attributes of a module of which a shallow copy is enough, since what they contain is code, or is a parameter or a
# submodule and restored as such.
_COPIED_SHALLOWLY = frozenset({
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
# Backward hooks often log the gradients of training. They are left out, since a probe computes gradients as well.
_BACKWARD_HOOKS = frozenset({"_backward_hooks", "_backward_pre_hooks"})


@dataclass(frozen=True)
class Copies:
    """The copies of all attributes that one evaluation uses."""

    modules: dict[str, Attributes]
    """the ``__dict__`` of each submodule, by the submodule's name"""
    other_attributes: list[Attributes]
    """attributes of the user's classes, and those in slots, as `OtherAttributes.in_use` returns them"""


class Isolation:
    """The original state of a module and its trainer, and copies of the module's attributes for each evaluation.

    The constructor only reads. Call `start` before the first evaluation, `install_copies` before each, and `restore` at
    the end; `isolated` does the first and the last.

    Args:
        host: the run.
        weights: the parameters of its module.
    """

    def __init__(self, host: Host, weights: Weights) -> None:
        self.weights = weights
        self._random_streams, self._torch_flags = RandomStreams.now(), TorchFlags.now()
        self._contexts = contextlib.ExitStack()
        self.modules = dict(host.module.named_modules())
        """every submodule by its name; the name of the module itself is empty"""
        self._originals = {name: dict(module.__dict__) for name, module in self.modules.items()}
        self._mutable = {
            name: [key for key, value in original.items() if key not in TRAINERS and not is_immutable(value)]
            for name, original in self._originals.items()
        }
        self._other_attributes = OtherAttributes(self.modules.values())
        self._metrics = {name for name, module in self.modules.items() if isinstance(module, Metric)}
        self._host, self._host_attributes = host, dict(host.attributes)
        self._param_groups = [(group, dict(group)) for optimizer in host.optimizers for group in optimizer.param_groups]
        self._gradients = [(p, p.grad, p.requires_grad) for p in weights.parameters.values()]
        self._hooks = [(hooks, dict(hooks)) for hooks in (*_gradient_hooks(weights), *hooks_of_all_optimizers())]
        self._replacements: dict[str, Attributes] = {
            name: dict.fromkeys(("log", "log_dict", "print"), _do_nothing)
            for name, module in self.modules.items()
            if is_lightning_module(module)
        }
        self._copier = Copier(_never_copied(host, weights), _logger_substitutes(host))
        self._restored = False

    @property
    def uncopied(self) -> dict[str, str]:
        """The types of attributes that cannot be copied, by their places; evaluations use the originals of these."""
        return self._copier.uncopied

    def attributes_in_run(self, name: str) -> Mapping[str, Any]:
        """Return the attributes that the submodule `name` has in the run, of which evaluations use copies."""
        return self._originals[name]

    def replace_attribute(self, name: str, attribute: str, value: Any) -> None:
        """Give the submodule `name` another `value` of `attribute`, beginning with the next `install_copies`."""
        self._replacements.setdefault(name, {})[attribute] = value

    def start(self) -> None:
        """Prepare for evaluations, once; `restore` undoes it.

        Gradients are enabled, and compiled modules run eagerly. The loggers and the profiler of the trainer are
        replaced by ones that do nothing. The gradients of the parameters, the hooks on these gradients, and the hooks
        that are registered for all optimizers are removed. The first copies are installed.
        """
        # In one statement: the setting changes as soon as `forced_eager` is called, and Ctrl-C may follow.
        self._contexts.enter_context(forced_eager())
        self._contexts.enter_context(torch.inference_mode(mode=False))
        self._contexts.enter_context(repeated_warnings_dropped())
        torch.set_grad_enabled(True)
        self._host.silence()
        for parameter, _, _ in self._gradients:
            parameter.grad = None
        for hooks, _ in self._hooks:
            hooks.clear()
        self.install_copies()

    def install_copies(self, training: Mapping[str, bool] = MappingProxyType({})) -> None:
        """Replace the attributes of all modules and of the user's classes by new copies of the originals.

        The learning rates and other values in parameter groups and the ``requires_grad`` flags become the original
        ones, and gradients are removed. `restore` puts the original attributes back.

        Args:
            training: the ``training`` flags of submodules by name; the others keep their original flag.
        """
        memo = self._copier.memo()
        copies = {}
        for name, original in self._originals.items():
            attributes = original | {key: self._copy(name, key, original[key], memo) for key in self._mutable[name]}
            if "training" in attributes:  # a compiled submodule has no flag of its own, but that of the module inside
                attributes["training"] = training.get(name, attributes["training"])
            copies[name] = attributes | self._replacements.get(name, {})
        self._other_attributes.install_copies(lambda value, where: self._copier.copy(value, memo, where))
        self._install(copies)

    def _copy(self, name: str, key: str, value: Any, memo: dict[int, Any]) -> Any:
        if key in _COPIED_SHALLOWLY:
            return value.copy() if hasattr(value, "copy") else value  # a TorchScript module has a view in its place
        if key in _BACKWARD_HOOKS:
            return type(value)()
        # The state of a metric may be a long list of tensors, to which updates only append.
        if type(value) is list and name in self._metrics:
            return value.copy()
        return self._copier.copy(value, memo, f"{name}.{key}" if name else key)

    def set_buffers(self, buffers: Mapping[str, Mapping[str, Tensor | None]]) -> None:
        """Replace buffers by copies of the given ones, until the next `install_copies`.

        Args:
            buffers: by the name of their submodule, then by their own name.
        """
        for name, values in buffers.items():
            copies = {key: None if value is None else value.clone() for key, value in values.items()}
            self.modules[name]._buffers.update(copies)

    def installed_copies(self) -> Copies:
        """Return the present copies, which the last evaluation may have changed, for `reinstall_copies`."""
        modules = {name: dict(module.__dict__) for name, module in self.modules.items()}
        return Copies(modules, self._other_attributes.in_use())

    def reinstall_copies(self, copies: Copies) -> None:
        """Replace the attributes by copies of an earlier evaluation, and otherwise do what `install_copies` does."""
        self._other_attributes.use(copies.other_attributes)
        self._install(copies.modules)

    def _install(self, copies: dict[str, Attributes]) -> None:
        self.weights.reshard()
        for name, module in self.modules.items():
            _set_items(module.__dict__, copies[name])
        for group, original in self._param_groups:
            _set_items(group, original)
        for parameter, _, requires_grad in self._gradients:
            parameter.grad = None
            _set_requires_grad(parameter, requires_grad)

    def restore(self) -> None:
        """Put every recorded object back in its place; a call that was interrupted can be repeated."""
        if self._restored:
            return
        self.weights.reshard()
        for name, module in self.modules.items():
            _set_items(module.__dict__, self._originals[name])
        self._other_attributes.restore()
        _set_items(self._host.attributes, self._host_attributes)
        for group, original in self._param_groups:
            _set_items(group, original)
        self.weights.restore()
        for parameter, grad, requires_grad in self._gradients:
            parameter.grad = grad
            _set_requires_grad(parameter, requires_grad)
        for hooks, original in self._hooks:
            _set_items(hooks, original)
        self._contexts.close()  # a second call does not exit a context twice
        self._torch_flags.restore()
        self._random_streams.restore()
        self._restored = True


@contextlib.contextmanager
def isolated(host: Host, weights: Weights) -> Iterator[Isolation]:
    """Let the module be evaluated at any weights in this context, and restore the run afterwards.

    Args:
        host: the run.
        weights: the parameters of its module.

    Yields:
        the isolation, which has been started
    """
    isolation = Isolation(host, weights)
    try:
        try:
            isolation.start()
            yield isolation
        finally:
            isolation.restore()
    finally:
        isolation.restore()  # completes the first call if Ctrl-C has interrupted it


def _set_items(dictionary: dict[Any, Any], items: dict[Any, Any]) -> None:
    """Replace all items of a dictionary in place, since other objects refer to the dictionary."""
    dictionary.clear()
    dictionary.update(items)


def _set_requires_grad(parameter: nn.Parameter, requires_grad: bool) -> None:  # noqa: FBT001 - the flag is the value
    if parameter.requires_grad != requires_grad:  # a lazy parameter without a shape refuses to be set
        parameter.requires_grad_(requires_grad)


def _gradient_hooks(weights: Weights) -> list[dict[Any, Any]]:
    """Return the dictionaries of hooks that run when a gradient of a parameter is computed or accumulated."""
    return [
        hooks
        for p in weights.parameters.values()
        for hooks in (p._backward_hooks, getattr(p, "_post_accumulate_grad_hooks", None))
        if hooks
    ]


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    """Take the place of a method with which a LightningModule logs or prints."""


def _never_copied(host: Host, weights: Weights) -> list[object]:
    """Return the objects to which the copies of attributes refer just as the originals do."""
    return [*host.never_copied(), *host.module.modules(), *weights.parameters.values()]


def _logger_substitutes(host: Host) -> list[tuple[object, object]]:
    """Return pairs of an object and its substitute in the copies, since a module may keep a logger in an attribute."""
    dummies = [(logger, DummyLogger()) for logger in host.loggers]
    return dummies + [(handle, dummy.experiment) for logger, dummy in dummies for handle in logger_handles(logger)]
