"""Go on from a checkpoint with other settings, on a copy, and compare that with going on as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch.optim import Optimizer
from torch.utils.data import DataLoader, IterableDataset

from lightning_landscape.evidence import Course, WhatIf
from lightning_landscape.from_checkpoint.fit import RunFailedError, continue_fit, quiet
from lightning_landscape.from_checkpoint.loading import StoredRun
from lightning_landscape.functional.interpolation import interpolate
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import module_surface

MEASUREMENTS = 10
"""number of measurements of the held-out loss in the course of the steps, besides the one before them"""
AS_IT_IS = "going on as it is"


@dataclass(frozen=True)
class Change:
    """Settings of the training that are tried; None for those that stay as they are."""

    learning_rate: float | None = None
    """the largest learning rate of all parameter groups; the others keep their ratio to it"""
    optimizer: str | None = None
    """name of a class in `torch.optim`, which begins with an empty state"""
    batch_size: int | None = None

    def words(self) -> str:
        """Return the change in words."""
        parts = [
            f"learning rate {self.learning_rate:g}" if self.learning_rate is not None else "",
            self.optimizer or "",
            f"batch size {self.batch_size}" if self.batch_size is not None else "",
        ]
        return ", ".join(filter(None, parts))


def what_if(
    make_run: Callable[[], StoredRun], change: Change, *, steps: int = 200, batches: int = 8, seed: int = 0
) -> WhatIf:
    """Train two copies from a checkpoint for some steps, one as it is and one with a change, and return their losses.

    Both losses are taken on the same batches, which are drawn from the training loader before the steps; in evaluation
    mode, with BatchNorm statistics collected anew. Learning rates stay as they are at the checkpoint.

    Args:
        make_run: returns the run, a new one at each call.
        change: what is tried.
        steps: number of optimizer steps.
        batches: number of batches of the measurements.
        seed: of the random numbers, for both copies.

    Raises:
        RunFailedError: if a run cannot be continued, its data end too soon, or the change cannot be made.
    """
    torch.manual_seed(seed + 1)
    held_out = _first_batches(make_run(), batches)
    courses: list[Course] = []
    for name, changed in ((AS_IT_IS, Change()), (change.words(), change)):
        run = make_run()
        if changed.batch_size is not None:
            run = replace(run, data=_resized(run.data, changed.batch_size))
        trial = _Trial(changed, steps, held_out, seed)
        continue_fit(run, trial, steps=steps + 1)
        if trial.taken < steps:
            raise RunFailedError(f"only {trial.taken} of {steps} steps could be taken; give a longer training loader")
        courses.append(Course(name, tuple(trial.at), tuple(trial.losses), tuple(trial.last)))
    return WhatIf(courses[0], courses[1], run.step)


def _first_batches(run: StoredRun, count: int) -> list[Any]:
    """Return the first batches of the training data.

    Raises:
        RunFailedError: if the data cannot be loaded, or have no batch.
    """
    data = run.data
    try:
        with quiet():
            if isinstance(data, LightningDataModule):
                data.prepare_data()
                data.setup("fit")
                data = data.train_dataloader()
            batches = list(islice(data, count))
    except Exception as error:  # the data are the user's
        raise RunFailedError(f"the training data cannot be loaded: {type(error).__name__}: {error}") from error
    if not batches:
        raise RunFailedError("the training data have no batch")
    return batches


class _Trial(Callback):
    """Changes the settings at the start of a fit, measures the held-out loss now and then, and ends the fit.

    Args:
        change: the settings.
        steps: number of optimizer steps.
        batches: the held-out batches.
        seed: of the random numbers.
    """

    def __init__(self, change: Change, steps: int, batches: Sequence[Any], seed: int) -> None:
        self.change, self.steps, self.batches, self.seed = change, steps, batches, seed
        self.at: list[int] = []
        """numbers of steps after which the loss was measured"""
        self.losses: list[float] = []
        self.last: list[float] = []
        """losses of the single batches at the last measurement"""
        self.taken = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Capture the held-out batches, and make the change."""
        self._captured = ProbeSet(2 * len(self.batches), max_bytes=2**62)
        for i, batch in enumerate(self.batches):
            moved = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch), dataloader_idx=0)
            for _ in range(2):  # a surface measures on every second batch only
                self._captured.capture(pl_module, moved, i)
        trainable = ((name, p) for name, p in pl_module.named_parameters() if p.requires_grad)
        self._start = {name: weight.detach().clone() for name, weight in trainable}
        self._first = trainer.global_step
        self._change_optimizers(trainer)
        torch.manual_seed(self.seed)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Count the step, measure the loss if that is due, and end the fit after the last step."""
        before, self.taken = self.taken, trainer.global_step - self._first
        if self.taken == before:
            return
        if not self.at or self.taken % max(1, self.steps // MEASUREMENTS) == 0 or self.taken >= self.steps:
            self._measure(trainer, pl_module)
        trainer.should_stop = trainer.should_stop or self.taken >= self.steps

    @torch.no_grad()
    def _measure(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the present loss; the first time also that before the first step."""
        with module_surface(trainer, pl_module, self._captured, anchors={"start": self._start}, mode="eval") as surface:
            if not self.at:
                start = interpolate(surface.anchors["start"], surface.here, 0.0)
                self._add(0, [float(loss(start)) for loss in surface.batch_losses])
            if self.taken % max(1, self.steps // MEASUREMENTS) == 0 or self.taken >= self.steps:
                self._add(self.taken, [float(loss(surface.here)) for loss in surface.batch_losses])

    def _add(self, taken: int, losses: list[float]) -> None:
        self.at.append(taken)
        self.losses.append(sum(losses) / len(losses))
        self.last = losses

    def _change_optimizers(self, trainer: Trainer) -> None:
        """Make the change of the optimizer and of the learning rate.

        Raises:
            RunFailedError: if the optimizer is unknown, or there are several.
        """
        if self.change.learning_rate is None and self.change.optimizer is None:
            return
        if len(trainer.optimizers) != 1:
            raise RunFailedError(f"settings are tried for one optimizer, and this run has {len(trainer.optimizers)}")
        optimizer = trainer.optimizers[0]
        if self.change.optimizer is not None:
            optimizer = _other_optimizer(self.change.optimizer, optimizer)
            trainer.strategy.optimizers = [optimizer]
        if self.change.learning_rate is not None:
            largest = max(float(group["lr"]) for group in optimizer.param_groups)
            for group in optimizer.param_groups:
                ratio = float(group["lr"]) / largest if largest > 0 else 1.0
                group["lr"] = self.change.learning_rate * ratio


def _other_optimizer(name: str, old: Optimizer) -> Optimizer:
    """Return a new optimizer of this class with the parameter groups, learning rates and weight decays of another.

    Raises:
        RunFailedError: if `torch.optim` has no such class, or it cannot be created.
    """
    kind = getattr(torch.optim, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Optimizer)) or kind is Optimizer:
        known = [n for n, k in vars(torch.optim).items() if isinstance(k, type) and issubclass(k, Optimizer)]
        raise RunFailedError(f"torch.optim has no optimizer {name!r}; it has {', '.join(sorted(set(known)))}")
    groups = [
        {"params": group["params"], "lr": group["lr"], "weight_decay": group.get("weight_decay", 0.0)}
        for group in old.param_groups
    ]
    make: Callable[..., Optimizer] = kind
    try:
        return make(groups)
    except Exception as error:  # torch's own, for arguments that this class does not have
        raise RunFailedError(f"{name} cannot take the place of {type(old).__name__}: {error}") from error


def _resized(data: Any, batch_size: int) -> Any:
    """Return training data whose loader makes batches of another size, of samples that the same sampler draws.

    Raises:
        RunFailedError: if it is no DataLoader that makes the batches itself.
    """
    if isinstance(data, LightningDataModule):
        original = data.train_dataloader
        # Of the user's own DataModule, all but the size of its batches stays.
        data.train_dataloader = lambda: _resized(original(), batch_size)  # type: ignore[method-assign]
        return data
    if not isinstance(data, DataLoader) or data.batch_size is None:
        raise RunFailedError("--batch-size needs a training DataLoader that makes the batches itself")
    return DataLoader(
        data.dataset,
        batch_size=batch_size,
        sampler=None if isinstance(data.dataset, IterableDataset) else data.sampler,
        collate_fn=data.collate_fn,
        num_workers=data.num_workers,
        drop_last=data.drop_last,
    )
