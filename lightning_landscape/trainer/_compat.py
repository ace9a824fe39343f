"""What neither Lightning nor torch documents and this library uses: the file to correct for a new release of them.

Each private attribute is named with the reason why no public one serves. Those of loggers that only the reports use are
in `lightning_landscape.reporting._compat`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.optim.optimizer as torch_optimizer
from lightning.pytorch.callbacks import Callback as _Callback
from torch import Tensor, nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import Callback as Callback
    from lightning.pytorch.loggers.logger import Logger
    from lightning.pytorch.strategies import Strategy
    from torch.optim.lr_scheduler import LRScheduler
else:
    # A Trainer of `pytorch_lightning` takes a single callback, outside a list, only if its class is of that namespace.
    # That class is not imported for this, since a user of that namespace has imported it.
    _other = getattr(sys.modules.get("pytorch_lightning"), "Callback", _Callback)
    Callback = _Callback if issubclass(_Callback, _other) else type("Callback", (_Callback, _other), {})

TRAINERS = frozenset({"_trainer", "_fabric", "_fabric_optimizers", "_device_mesh", "_compiler_ctx"})
"""attributes of a LightningModule that refer to its trainer; they are found by name, since a private copy of the
module's attributes must leave them out, and no public list of them exists"""

_NAMESPACES = ("lightning.pytorch.", "lightning.fabric.", "pytorch_lightning.", "lightning_fabric.")
_FRAMEWORKS = frozenset({"builtins", "torch", "lightning", "pytorch_lightning", "lightning_fabric", "torchmetrics"})
_TRAINER_PACKAGES = frozenset({"trainer", "loops", "strategies", "accelerators", "plugins", "fabric", "connector"})
_LOGGER_HANDLES = ("_experiment", "_run", "_mlflow_client", "_run_instance")


def is_part_of_a_trainer(kind: type) -> bool:
    """Return whether the class is that of a Trainer or of a part of it, such as a loop, strategy or plugin."""
    for base in kind.__mro__:
        for namespace in _NAMESPACES:
            if base.__module__.startswith(namespace):
                package = base.__module__.removeprefix(namespace).partition(".")[0]
                return package in _TRAINER_PACKAGES
    return False


def is_of_a_framework(kind: type) -> bool:
    """Return whether the class is of torch, Lightning, torchmetrics or Python's builtins, and not of the user."""
    return kind.__module__.partition(".")[0] in _FRAMEWORKS


def current_hook(pl_module: nn.Module) -> str | None:
    """Return the name of the hook that is running, such as "on_train_batch_end"; None outside of hooks.

    Lightning keeps it in `_current_fx_name` of the module, for `self.log`, and has no public name for it.
    """
    hook: str | None = getattr(pl_module, "_current_fx_name", None)
    return hook


def trainer_of(pl_module: nn.Module) -> Trainer | None:
    """Return the trainer that the module is attached to, or None.

    It is read from `_trainer`, since the public `pl_module.trainer` raises an error without a trainer.
    """
    trainer: Trainer | None = getattr(pl_module, "_trainer", None)
    return trainer


def take_loggers(trainer: Trainer, stand_ins: Sequence[Logger]) -> None:
    """Replace the trainer's loggers by these.

    They are written to `_loggers`, since the public setter may do more in another release than `vars` can undo.
    """
    if "_loggers" in vars(trainer):
        vars(trainer)["_loggers"] = list(stand_ins)
    else:
        trainer.loggers = list(stand_ins)


def logger_handles(logger: Logger) -> list[object]:
    """Return the objects that a logger writes to, if it has created them already.

    They are read from `_LOGGER_HANDLES`, since reading the public `logger.experiment` would create them.
    """
    return [handle for handle in (vars(logger).get(name) for name in _LOGGER_HANDLES) if handle is not None]


def strategy_lineage(strategy: Strategy) -> set[str]:
    """Return the names of the strategy's classes; each class exists once in each of Lightning's two namespaces."""
    return {kind.__name__ for kind in type(strategy).__mro__}


def forced_eager() -> contextlib.AbstractContextManager[Any]:
    """Return a context in which compiled modules run eagerly: a probe compiles no graph and causes no recompilation."""
    set_stance = getattr(torch.compiler, "set_stance", None)  # torch 2.6
    return contextlib.nullcontext() if set_stance is None else set_stance("force_eager")


def is_lightning_module(module: nn.Module) -> bool:
    """Return whether the module has the methods of a LightningModule of either namespace."""
    return hasattr(module, "automatic_optimization") and hasattr(module, "log_dict")


def logger_step(trainer: Trainer) -> int:
    """Return the x at which Lightning's loggers put a metric that is logged now.

    That is `_batches_that_stepped`. The public `global_step` counts the steps of all optimizers, so with two of them it
    grows twice as fast as the x of `train_loss`.
    """
    try:
        return int(trainer.fit_loop.epoch_loop._batches_that_stepped)
    except AttributeError:
        return int(trainer.global_step)


