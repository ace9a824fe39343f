"""`LightningHost`: a Lightning Trainer and its module as a `Host`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.profilers import PassThroughProfiler
from torch.optim import Optimizer

from lightning_landscape.trainer._compat import current_hook, logger_step, overrides, strategy_lineage, take_loggers

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers.logger import Logger
    from torch.optim.lr_scheduler import LRScheduler

    from lightning_landscape.trainer.schedules import SchedulerConfig

T = TypeVar("T")


class LightningHost:
    """A run of a Trainer, for a monitor; `Host` documents each member.

    Args:
        trainer: the trainer, while it fits the module.
        pl_module: the module that is trained.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer, self.module = trainer, pl_module

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        return self._trainer.optimizers

    @property
    def schedulers(self) -> Sequence[LRScheduler]:
        return [config.scheduler for config in self._trainer.lr_scheduler_configs]

    @property
    def scheduler_configs(self) -> Sequence[SchedulerConfig]:
        return self._trainer.lr_scheduler_configs

    @property
    def steps_per_epoch(self) -> float | None:
        steps = self._trainer.num_training_batches / max(1, self.batches_per_step)
        return steps if 0 < steps < math.inf else None

    @property
    def automatic_optimization(self) -> bool:
        return bool(self.module.automatic_optimization)

    @property
    def batches_per_step(self) -> int:
        return self._trainer.accumulate_grad_batches

    @property
    def changes_gradients(self) -> bool:
        return bool(self._trainer.gradient_clip_val) or overrides(self.module, "configure_gradient_clipping")

    @property
    def gradient_clip(self) -> tuple[float, str] | None:
        value, algorithm = self._trainer.gradient_clip_val, self._trainer.gradient_clip_algorithm
        return (float(value), "value" if algorithm == "value" else "norm") if value else None

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        scaler = getattr(self._trainer.precision_plugin, "scaler", None)
        return scaler if scaler is not None and scaler.is_enabled() else None

    @property
    def step(self) -> int:
        return logger_step(self._trainer)

    @property
    def log_every_n_steps(self) -> int:
        # A connector of Lightning sets this attribute, and `callbacks` below, so mypy does not see either.
        return self._trainer.log_every_n_steps  # type: ignore[attr-defined, no-any-return]

    @property
    def loggers(self) -> Sequence[Logger]:
        return self._trainer.loggers

    @property
    def hook(self) -> str | None:
        return current_hook(self.module)

    @property
    def is_training(self) -> bool:
        return self._trainer.training and not self._trainer.sanity_checking

    @property
    def world_size(self) -> int:
        return self._trainer.world_size

    @property
    def is_first_rank(self) -> bool:
        return self._trainer.is_global_zero

    @property
    def device(self) -> torch.device:
        return self._trainer.strategy.root_device

    @property
    def strategy_names(self) -> frozenset[str]:
        return frozenset(strategy_lineage(self._trainer.strategy))

    @property
    def should_stop(self) -> bool:
        return self._trainer.should_stop

    def stop(self) -> None:
        self._trainer.should_stop = True

    def horizon(self, past: int) -> int | None:
        try:
            steps = float(self._trainer.estimated_stepping_batches)
        except Exception:
            # Accumulation changes between epochs, or the data loader raises an error, which training then raises, too.
            return None
        if self._trainer.max_steps > 0:  # the limit of the steps of all optimizers together
            most = self._trainer.max_steps / max(1, len(self.optimizers))
            steps = min(steps, most) if steps > 0 else most
        left = steps - past
        return int(left) if math.isfinite(left) and left >= 1 else None

    def publish(self, values: Mapping[str, float]) -> None:
        tensors = torch.tensor(list(values.values())).unbind()
        self._trainer.callback_metrics.update(zip(values, tensors, strict=True))

    def from_first_rank(self, value: T) -> T:
        return value if self.world_size == 1 else self._trainer.strategy.broadcast(value)

    def mean_over_ranks(self, numbers: Sequence[float]) -> list[float]:
        if self.world_size == 1:
            return list(numbers)
        values = torch.tensor(list(numbers), device=self.device)
        means: list[float] = self._trainer.strategy.reduce(values, reduce_op="mean").tolist()
        return means

    def is_true_on_every_rank(self, vote: bool) -> bool:  # noqa: FBT001 - the argument is the vote
        if self.world_size == 1:
            return vote
        votes = torch.tensor(float(vote), device=self.device)
        return int(self._trainer.strategy.reduce(votes, reduce_op="sum")) == int(self.world_size)

    def train_step_context(self) -> AbstractContextManager[Any]:
        return self._trainer.precision_plugin.train_step_context()

    def never_copied(self) -> list[object]:
        trainer = self._trainer
        return [
            trainer,
            *(value for value in vars(trainer).values() if hasattr(value, "__dict__")),
            *trainer.optimizers,
            *trainer.callbacks,  # type: ignore[attr-defined]
            trainer.strategy,
            trainer.strategy.model,
            trainer.precision_plugin,
            trainer.train_dataloader,
            getattr(trainer, "datamodule", None),
            *self.schedulers,
        ]

    def silence(self) -> None:
        take_loggers(self._trainer, [DummyLogger() for _ in self._trainer.loggers])
        vars(self._trainer)["profiler"] = PassThroughProfiler()

    @property
    def attributes(self) -> dict[str, Any]:
        return vars(self._trainer)
