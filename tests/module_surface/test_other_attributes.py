"""Changes that a step makes to class attributes and slots are undone after the probe."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_landscape.module_surface.copier import Copier
from lightning_landscape.module_surface.other_attributes import OtherAttributes
from lightning_landscape.surface import LossSurface
from tests.module_surface.observers import leaves
from tests.module_surface.test_during_fit import probed
from tests.zoo.plain import Classifier


class Base(nn.Module):
    inherited: ClassVar[list[int]] = []
    count = 0


class Descriptor:
    """Count how often the attribute is read."""

    def __init__(self) -> None:
        self.asked = 0

    def __get__(self, instance: object, owner: type) -> int:
        self.asked += 1
        return self.asked


class Mixin(ABC):
    names: ClassVar[set[str]] = {"a"}

    @abstractmethod
    def name(self) -> str: ...


class Meta(type):
    """A metaclass that refuses to set attributes."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(name)


class Sealed(metaclass=Meta):
    items: ClassVar[list[int]] = []


class Child(Base, Mixin):
    own: ClassVar[dict[str, list[int]]] = {"a": []}
    nested = Descriptor
    asked = Descriptor()
    total = torch.zeros(())

    def name(self) -> str:
        return "child"

    @property
    def twice(self) -> int:
        return 2 * self.count

    @staticmethod
    def plain() -> None: ...


KINDS = (Base, Child, Mixin, Sealed)


@pytest.fixture
def before() -> Iterator[dict[type, dict[str, Any]]]:
    originals = {kind: dict(vars(kind)) for kind in KINDS}
    yield originals
    assert {kind: dict(vars(kind)) for kind in KINDS} == originals


def attributes_and_renewal(module: Any) -> tuple[OtherAttributes, Callable[[], None]]:
    attributes, copier = OtherAttributes([module]), Copier()

    def renew() -> None:
        memo = copier.memo()
        attributes.install_copies(lambda value, where: copier.copy(value, memo, where))
        assert copier.uncopied == {}

    return attributes, renew


def append(kind: Any) -> None:
    kind.own["a"].append(1)
    kind.inherited.append(1)
    kind.names.add("b")


def rebind(kind: Any) -> None:
    kind.count += 1
    Base.count += 1
    kind.total = kind.total + 1
    kind.own = {}


def add_and_delete(kind: Any) -> None:
    kind.added = 1
    del kind.own
    del Base.inherited


def patch(kind: Any) -> None:
    kind.plain = staticmethod(lambda: 1)
    kind.name = lambda self: "patched"


@pytest.mark.usefixtures("before")
@pytest.mark.parametrize("change", [append, rebind, add_and_delete, patch])
def test_changes_of_class_attributes_are_undone(change: Callable[[Any], None]):
    attributes, renew = attributes_and_renewal(Child())
    for _ in range(2):
        renew()
        assert (Child.own, Child.inherited, Child.names, Child.count, Base.count) == ({"a": []}, [], {"a"}, 0, 0)
        assert Child().name() == "child"
        change(Child)
    attributes.restore()
    attributes.restore()


def test_the_original_objects_are_restored_and_were_never_changed(before: dict[type, dict[str, Any]]):
    attributes, renew = attributes_and_renewal(Child())
    renew()
    assert Child.own is not before[Child]["own"]
    append(Child)
    attributes.restore()

    assert all(vars(kind)[key] is value for kind in KINDS for key, value in before[kind].items())
    assert (Child.own, Child.inherited, Child.names) == ({"a": []}, [], {"a"})


def test_functions_properties_descriptors_and_nested_classes_are_not_copied(before: dict[type, dict[str, Any]]):
    attributes, renew = attributes_and_renewal(Child())
    renew()
    for key in ("name", "twice", "plain", "asked", "nested"):
        assert vars(Child)[key] is before[Child][key]
    attributes.restore()


@pytest.mark.usefixtures("before")
def test_a_metaclass_that_refuses_to_set_attributes_is_bypassed():
    class Module(nn.Module, Sealed, metaclass=Meta):
        pass

    items = Sealed.items
    attributes, renew = attributes_and_renewal(Module())
    renew()
    assert Sealed.items is not items
    Sealed.items.append(1)
    attributes.restore()
    assert Sealed.items is items
    assert items == []


def test_an_object_that_is_attribute_of_class_and_instance_is_copied_once():
    kind = type("Kind", (nn.Module,), {"items": []})
    copier = Copier()
    memo = copier.memo()
    instance = copier.copy(kind.items, memo, "items")
    attributes = OtherAttributes([kind()])
    attributes.install_copies(lambda value, where: copier.copy(value, memo, where))

    assert kind.items is instance
    attributes.restore()


def test_classes_of_torch_are_not_changed():
    before = dict(vars(nn.Linear))
    attributes, renew = attributes_and_renewal(nn.Linear(1, 1))
    renew()

    assert attributes.in_use() == []
    assert dict(vars(nn.Linear)) == before


class Slotted(nn.Module):
    __slots__ = ("count", "late", "seen")

    def __init__(self) -> None:
        super().__init__()
        self.count, self.seen = 0, [torch.zeros(2)]


def test_attributes_in_slots_are_copied_during_a_probe_and_restored_after_it():
    module = Slotted()
    own = module.seen
    attributes, renew = attributes_and_renewal(module)
    for _ in range(2):
        renew()
        assert (module.count, hasattr(module, "late")) == (0, False)
        assert module.seen is not own
        module.seen[0].add_(1)
        module.seen.append(torch.ones(1))
        module.count, module.late = 5, 3
    attributes.restore()

    assert module.seen is own
    assert [part.tolist() for part in own] == [[0.0, 0.0]]
    assert (module.count, hasattr(module, "late")) == (0, False)


class Recomputed(Classifier):
    """With activation checkpointing, the backward pass repeats the forward pass, which reads a class attribute."""

    scales: ClassVar[list[float]] = []

    def __init__(self) -> None:
        super().__init__()
        self.first, self.net = nn.Linear(8, 8), nn.Linear(8, 3)

    def _hidden(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.first(inputs) * (1 + sum(self.scales)))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.scales[:] = [float(batch[0].abs().mean())]
        hidden = torch.utils.checkpoint.checkpoint(self._hidden, batch[0], use_reentrant=False)
        return F.cross_entropy(self.net(hidden), batch[1])


def test_recomputed_activations_use_the_class_attributes_of_their_own_evaluation():
    def compare(surface: LossSurface) -> tuple[Tensor, Tensor]:
        point = leaves(surface.here)
        slopes = torch.autograd.grad(surface.loss(point), list(point.values()), create_graph=True)
        direction = [torch.ones_like(slope) for slope in slopes]
        first = torch.autograd.grad(slopes, list(point.values()), direction, retain_graph=True)
        surface.held_out(surface.here)  # an evaluation of another batch sets another scale
        second = torch.autograd.grad(slopes, list(point.values()), direction, retain_graph=True)
        return torch.cat([part.flatten() for part in first]), torch.cat([part.flatten() for part in second])

    prober = probed(Recomputed, compare)

    assert prober.refusals == []
    assert all(torch.equal(first, second) for first, second in prober.readings)
