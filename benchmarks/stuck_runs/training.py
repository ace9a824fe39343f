"""Train a run with Lightning's Trainer, or step by step without it; both give the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning.pytorch as pl
import torch
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset

from benchmarks.stuck_runs.problem import Batch, Problem

EPOCH = 100
"""optimizer steps in an epoch"""


class Batches(IterableDataset):
    """The batches of a run, as a data set with epochs of `EPOCH` optimizer steps."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem = problem
        self.generator, self.drawn = Generator().manual_seed(10_000 + seed), 0

    def __len__(self) -> int:
        return EPOCH * self.problem.accumulate

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(len(self)):
            yield self.draw()

    def draw(self) -> Batch:
        """Draw the next batch."""
        self.drawn += 1
        return self.problem.batch(self.generator, (self.drawn - 1) // self.problem.accumulate)


class EndlessEpoch(IterableDataset):
    """The same batches in one epoch without an end, so that the length of the run is unknown."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Batch]:
        while True:
            yield self.batches.draw()


class Module(pl.LightningModule):
    """A LightningModule that trains a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.model = problem.model
        self.problem = [problem]  # in a list, so that `optimized_module` does not become a submodule

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Call the hook of the problem before the first batch of an optimizer step."""
        (problem,) = self.problem
        if problem.before_step is not None and batch_idx % problem.accumulate == 0:
            problem.before_step(self.trainer.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        x, y = batch
        loss = self.problem[0].loss(self.model(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> Any:
        """Return the optimizer and the schedule of the problem."""
        (problem,) = self.problem
        optimizer = problem.optimizer(problem.trained)
        if problem.schedule is None:
            return optimizer
        scheduler = {"scheduler": LambdaLR(optimizer, problem.schedule), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


class StopAt(pl.Callback):
    """A callback that ends a run whose length the Trainer does not know."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_train_batch_end(self, trainer: pl.Trainer, *args: object) -> None:
        """Ask the Trainer to stop after the last step."""
        trainer.should_stop = trainer.should_stop or trainer.global_step >= self.steps


def fit(problem: Problem, seed: int, steps: int, *callbacks: pl.Callback, horizon_known: bool = True) -> None:
    """Train with Lightning for `steps` optimizer steps, a number that the Trainer knows only if `horizon_known`."""
    batches = Batches(problem, seed)
    dataset = batches if horizon_known else EndlessEpoch(batches)
    trainer = pl.Trainer(
        max_steps=steps if horizon_known else -1,
        max_epochs=-1,
        callbacks=[*callbacks, *([] if horizon_known else [StopAt(steps)])],
        gradient_clip_val=problem.clip,
        accumulate_grad_batches=problem.accumulate,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    module = Module(problem)
    # Without a generator, a DataLoader draws from the global one in every epoch, which would change dropout masks.
    loader = DataLoader(dataset, batch_size=None, generator=Generator())
    torch.manual_seed(20_000 + seed)
    trainer.fit(module, loader)


class Step(NamedTuple):
    """A step of `run`, with gradients computed and clipped, before the optimizer changes the weights."""

    index: int
    loss: float
    inputs: Tensor


def run(problem: Problem, seed: int, steps: int) -> Iterator[Step]:
    """Train without Lightning for this many optimizer steps.

    Yields:
        each optimizer step just before it is taken.
    """
    batches = Batches(problem, seed)
    optimizer = problem.optimizer(problem.trained)
    scheduler = None if problem.schedule is None else LambdaLR(optimizer, problem.schedule)
    torch.manual_seed(20_000 + seed)
    for index in range(steps):
        if problem.before_step is not None:
            problem.before_step(index)
        problem.model.zero_grad()
        loss = 0.0
        for _ in range(problem.accumulate):
            x, y = batches.draw()
            share = problem.loss(problem.model(x), y) / problem.accumulate
            if share.requires_grad:
                share.backward()
            loss += share.item()
        if problem.clip is not None:
            nn.utils.clip_grad_norm_(problem.trained, problem.clip)
        yield Step(index, loss, x)
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
