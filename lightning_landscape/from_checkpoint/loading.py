"""A checkpoint of Lightning with the module and the data that belong to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.data import AttributeDict

from lightning_landscape._text import listed
from lightning_landscape.checkpoints import read_content, read_weights
from lightning_landscape.errors import CheckpointError
from lightning_landscape.surface import Params
from lightning_landscape.trainer._compat import overrides

BY_LIGHTNING_CLI = "_instantiator"
"""key of the name of a function in the hyperparameters that `LightningCLI` stores; Lightning would call it"""


@dataclass(frozen=True)
class StoredRun:
    """A run that can be continued from a checkpoint, on a copy."""

    path: Path
    """of the checkpoint"""
    content: Mapping[str, Any]
    """what the checkpoint holds"""
    module: Any
    """a new LightningModule of the class that was trained, with new initial weights"""
    data: Any
    """a LightningDataModule, or the training batches as any iterable"""
    trainer: Mapping[str, Any] = field(default_factory=dict)
    """arguments of the Trainer that change a training step, such as `precision` and `accumulate_grad_batches`"""
    horizon: int | None = None
    """number of optimizer steps of the whole run; None if it is unknown"""
    trusted: bool = False
    """whether the checkpoint may hold objects that execute code when they are read"""
    initial: Params = field(default_factory=dict)
    """the weights of `module` as its constructor drew them, by name"""

    @property
    def step(self) -> int:
        """Number of optimizer steps before the checkpoint."""
        return int(self.content.get("global_step", 0))

    @property
    def resumes(self) -> bool:
        """Whether the checkpoint holds the states of the optimizers, so that Lightning can resume from it."""
        return "optimizer_states" in self.content and "loops" in self.content

    @property
    def monitor_state(self) -> Mapping[str, Any] | None:
        """The state of the run's own `LandscapeMonitor`; None if it had none."""
        states = self.content.get("callbacks") or {}
        return next((state for key, state in states.items() if str(key).startswith("LandscapeMonitor{")), None)


def stored_run(
    path: Path,
    make_module: Callable[..., Any],
    data: Any,
    *,
    arguments: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    horizon: int | None = None,
    seed: int = 0,
    trusted: bool = False,
) -> StoredRun:
    """Return the run of a checkpoint; its module has the stored hyperparameters and new initial weights.

    Args:
        path: a checkpoint that Lightning has written.
        make_module: the LightningModule class, or a function that returns a module.
        data: a LightningDataModule, or the training batches as any iterable.
        arguments: of `make_module`, in place of the stored hyperparameters of the same names.
        trainer: arguments of the Trainer that change a training step.
        horizon: number of optimizer steps of the whole run; None if it is unknown.
        seed: of the random numbers that draw the initial weights.
        trusted: whether the checkpoint may hold objects that execute code when they are read.

    Raises:
        CheckpointError: if the file cannot be used, or belongs to another module.
    """
    content = _trusted_content(path) if trusted else read_content(path)
    if not isinstance(content, Mapping) or "pytorch-lightning_version" not in content:
        raise CheckpointError(f"{path} was not written by Lightning, so nothing is known of its run but its weights")
    torch.manual_seed(seed)
    module = _new_module(path, make_module, content, dict(arguments or {}), trusted=trusted)
    initial = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    if not overrides(module, "configure_model") and not overrides(module, "on_load_checkpoint"):
        _require_same_model(path, module, trusted=trusted, content=content)
    return StoredRun(path, content, module, data, trainer or {}, horizon, trusted, initial)


def _trusted_content(path: Path) -> Any:
    """Return the object in a checkpoint file, which may execute code when it is read.

    Raises:
        CheckpointError: if the file cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a damaged file, or code in it, may raise any error
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {type(error).__name__}: {error}") from error


def _new_module(
    path: Path, make: Callable[..., Any], content: Mapping[str, Any], arguments: dict[str, Any], *, trusted: bool
) -> Any:
    """Return a new module with these arguments and the stored hyperparameters.

    Raises:
        CheckpointError: if arguments are missing, or the module cannot be created.
    """
    stored = dict(content.get("hyper_parameters") or {})
    if BY_LIGHTNING_CLI in stored and not trusted and isinstance(make, type):
        stored = {name: value for name, value in stored.items() if not _names_a_class(value)}
    name = getattr(make, "__name__", str(make))
    parameters = inspect.signature(make).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if unknown := [given for given in arguments if given not in parameters and not takes_any]:
        known = listed(list(parameters)) or "none"
        raise CheckpointError(f"{name} has no argument {listed(unknown)}; its arguments are {known}")
    if not isinstance(make, type):
        stored = {}  # the hyperparameters are those of the class
    wanted = {**_as_arguments(stored, str(content.get("hparams_name")), parameters), **arguments}
    missing = [p.name for p in parameters.values() if _is_required(p) and p.name not in wanted]
    if missing:
        raise CheckpointError(
            f"{name} needs the argument{'s' * (len(missing) > 1)} {listed(missing)}, which {path} does not hold; give "
            f"{' '.join(f'--init {argument}=VALUE' for argument in missing)}, or call self.save_hyperparameters() in "
            "the constructor before training"
        )
    try:
        module = make(**wanted)
    except Exception as error:  # the user's constructor may raise any exception
        raise CheckpointError(f"{name} cannot be created: {type(error).__name__}: {error}") from error
    if not hasattr(module, "training_step"):  # a LightningModule of either namespace has it
        raise CheckpointError(f"{name} returns a {type(module).__name__}, not a LightningModule")
    return module


def _as_arguments(stored: dict[str, Any], name: str, parameters: Mapping[str, inspect.Parameter]) -> dict[str, Any]:
    """Return the stored hyperparameters as arguments; `name` is that of the one argument that held all of them."""
    if name in parameters and name not in stored and stored:
        return stored if parameters[name].kind is inspect.Parameter.VAR_KEYWORD else {name: AttributeDict(stored)}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return stored
    return {key: value for key, value in stored.items() if key in parameters}


def _names_a_class(value: object) -> bool:
    """Return whether a stored hyperparameter names a class that `LightningCLI` would import and create."""
    return isinstance(value, Mapping) and "class_path" in value


def _is_required(parameter: inspect.Parameter) -> bool:
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variable


def _require_same_model(path: Path, module: Any, *, trusted: bool, content: Mapping[str, Any]) -> None:
    """Check that the checkpoint has all parameters of the module, in the same shapes.

    Raises:
        CheckpointError: if it does not; the message names the first differences.
    """
    weights = dict(module.named_parameters())
    if not trusted:
        read_weights(path, weights)
        return
    stored = content.get("state_dict", {})
    if wrong := [name for name, weight in weights.items() if getattr(stored.get(name), "shape", None) != weight.shape]:
        raise CheckpointError(f"{path} belongs to another model: {listed(wrong[:3])} differ in name or shape")
