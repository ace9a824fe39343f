"""A copy has the same type and equal contents, and shares nothing with the original that can change."""

from __future__ import annotations

import functools
import importlib
import threading
from collections import ChainMap, Counter, UserDict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer, seed_everything
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.module_surface.copier import Copier, attributes_of
from tests.zoo import SPECIMENS
from tests.zoo.batches import Annotated, Array, Attributes, Extended, Frozen, Same, Shallow, Slotted
from tests.zoo.stateful import quiet_trainer
from tests.zoo.training import MemoryLogger, fit, make_trainer


def copied(value: Any) -> Any:
    copier = Copier()
    made = copier.copy(value, copier.memo(), "it")
    assert copier.uncopied == {}
    return made


def tensors(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """Iterate over all tensors inside a value, each once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    parts = [*attributes_of(value).values()]
    if isinstance(value, (dict, MappingProxyType)):
        parts += [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        parts += value
    elif isinstance(value, functools.partial):
        parts += value.args
    for part in parts:
        yield from tensors(part, seen)


def numbers() -> Tensor:
    return torch.arange(3.0)


def inside_a_graph() -> Tensor:
    return numbers().requires_grad_() * 2


class Wide(Slotted):
    """A class without slots whose base class has slots, so that its instances have a ``__dict__`` as well."""


class Twice(Slotted):
    """A class with a slot of the same name as one of its base class."""

    __slots__ = ("inputs",)


@dataclass(slots=True)
class Late:
    values: Tensor
    computed: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.computed = self.values + 1


class Required(dict[str, Any]):
    """A dict whose items can be read as attributes, and that has no other attributes."""

    __getattr__ = dict.__getitem__

    def __init__(self, items: dict[str, Any]) -> None:
        super().__init__(items)


class ListWithAttributes(list[Tensor]):
    source = None


class Opaque(Tensor):
    """A tensor whose functions return plain tensors."""

    __torch_function__ = torch._C._disabled_torch_function_impl


class Labelled(Tensor):
    """A tensor whose own methods need an attribute, which `detach` leaves out."""

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        made = super().clone(*args, **kwargs).as_subclass(type(self))
        made.labels = self.labels
        return made

    def requires_grad_(self, mode: bool = True) -> Any:  # noqa: FBT001, FBT002 - as in torch
        made = super().requires_grad_(mode)
        made.labels = self.labels
        return made


class Marked(nn.Parameter):
    """A kind of parameter."""


def annotated(kind: type[Tensor]) -> Tensor:
    tensor = numbers().as_subclass(kind)
    tensor.meta, tensor.affine = {"shape": [3], "origin": numbers()}, numbers()
    return tensor


def list_with_attributes() -> ListWithAttributes:
    made = ListWithAttributes([numbers()])
    made.source = [numbers()]
    return made


def array() -> Array:
    made = np.arange(3.0).view(Array)
    made.scale = numbers()
    return made


def wide() -> Wide:
    made = Wide(numbers(), numbers())
    made.extra = numbers()
    return made


def parameter(kind: Callable[..., Tensor]) -> Tensor:
    made = kind(numbers())
    made.group = [numbers()]
    return made


KINDS: dict[str, Callable[[], Any]] = {
    "slotted dataclass": lambda: Slotted(numbers(), numbers()),
    "frozen slotted dataclass": lambda: Frozen(Slotted(numbers(), numbers()), Extended(3)),
    "slots and a dict": lambda: Extended(3),
    "slots of a base class": wide,
    "a slot of one name twice": lambda: Twice(numbers(), numbers()),
    "a field that is not in init": lambda: Late(numbers()),
    "slots around part of a graph": lambda: Slotted(inside_a_graph(), numbers()),
    "slots around a generator": lambda: [Slotted(torch.Generator(), threading.Lock()), numbers()],
    "named tuple of slots": lambda: namedtuple("Both", "a b")(Slotted(numbers(), 0), Slotted(numbers(), 0)),
    "named tuple of one argument": lambda: Same(numbers()),
    "dict with __getattr__": lambda: Attributes(x=numbers(), hidden=inside_a_graph()),
    "dict with required items": lambda: Required({"x": numbers()}),
    "list with attributes": list_with_attributes,
    "UserDict": lambda: UserDict(x=numbers()),
    "ChainMap": lambda: ChainMap({"x": numbers()}),
    "Counter": lambda: [Counter("aab"), numbers()],
    "mapping proxy": lambda: MappingProxyType({"x": numbers()}),
    "namespace": lambda: SimpleNamespace(x=numbers(), hidden=inside_a_graph()),
    "set": lambda: {numbers()},
    "frozenset": lambda: frozenset({numbers()}),
    "partial": lambda: functools.partial(max, numbers()),
    "tensor with attributes": lambda: annotated(Tensor),
    "tensor subclass": lambda: annotated(Annotated),
    "tensor subclass that shares its attributes": lambda: annotated(Shallow),
    "tensor subclass without functions": lambda: annotated(Opaque),
    "parameter with attributes": lambda: parameter(nn.Parameter),
    "kind of parameter": lambda: parameter(Marked),
    "array with attributes": array,
    "module outside of the module": lambda: [nn.Linear(2, 2)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_of_the_same_type_with_equal_tensors_of_its_own(kind: str):
    original = KINDS[kind]()
    copy = copied(original)

    assert type(copy) is type(original)
    pairs = list(zip(tensors(original), tensors(copy), strict=True))
    assert pairs
    for old, new in pairs:
        assert type(new) is type(old)
        assert new.data_ptr() != old.data_ptr()
        assert torch.equal(new.as_subclass(Tensor), old.as_subclass(Tensor))
        assert new.requires_grad == old.requires_grad


@pytest.mark.parametrize("kind", [Tensor, Annotated, Shallow, Opaque])
def test_the_attributes_of_a_tensor_are_copied_deeply(kind: type[Tensor]):
    original = annotated(kind)
    copy: Any = copied(original)
    copy.meta["shape"].append(4)
    copy.meta["origin"].add_(1)

    assert original.meta["shape"] == [3]
    assert torch.equal(original.meta["origin"], numbers())


def test_a_tensor_that_refers_to_itself_is_copied_with_its_reference():
    original: Any = annotated(Annotated)
    original.meta["self"] = original
    copy = copied(original)

    assert copy.meta["self"] is copy


def test_a_slot_that_is_empty_stays_empty():
    copy = copied(Extended(3))

    assert not hasattr(copy, "unset")
    assert copy.scale == [2.0]


def test_a_tensor_that_is_a_key_is_found_by_its_copy():
    key = numbers()
    copy = copied({"by": {key: 0.5}, "key": key})

    assert copy["by"][copy["key"]] == 0.5


def test_an_object_that_cannot_be_copied_is_recorded_and_the_rest_is_copied():
    copier, original = Copier(), Slotted(iter_once(), numbers())
    copy = copier.copy(original, copier.memo(), "batch")

    assert copier.uncopied == {"batch.inputs": "generator"}
    assert copy.labels is not original.labels


def iter_once() -> Iterator[int]:
    yield 1


class MyTrainer(Trainer):
    """A user's own kind of trainer."""


def test_a_trainer_and_its_parts_are_never_copied():
    trainer = quiet_trainer()
    parts = [trainer, trainer.fit_loop, trainer.strategy, trainer.strategy.accelerator, trainer.precision_plugin]
    copy = copied({"parts": parts, "slots": Slotted(trainer, numbers()), "module": [nn.Module()]})

    assert all(new is old for new, old in zip(copy["parts"], parts, strict=True))
    assert copy["slots"].inputs is trainer
    subclassed = MyTrainer.__new__(MyTrainer)
    assert copied([subclassed])[0] is subclassed


@pytest.mark.parametrize("namespace", ["lightning.pytorch", "pytorch_lightning"])
def test_a_trainer_of_either_namespace_is_not_copied_and_a_callback_is(namespace: str):
    library = importlib.import_module(namespace)
    trainer, callback = library.Trainer.__new__(library.Trainer), library.callbacks.EarlyStopping("loss")
    copy = copied([trainer, callback])

    assert copy[0] is trainer
    assert copy[1] is not callback
    assert copy[1].best_score is not callback.best_score


def test_a_dataset_inside_another_object_is_not_copied():
    data = TensorDataset(numbers())
    module = LightningDataModule()
    module.data, module.seen = data, [numbers()]
    copy = copied(SimpleNamespace(module=module))

    assert copy.module.data is data
    assert copy.module.seen[0] is not module.seen[0]


@pytest.mark.parametrize("name", ["SlottedBatch", "AnnotatedTensors", "OddContainers", "ClassState", "SecondTrainer"])
def test_a_monitor_measures_the_line_on_a_run_with(name: str):
    seed_everything(7, verbose=False)
    specimen, monitor = SPECIMENS[name], LandscapeMonitor(every_n_steps=3, num_points=3)
    trainer = make_trainer(specimen, monitor, logger=MemoryLogger())
    fit(specimen, trainer, specimen.module())

    assert "landscape/barrier" in trainer.callback_metrics
    assert not any("skipped" in line for line in monitor.report.splitlines())


@pytest.mark.parametrize("leaf", [True, False])
def test_a_tensor_whose_own_methods_need_its_attributes_is_copied_with_them(leaf):
    tensor = numbers().as_subclass(Labelled)
    tensor.labels = ["x", "y"]
    tensor = tensor if leaf else tensor.requires_grad_().clone()
    copier = Copier()
    made = copier.copy(tensor, copier.memo(), "batch")
    assert copier.uncopied == {}
    assert made is not tensor
    assert type(made) is Labelled
    assert made.labels == ["x", "y"]
    assert made.labels is not tensor.labels
    assert made.requires_grad is tensor.requires_grad
