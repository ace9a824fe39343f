"""Find where a module holds a tensor that is none of its parameters, and whether an optimizer holds it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_landscape.module_surface.copier import attributes_of, is_immutable
from lightning_landscape.module_surface.isolation import Isolation
from lightning_landscape.module_surface.operation_recorder import as_attribute
from lightning_landscape.trainer._compat import TRAINERS, is_part_of_a_trainer

_MAX_DEPTH = 6
"""how deep the attributes of a module are searched"""
_MAX_OBJECTS = 50_000
"""number of objects after which the search ends"""

Step = tuple[str, Any]
"""one step from an object to one inside it: ("attribute", name) or ("item", index or key)"""


@dataclass(frozen=True)
class Place:
    """Where a tensor was found."""

    submodule: str
    """name of the registered submodule that holds it"""
    steps: tuple[Step, ...]
    """how to get from that submodule to the tensor"""
    training: bool
    """the ``training`` flag of the innermost module on the way"""

    @property
    def container(self) -> str:
        """The attribute of the submodule that it was found in, as Python code."""
        return f"{as_attribute(self.submodule)}.{self.steps[0][1]}"

    @property
    def container_kind(self) -> str:
        """What that attribute is: "list", "dict", "tensor", or "object" for anything else."""
        if len(self.steps) == 1:
            return "tensor"
        kind, key = self.steps[1]
        return "object" if kind == "attribute" else "list" if isinstance(key, int) else "dict"

    def __str__(self) -> str:
        return as_attribute(self.submodule) + "".join(
            f".{key}" if kind == "attribute" else f"[{key!r}]" for kind, key in self.steps
        )


def places_of(tensors: Sequence[Tensor], isolation: Isolation) -> dict[int, Place]:
    """Return where the modules hold these tensors now, by the tensors' ids; those that are not found are left out."""
    wanted = {id(tensor) for tensor in tensors}
    found: dict[int, Place] = {}
    registered = {id(module) for module in isolation.modules.values()}
    pending = deque(
        (value, Place(name, (("attribute", key),), module.training))
        for name, module in isolation.modules.items()
        for key, value in _own_attributes(module.__dict__)
    )
    seen: set[int] = set()
    while pending and len(seen) < _MAX_OBJECTS and wanted - found.keys():
        value, place = pending.popleft()
        if id(value) in seen or id(value) in registered or is_immutable(value):
            continue
        seen.add(id(value))
        if id(value) in wanted:
            found[id(value)] = place
        training = value.training if isinstance(value, nn.Module) else place.training
        if len(place.steps) < _MAX_DEPTH:
            pending += [
                (inside, Place(place.submodule, (*place.steps, step), training)) for step, inside in _inside(value)
            ]
    return found


def at_place(place: Place, attributes: Mapping[str, Any]) -> Any:
    """Return what is at this place now, given the attributes of the submodule; None where there is nothing."""
    (_, first), *rest = place.steps
    value: Any = attributes.get(first)
    try:
        for kind, key in rest:
            value = getattr(value, key) if kind == "attribute" else value[key]
    except (AttributeError, LookupError, TypeError):
        return None
    return value


def held_ids(optimizers: Iterable[Optimizer], isolation: Isolation) -> set[int]:
    """Return the ids of all tensors that an optimizer of the run holds, or one in an attribute of a module."""
    own = [
        item
        for name in isolation.modules
        for value in isolation.attributes_in_run(name).values()
        for item in (value if isinstance(value, (list, tuple)) else [value])
        if isinstance(item, Optimizer)
    ]
    return {id(p) for optimizer in (*optimizers, *own) for group in optimizer.param_groups for p in group["params"]}


def _inside(value: Any) -> Iterator[tuple[Step, Any]]:
    if isinstance(value, (list, tuple)):
        yield from ((("item", i), item) for i, item in enumerate(value))
    elif isinstance(value, dict):
        yield from ((("item", key), item) for key, item in value.items())
    elif isinstance(value, nn.Module):
        inside = {**value._parameters, **value._modules, **dict(_own_attributes(value.__dict__))}
        yield from ((("attribute", key), item) for key, item in inside.items())
    elif not isinstance(value, (Tensor, Optimizer)) and not _is_foreign(type(value)):
        yield from ((("attribute", key), item) for key, item in attributes_of(value).items())


def _own_attributes(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Iterate over the attributes that a user has set.

    Yields:
        name and value
    """
    for key, value in attributes.items():
        if key not in TRAINERS and key not in _OF_EVERY_MODULE and not is_immutable(value):
            yield key, value


_OF_EVERY_MODULE = frozenset(nn.Module().__dict__)
"""the attributes of a module without content: its parameters, submodules and hooks"""


def _is_foreign(kind: type) -> bool:
    """Return whether a class belongs to torch or to a trainer, so that users keep no tensors of theirs in it."""
    return kind.__module__.partition(".")[0] in ("torch", "threading", "numpy") or is_part_of_a_trainer(kind)