def logged_metrics(trainer: Trainer) -> Mapping[str, Any]:
    """Return the latest value of each logged metric, without computing one.

    They are read from `_callback_metrics` of the connector, since reading the public `callback_metrics` computes the
    metrics of the epoch at that moment, and may wait for other ranks.
    """
    found: Mapping[str, Any] | None = getattr(trainer._logger_connector, "_callback_metrics", None)
    return trainer.callback_metrics if found is None else found


def state_of_renamed(callback: Callback, trainer: Trainer, states: object) -> dict[str, Any] | None:
    """Return the state of the one callback of this class that had other settings and is not in the Trainer; or None.

    Lightning keeps states under a key that contains the settings, and a resumed run may have other settings.
    """
    if not isinstance(states, Mapping) or callback.state_key in states:
        return None
    # A connector of Lightning sets `callbacks`, so mypy does not see it.
    present = {other.state_key for other in trainer.callbacks}  # type: ignore[attr-defined]
    kind = f"{type(callback).__qualname__}{{"
    others = [state for key, state in states.items() if str(key).startswith(kind) and key not in present]
    return others[0] if len(others) == 1 else None


def overrides(module: nn.Module, method: str) -> bool:
    """Return whether the module, or its class, replaces this method of LightningModule."""
    own = getattr(type(module), method, None)
    bases = [base for base in type(module).__mro__ if base.__name__ == "LightningModule"]
    return method in vars(module) or any(getattr(base, method, None) is not own for base in bases)


def unscales_gradients(optimizer: Optimizer) -> bool:
    """Return whether the optimizer's own step unscales the gradients, as fused optimizers do.

    `GradScaler` finds this in `_step_supports_amp_scaling` as well; there is no public attribute.
    """
    return getattr(optimizer, "_step_supports_amp_scaling", False)


def inner_schedulers(scheduler: LRScheduler) -> list[LRScheduler]:
    """Return the schedulers that a `SequentialLR` or `ChainedScheduler` consists of, which only `_schedulers` holds."""
    return list(getattr(scheduler, "_schedulers", None) or ())


def milestones_of(scheduler: LRScheduler) -> Sequence[int]:
    """Return the steps at which a `SequentialLR` goes on to its next scheduler, which only `_milestones` holds."""
    return getattr(scheduler, "_milestones", None) or ()


def one_cycle_warmup(scheduler: LRScheduler) -> float | None:
    """Return the number of steps in which a `OneCycleLR` raises the rate, which only `_schedule_phases` holds."""
    phases = getattr(scheduler, "_schedule_phases", ())
    return float(phases[0]["end_step"]) if phases else None


def hooks_of_all_optimizers() -> list[dict[Any, Any]]:
    """Return the dictionaries of the hooks that run in every optimizer's step, including those of copies.

    `register_optimizer_step_post_hook` adds to them; torch has no public way to switch its hooks off for a while.
    """
    return [torch_optimizer._global_optimizer_pre_hooks, torch_optimizer._global_optimizer_post_hooks]


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Return all elements of these tensors as one new vector.

    torch's own function for the buckets of DDP takes a third of the time of the public `torch.cat` here.
    """
    vector: Tensor = torch._C._nn.flatten_dense_tensors(list(tensors))
    return vector


def version_of(tensor: Tensor) -> int:
    """Return how often the tensor was changed in place; only the private `_version` says that."""
    return int(tensor._version)


def full_tensor(value: Tensor) -> Tensor:
    """Return a value that was computed from sharded tensors (FSDP2) over all ranks; any other value is unchanged."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


def local_shard(tensor: Tensor) -> Tensor:
    """Return the part of a tensor that this rank holds: all of it, unless the tensor is sharded (FSDP2)."""
    detached = tensor.detach()
    return detached.to_local() if hasattr(detached, "to_local") else detached


def sharded_as(present: Any, local: Tensor) -> Tensor:
    """Return a tensor that is sharded as `present`, of which this rank holds `local`; `local` if `present` is not."""
    if not hasattr(present, "to_local"):
        return local
    sharded: Tensor = type(present).from_local(
        local,
        present.device_mesh,
        present.placements,
        run_check=False,
        shape=present.shape,
        stride=present.stride(),
    )
    return sharded


def shard_of(whole: Tensor, present: Any) -> Tensor:
    """Return the values `whole`, which all ranks hold, sharded as `present` (FSDP2); `whole` if `present` is not."""
    if not hasattr(present, "to_local"):
        return whole
    from torch.distributed.tensor import distribute_tensor  # torch without `distributed` lacks it

    sharded: Tensor = distribute_tensor(whole, present.device_mesh, present.placements)
    return sharded
