"""Batches of every shape, and steps that change them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from tests.zoo.plain import Classifier, Perceptron
from tests.zoo.specimen import labelled, specimen


class Linear(Classifier):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 3)


def _dicts() -> DataLoader[Any]:
    pairs = [{"x": (x, -x), "y": y} for x, y in labelled()]
    return DataLoader(pairs, batch_size=8, shuffle=True)


@specimen(loader=_dicts)
class PopsFromBatch(Linear):
    """Takes its labels out of the batch, has no batch_idx, returns a dict."""

    def training_step(self, batch: Any) -> dict[str, Any]:
        labels = batch.pop("y")
        left, right = batch["x"]
        return {"loss": F.cross_entropy(self.net(left) - self.net(right.sigmoid()), labels), "labels": labels}


@specimen()
class NoisyInput(Linear):
    """Adds noise to its batch in place."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch[0].add_(torch.randn_like(batch[0]))
        return F.cross_entropy(self.net(batch[0]), batch[1])


@dataclass
class Sample:
    inputs: Tensor
    labels: Tensor


class Pair(NamedTuple):
    sample: Sample
    extra: dict[str, list[Tensor]]


def _collate(rows: list[Any]) -> Pair:
    inputs, labels = (torch.stack(column) for column in zip(*rows, strict=True))
    return Pair(Sample(inputs, labels), {"weights": [torch.ones(len(rows)), torch.zeros(())]})


@specimen(loader=lambda: DataLoader(labelled(), batch_size=8, shuffle=True, collate_fn=_collate))
class NestedBatch(Linear):
    """A named tuple of a dataclass and a dict of lists; the step rebinds a field."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch.sample.inputs = batch.sample.inputs * 2
        weights = batch.extra["weights"][0]
        losses = F.cross_entropy(self.net(batch.sample.inputs), batch.sample.labels, reduction="none")
        return (losses * weights).mean() + batch.extra["weights"].pop()


def two_loaders() -> CombinedLoader:
    first, second = (DataLoader(labelled(seed), batch_size=8, shuffle=True) for seed in (0, 5))
    return CombinedLoader({"a": first, "b": second}, mode="max_size_cycle")


@specimen(loader=two_loaders)
class TwoLoaders(Linear):
    """A batch from each of two loaders."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        losses = [F.cross_entropy(self.net(batch[name][0]), batch[name][1]) for name in ("a", "b")]
        return losses[0] + 0.3 * losses[1]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        for _ in range(40):
            yield torch.randn(8), torch.randint(0, 3, ()).reshape(())


@specimen(loader=lambda: DataLoader(Stream(), batch_size=8))
class Streamed(Perceptron):
    """Data without a length, drawn from the global random stream."""


@specimen()
class DrawsItself(Linear):
    """Draws from the loader's iterator: no hook sees the batch before the step does."""

    def training_step(self, dataloader_iter: Iterator[Any]) -> Tensor:
        batch, _, _ = next(dataloader_iter)
        return F.cross_entropy(self.net(batch[0]), batch[1])
