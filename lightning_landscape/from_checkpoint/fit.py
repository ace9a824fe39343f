"""Continue the fit of a checkpoint with a Trainer that logs, validates and writes nothing."""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer

from lightning_landscape.errors import LandscapeError
from lightning_landscape.from_checkpoint.loading import StoredRun
from lightning_landscape.surface import Params

NEVER = 2**62
"""a frequency at which a scheduler never steps"""


class RunFailedError(LandscapeError):
    """The run cannot be continued from its checkpoint; the message says why."""


def continue_fit(run: StoredRun, callback: Callback, *, steps: int) -> None:
    """Continue the fit on its own module until the callback stops it, with learning rates that stay as they are.

    Args:
        run: the run.
        callback: the only callback; those of the module are left out.
        steps: number of optimizer steps that the callback will need at most.

    Raises:
        LandscapeError: if the callback raises it.
        RunFailedError: if Lightning, the module or the data raise an error.
    """
    module, data = run.module, run.data
    batches = steps * int(run.trainer.get("accumulate_grad_batches", 1))
    module.configure_callbacks = list  # its callbacks would write files or stop the fit
    try:
        with quiet():
            trainer = Trainer(
                **{"accelerator": "auto", **run.trainer},
                devices=1,
                max_epochs=int(run.content.get("epoch", 0)) + batches + 2,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                limit_val_batches=0,
                num_sanity_val_steps=0,
                callbacks=[callback, _SchedulersAtRest()],
            )
            arguments: dict[str, Any] = {}
            if run.resumes:
                arguments["ckpt_path"] = str(run.path)
                if "weights_only" in inspect.signature(trainer.fit).parameters:
                    arguments["weights_only"] = not run.trusted
            else:
                module.load_state_dict(run.content["state_dict"])
            loaders = {"datamodule" if isinstance(data, LightningDataModule) else "train_dataloaders": data}
            trainer.fit(module, **loaders, **arguments)
    except LandscapeError:
        raise
    except Exception as error:  # the module and the data are the user's
        raise RunFailedError(
            f"training cannot be continued from {run.path}: {type(error).__name__}: {error}"
        ) from error
    finally:
        vars(module).pop("configure_callbacks", None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and messages of Lightning, and send what the user's code prints to standard error."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning_landscape")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _SchedulersAtRest(Callback):
    """Lets no scheduler of automatic optimization step, which could also need a validation metric that is not there."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the schedulers rest."""
        self._frequencies = [config.frequency for config in trainer.lr_scheduler_configs]
        for config in trainer.lr_scheduler_configs:
            config.frequency = NEVER

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore their frequencies."""
        for config, frequency in zip(trainer.lr_scheduler_configs, self._frequencies, strict=True):
            config.frequency = frequency


class Point:
    """The weights, buffers and optimizer states of a run at one step, to which it can be set back.

    Args:
        trainer: of the run.
        pl_module: the module that it trains.
    """

    def __init__(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer, self._module = trainer, pl_module
        self._tensors = {name: tensor.detach().clone() for name, tensor in _tensors(pl_module)}
        self._states = [copy.deepcopy(optimizer.state_dict()) for optimizer in trainer.optimizers]

    @torch.no_grad()
    def put_back(self) -> None:
        """Set the run back to this point."""
        for name, tensor in _tensors(self._module):
            if name in self._tensors:
                tensor.copy_(self._tensors[name])
        for optimizer, state in zip(self._trainer.optimizers, self._states, strict=True):
            optimizer.load_state_dict(copy.deepcopy(state))


@torch.no_grad()
def set_weights(pl_module: LightningModule, point: Params) -> bool:
    """Set the weights of a module to those of a point; return whether it has all of them in the same shapes."""
    weights = dict(pl_module.named_parameters())
    if any(name not in point or point[name].shape != weight.shape for name, weight in weights.items()):
        return False
    for name, weight in weights.items():
        weight.copy_(point[name])
    return True


def _tensors(pl_module: LightningModule) -> Iterator[tuple[str, torch.Tensor]]:
    yield from pl_module.named_parameters()
    yield from pl_module.named_buffers()
