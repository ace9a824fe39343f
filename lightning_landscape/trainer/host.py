"""`Host`: what a monitor asks of a training run, whatever training loop runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch.optim import Optimizer

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule
    from lightning.pytorch.loggers.logger import Logger
    from torch.optim.lr_scheduler import LRScheduler

    from lightning_landscape.trainer.schedules import SchedulerConfig

T = TypeVar("T")


class Host(Protocol):
    """A training run: its module and optimizers, its settings, its ranks, and the few things that a monitor changes.

    `LightningHost` implements it for a Trainer; a class for another training loop would implement it as well.
    """

    @property
    def module(self) -> LightningModule:
        """The module that is trained."""
        ...

    @property
    def optimizers(self) -> Sequence[Optimizer]:
        """The optimizers that step during the run."""
        ...

    @property
    def schedulers(self) -> Sequence[LRScheduler]:
        """The learning-rate schedulers."""
        ...

    @property
    def scheduler_configs(self) -> Sequence[SchedulerConfig]:
        """The learning-rate schedulers with the settings that say when they are stepped."""
        ...

    @property
    def steps_per_epoch(self) -> float | None:
        """Number of optimizer steps in an epoch; None where it is unknown."""
        ...

    @property
    def automatic_optimization(self) -> bool:
        """Whether the training loop calls backward and steps the optimizers."""
        ...

    @property
    def batches_per_step(self) -> int:
        """Number of batches whose gradients are now accumulated for one optimizer step."""
        ...

    @property
    def changes_gradients(self) -> bool:
        """Whether gradients are clipped, or changed by the user, between backward and step."""
        ...

    @property
    def gradient_clip(self) -> tuple[float, str] | None:
        """The clipping threshold and "norm" or "value"; None where the training loop does not clip."""
        ...

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The loss scaler of 16-bit training; None where there is none or it is switched off."""
        ...

    @property
    def step(self) -> int:
        """The x at which loggers put a metric that is logged now."""
        ...

    @property
    def log_every_n_steps(self) -> int:
        """Steps between two values in the loggers; 0 for none."""
        ...

    @property
    def loggers(self) -> Sequence[Logger]:
        """The run's loggers."""
        ...

    @property
    def hook(self) -> str | None:
        """The hook that is running now, such as "on_train_batch_end"; None outside of hooks."""
        ...

    @property
    def is_training(self) -> bool:
        """Whether the run trains now, and does not validate, test or predict."""
        ...

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        ...

    @property
    def is_first_rank(self) -> bool:
        """Whether this is rank 0, the only one that logs and warns."""
        ...

    @property
    def device(self) -> torch.device:
        """The device on which this rank trains."""
        ...

    @property
    def strategy_names(self) -> frozenset[str]:
        """Names of the classes of the distributed strategy, such as "DDPStrategy"."""
        ...

    @property
    def should_stop(self) -> bool:
        """Whether the run is going to end after this step."""
        ...

    def stop(self) -> None:
        """Ask the run to end after this step."""
        ...

    def horizon(self, past: int) -> int | None:
        """Return the number of optimizer steps of the whole run without the first `past`; None where it is unknown."""
        ...

    def publish(self, values: Mapping[str, float]) -> None:
        """Make values available to other callbacks, such as `EarlyStopping`, under their names."""
        ...

    def from_first_rank(self, value: T) -> T:
        """Return the value of rank 0 on every rank."""
        ...

    def mean_over_ranks(self, numbers: Sequence[float]) -> list[float]:
        """Return the mean of each number over the ranks, the same on every rank."""
        ...

    def is_true_on_every_rank(self, vote: bool) -> bool:  # noqa: FBT001 - the argument is the vote
        """Return whether `vote` is True on all ranks."""
        ...

    def train_step_context(self) -> AbstractContextManager[Any]:
        """Return the context in which training steps run, such as autocast."""
        ...

    def never_copied(self) -> list[object]:
        """Return the objects of the training loop that a copy of the module must share, not copy."""
        ...

    def silence(self) -> None:
        """Replace the loggers and the profiler by ones that do nothing, until `attributes` are restored."""
        ...

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the training loop, which are restored after a probe."""
        ...
