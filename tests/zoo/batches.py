"""Batches of many types, and training steps that change them."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
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
    """Data without a length, drawn from the global random number generator."""


@specimen()
class DrawsItself(Linear):
    """The step draws its batch from the loader's iterator, so that no hook gets the batch before the step does."""

    def training_step(self, dataloader_iter: Iterator[Any]) -> Tensor:
        batch, _, _ = next(dataloader_iter)
        return F.cross_entropy(self.net(batch[0]), batch[1])


@dataclass(slots=True)
class Slotted:
    inputs: Tensor
    labels: Tensor


class Bare:
    """Has slots, one of them with a mangled name, and is not a dataclass; its subclass also has a `__dict__`."""

    __slots__ = ("__noise", "scale", "unset")

    def __init__(self, samples: int) -> None:
        self.scale, self.__noise = [2.0], torch.zeros(samples)

    def drift(self) -> Tensor:
        return self.__noise.add_(0.1)


class Extended(Bare):
    def __init__(self, samples: int) -> None:
        super().__init__(samples)
        self.batch_indices: list[int] = []


@dataclass(frozen=True, slots=True)
class Frozen:
    pair: Slotted
    extra: Extended

    def to(self, *args: Any, **kwargs: Any) -> Frozen:
        """Return the batch itself; without this method Lightning would set the fields of the frozen dataclass."""
        return self


def _slotted(rows: list[Any]) -> Frozen:
    inputs, labels = (torch.stack(column) for column in zip(*rows, strict=True))
    return Frozen(Slotted(inputs, labels), Extended(len(rows)))


@specimen(loader=lambda: DataLoader(labelled(), batch_size=8, shuffle=True, collate_fn=_slotted))
class SlottedBatch(Linear):
    """A frozen dataclass of another dataclass and of a plain class, all with slots; the step changes all of them."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        pair, extra = batch.pair, batch.extra
        extra.batch_indices.append(batch_idx)
        pair.inputs = pair.inputs.mul_(extra.scale.pop())
        shift = extra.drift().mean() * len(extra.batch_indices)
        return F.cross_entropy(self.net(pair.inputs + shift), pair.labels)


class Annotated(Tensor):
    """A tensor with attributes, which are lost in every function of torch."""


class Shallow(Tensor):
    """A tensor whose `meta` is passed to results of torch functions, as a shallow copy."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, cls) and args and isinstance(args[0], cls) and hasattr(args[0], "meta"):
            result.meta = dict(args[0].meta)
        return result


def _annotated(rows: list[Any]) -> Any:
    inputs, labels = (torch.stack(column) for column in zip(*rows, strict=True))
    first, second = inputs.as_subclass(Annotated), inputs.clone().as_subclass(Shallow)
    first.affine, first.history = torch.ones(8), []
    second.meta = {"shift": torch.zeros(8)}
    labels.weights = torch.ones(len(rows))
    return first, second, labels


@specimen(loader=lambda: DataLoader(labelled(), batch_size=8, shuffle=True, collate_fn=_annotated))
class AnnotatedTensors(Linear):
    """Tensors whose attributes are tensors and lists, which the step changes."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        first, second, labels = batch
        first.history.append(batch_idx)
        inputs = first.as_subclass(Tensor) * first.affine.mul_(1.5) * len(first.history)
        inputs = inputs + second.as_subclass(Tensor) + second.meta["shift"].add_(0.1)
        losses = F.cross_entropy(self.net(inputs), labels, reduction="none")
        return (losses * labels.weights.mul_(0.5)).mean()


class Attributes(dict[str, Any]):
    """A dict whose items are also attributes; every other attribute is None."""

    __getattr__ = dict.get


@dataclass
class Derived:
    values: Tensor
    doubled: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.doubled = self.values * 2


class Same(NamedTuple("Same", [("left", Tensor), ("right", Tensor)])):  # type: ignore[misc]
    """A named tuple that is made from one argument."""

    def __new__(cls, both: Tensor) -> Same:
        return super().__new__(cls, both, both)


class Array(np.ndarray[Any, Any]):
    """An array with attributes."""


def _odd(rows: list[Any]) -> Any:
    inputs, labels = (torch.stack(column) for column in zip(*rows, strict=True))
    array = inputs.mean(0).numpy().view(Array)
    array.offsets = [1.0]
    return Attributes(
        same=UserDict(pair=Same(inputs)),
        derived=SimpleNamespace(value=Derived(inputs), hidden=inputs.clone().requires_grad_() * 2),
        alone={torch.ones(8)},
        weights={labels: 0.5},
        labels=labels,
        array=array,
    )


@specimen(loader=lambda: DataLoader(labelled(), batch_size=8, shuffle=True, collate_fn=_odd))
class OddContainers(Linear):
    """Subclasses of containers, a set of tensors, a tensor as a key, an array with attributes, a non-leaf tensor."""

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        return batch

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        batch.derived.value.doubled.add_(batch.derived.hidden.detach())
        (scale,) = batch.alone
        inputs = batch.same["pair"].left.add_(1.0) + batch.derived.value.doubled * scale.mul_(0.9)
        inputs = inputs + torch.from_numpy(batch.array) * batch.array.offsets.pop()
        batch.array += 1
        return F.cross_entropy(self.net(inputs), batch.labels) * batch.weights.pop(batch.labels)
