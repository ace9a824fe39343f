"""What is read of Lightning beyond its public interface, in one place, each with a public fallback."""

from __future__ import annotations

from typing import Any


def logger_step(trainer: Any) -> int:
    """The x at which Lightning's loggers put a metric that is logged now.

    `global_step` counts every optimizer's steps and would run twice as fast as `train_loss` with two optimizers.
    """
    epoch_loop = getattr(trainer.fit_loop, "epoch_loop", None)
    return int(getattr(epoch_loop, "_batches_that_stepped", trainer.global_step))


def overrides(module: Any, method: str) -> bool:
    """Whether the module's class (or the module itself) replaces this method of LightningModule."""
    mine = getattr(type(module), method, None)
    bases = [base for base in type(module).__mro__ if base.__name__ == "LightningModule"]
    return method in vars(module) or any(getattr(base, method, None) is not mine for base in bases)
