"""Everything that is read of Lightning or torch without being promised by them: the place to mend for a new release.

How numbers are written for a logger has its own, `lightning_landscape.reporting._compat`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Callback as _Callback
from torch import Tensor

if TYPE_CHECKING:
    from lightning.pytorch.callbacks import Callback as Callback
else:
    # The other namespace's Trainer takes any callback in a list, but one without a list only of its own class. That
    # class is not imported for this: who uses the other namespace has imported it.
    _other = getattr(sys.modules.get("pytorch_lightning"), "Callback", _Callback)
    Callback = _Callback if issubclass(_Callback, _other) else type("Callback", (_Callback, _other), {})

TRAINERS = frozenset({"_trainer", "_fabric", "_fabric_optimizers", "_device_mesh", "_compiler_ctx"})
"""attributes in which a LightningModule keeps what belongs to its trainer"""

_NAMESPACES = ("lightning.pytorch.", "lightning.fabric.", "pytorch_lightning.", "lightning_fabric.")
_FRAMEWORKS = frozenset({"builtins", "torch", "lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics"})
_TRAINER_PACKAGES = frozenset({"trainer", "loops", "strategies", "accelerators", "plugins", "fabric", "connector"})


def is_part_of_a_trainer(kind: type) -> bool:
    """Whether objects of this class are a Trainer, or belong to one: its loops, strategy, connectors, plugins."""
    for base in kind.__mro__:
        for namespace in _NAMESPACES:
            if base.__module__.startswith(namespace):
                package = base.__module__.removeprefix(namespace).partition(".")[0]
                return package in _TRAINER_PACKAGES
    return False


def is_of_a_framework(kind: type) -> bool:
    """Whether the class is no user's but torch's, Lightning's or torchmetrics' (or `object`)."""
    return kind.__module__.partition(".")[0] in _FRAMEWORKS


def current_hook(pl_module: Any) -> str | None:
    """The hook that Lightning is running right now, such as ``"on_train_batch_end"``; None outside of hooks."""
    hook: str | None = getattr(pl_module, "_current_fx_name", None)
    return hook


def trainer_of(pl_module: Any) -> Any:
    """The trainer that the module is attached to, or None; `pl_module.trainer` would raise where there is none."""
    return getattr(pl_module, "_trainer", None)


def take_loggers(trainer: Any, stand_ins: Sequence[Any]) -> None:
    """Let the trainer log to these; by its own dict, since the setter of `loggers` may do more in another release."""
    if "_loggers" in vars(trainer):
        vars(trainer)["_loggers"] = list(stand_ins)
    else:
        trainer.loggers = list(stand_ins)


def logger_handles(logger: Any) -> list[object]:
    """What a logger writes to, where it was opened already; reading ``logger.experiment`` would open it."""
    names = ("_experiment", "_run", "_mlflow_client", "_run_instance")
    return [handle for handle in (vars(logger).get(name) for name in names) if handle is not None]


def strategy_lineage(strategy: Any) -> set[str]:
    """Names of a strategy's classes; by name, since the class exists once for each of the two namespaces."""
    return {kind.__name__ for kind in type(strategy).__mro__}


def forced_eager() -> contextlib.AbstractContextManager[Any]:
    """Run compiled modules eagerly, so that a probe neither compiles a graph nor uses up the recompile limit."""
    set_stance = getattr(torch.compiler, "set_stance", None)  # torch 2.6
    return contextlib.nullcontext() if set_stance is None else set_stance("force_eager")


def is_lightning_module(module: Any) -> bool:
    """Whether it logs and optimizes as a LightningModule does, of either namespace."""
    return hasattr(module, "automatic_optimization") and hasattr(module, "log_dict")


def logger_step(trainer: Any) -> int:
    """The x at which Lightning's loggers put a metric that is logged now.

    `global_step` counts every optimizer's steps and would run twice as fast as `train_loss` with two optimizers.
    """
    try:
        return int(trainer.fit_loop.epoch_loop._batches_that_stepped)
    except AttributeError:
        return int(trainer.global_step)


def state_of_renamed(callback: Callback, trainer: Any, states: Any) -> dict[str, Any] | None:
    """Return the state of the one callback of this class that had other settings and is not in the Trainer; or None.

    Lightning keeps states under a key that contains the settings, and a resumed run may have other settings.
    """
    if not isinstance(states, Mapping) or callback.state_key in states:
        return None
    present = {other.state_key for other in trainer.callbacks}
    kind = f"{type(callback).__qualname__}{{"
    others = [state for key, state in states.items() if str(key).startswith(kind) and key not in present]
    return others[0] if len(others) == 1 else None


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """All numbers as one new vector; what torch does so for DDP's buckets takes a third of the time of `torch.cat`."""
    vector: Tensor = torch._C._nn.flatten_dense_tensors(list(tensors))
    return vector


def whole(value: Tensor) -> Tensor:
    """The value itself, or over all ranks where it was computed from shards (FSDP2), of which each rank has its own."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def overrides(module: Any, method: str) -> bool:
    """Whether the module's class (or the module itself) replaces this method of LightningModule."""
    mine = getattr(type(module), method, None)
    bases = [base for base in type(module).__mro__ if base.__name__ == "LightningModule"]
    return method in vars(module) or any(getattr(base, method, None) is not mine for base in bases)
