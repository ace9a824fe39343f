"""Modules that cannot be evaluated without a trace, so that the surface refuses and says why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.zoo.plain import Classifier
from tests.zoo.specimen import labelled, shuffled, specimen

COUNTER = {"calls": 0}


class Linear(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)


@specimen(refusal="LL307")
class GlobalState(Linear):
    """The loss has a factor that grows with every call and is a global variable."""

    def on_train_start(self) -> None:
        COUNTER["calls"] = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        # The count of the evaluation that was refused stays: no library can undo a change to a global variable.
        COUNTER["calls"] += 1
        return F.cross_entropy(self.net(batch[0]), batch[1]) + 1e-3 * COUNTER["calls"]


@specimen(refusal="LL311")
class OpenIterator(Linear):
    """The step draws unlabelled data from an iterator in an attribute, which cannot be copied."""

    def on_train_start(self) -> None:
        self.unlabelled = iter(shuffled())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        try:
            more, _ = next(self.unlabelled)
        except StopIteration:
            self.unlabelled = iter(shuffled())
            more, _ = next(self.unlabelled)
        return F.cross_entropy(self.net(batch[0]), batch[1]) + 1e-2 * self.net(more).pow(2).mean()


def _with_generator(rows: list[Any]) -> Any:
    inputs, labels = (torch.stack(column) for column in zip(*rows, strict=True))
    return inputs, labels, (float(value) for value in inputs.sum(1))


@specimen(
    refusal="LL311",
    loader=lambda: DataLoader(labelled(), batch_size=8, shuffle=True, collate_fn=_with_generator),
)
class GeneratorInBatch(Linear):
    """Each batch contains a generator, from which the step draws a number; a generator cannot be copied."""

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1]) * (1 + 1e-2 * next(batch[2], 0.0))


@specimen(refusal="LL311")
class OpenClassIterator(Linear):
    """The step draws from an iterator in an attribute of its class."""

    numbers: ClassVar[Iterator[int]]

    def on_train_start(self) -> None:
        type(self).numbers = (number for number in range(1000))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1]) + 1e-3 * next(self.numbers)


@specimen(refusal="LL304")
class NoLoss(Linear):
    """The step returns None for every batch."""

    def training_step(self, batch: Any, batch_idx: int) -> None:
        return None


@specimen(refusal="LL306")
class RaisesWhenRepeated(Linear):
    """The step raises if it is run twice with one batch index."""

    def __init__(self) -> None:
        super().__init__()
        self.last = -1

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        if batch_idx == self.last:
            raise ValueError("this batch was trained on already")
        self.last = batch_idx
        return F.cross_entropy(self.net(batch[0]), batch[1])
