"""The entries of a batch, whatever it is made of: found by their places, exchanged, and put back into a copy."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Place: TypeAlias = tuple[Any, ...]
"""indices, keys and field names that lead from the batch to an entry"""
Order: TypeAlias = Callable[[int], Sequence[int]]
"""which sample comes to each position, by the number of samples"""

TARGET = re.compile(r"(^|_)(y|labels?|targets?|class(es)?)(_|$)", re.IGNORECASE)
"""names under which a batch keeps what is to be predicted"""
ENOUGH = 64
"""places at which the search for further ones inside of them ends"""
IGNORED = -100
"""the label that `torch.nn.functional.cross_entropy` leaves out by default"""


def children(value: Any) -> dict[Any, Any]:
    """The entries directly inside a tuple, list, namedtuple, mapping or dataclass; none for anything else."""
    if type(value) in (tuple, list):
        return dict(enumerate(value))
    if _is_namedtuple(value):
        return dict(zip(value._fields, value, strict=True))
    if _is_mapping(value):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118 - a graph is no iterable of its keys
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value) if hasattr(value, field.name)}
    return {}


def entry(batch: Any, place: Place) -> Any:
    """The entry at this place."""
    for key in place:
        batch = children(batch)[key]
    return batch


def holds(batch: Any, place: Place) -> bool:
    """Whether there is an entry at this place."""
    return not place or (place[0] in (inside := children(batch)) and holds(inside[place[0]], place[1:]))


def with_entries(batch: Any, others: Mapping[Place, Any]) -> Any:
    """A batch with other entries at these places; all else is shared with the original."""
    if () in others:
        return others[()]
    made = children(batch)
    for key in {place[0]: None for place in others}:
        inside = {place[1:]: other for place, other in others.items() if place[0] == key}
        made[key] = with_entries(made[key], inside)
    return _like(batch, made)


def places(batch: Any) -> list[Place]:
    """Where the tensors and lists of a batch are: its entries, those named like targets first, then what is in them."""
    found: list[Place] = []
    level = [root(batch)]
    while level and len(found) < ENOUGH:  # a batch may even hold itself
        inside = [(*place, key) for place in level for key in reversed(children(entry(batch, place)))]
        level = sorted(inside, key=lambda place: TARGET.search(name_of(place)) is None)
        found += level
    return found


def root(batch: Any) -> Place:
    """Where the entries are: in the batch, or in the only one that it has."""
    place: Place = ()
    while len(inside := children(batch)) == 1:
        key, batch = next(iter(inside.items()))
        place = (*place, key) if children(batch) else place
    return place


def name_of(place: Place) -> str:
    """The last key on the way to an entry, as text."""
    return str(place[-1]) if place else ""


def overlap(one: Place, other: Place) -> bool:
    """Whether one entry is the other or inside of it."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def rearranged(value: Any, order: Order, listed: int | None = None) -> Any:
    """The same entry with its samples in another order.

    Args:
        value: tensors of shape (samples, ...), lists of samples, and anything made of them; the rest stays as it is.
        order: which sample comes to each position.
        listed: how many samples a list has that holds one sample in each item; see `listed_samples`.
    """
    if isinstance(value, Tensor):
        if not has_samples(value):
            return value
        return value.index_select(0, torch.tensor(order(len(value)), dtype=torch.long, device=value.device))
    if lists_samples(value, listed):
        return type(value)(value[i] for i in order(len(value)))
    inside = children(value)
    return _like(value, {key: rearranged(item, order, listed) for key, item in inside.items()}) if inside else value


def listed_samples(batch: Any) -> int | None:
    """How many samples there are if every entry of the batch is a tensor or list with one item for each; else None."""
    items = [item for item in children(batch).values() if isinstance(item, (Tensor, list, tuple))]
    lengths = {len(item) if not isinstance(item, Tensor) or item.ndim else 0 for item in items}
    return lengths.pop() if len(items) > 1 and len(lengths) == 1 else None


def lists_samples(value: Any, listed: int | None) -> bool:
    """Whether a list holds one sample in each item, and not one feature of all samples."""
    if type(value) not in (tuple, list) or len(value) != listed or not value:
        return False
    if all(isinstance(item, Tensor) for item in value):
        return any(not item.ndim or len(item) != listed for item in value)
    return all(isinstance(item, (str, bytes, int, float, Tensor, dict)) for item in value)


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors inside.

    Yields:
        each, in the order of the entries
    """
    if isinstance(value, Tensor):
        yield value
    else:
        for item in children(value).values():
            yield from tensors(item)


def layout(value: Any) -> Any:
    """Keys, shapes and types, equal for two batches that can exchange any of their entries."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    inside = children(value)
    return (type(value), [(key, layout(item)) for key, item in inside.items()]) if inside else type(value)


def equal(one: Any, other: Any) -> bool:
    """Whether two entries hold the same values; of objects of an unknown kind, whether they are the same object."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if not has_samples(one) and one.ndim:
            return one is other
        return one.shape == other.shape and one.dtype == other.dtype and bool((one == other).all())
    inside, within = children(one), children(other)
    if inside or within:
        return inside.keys() == within.keys() and all(equal(item, within[key]) for key, item in inside.items())
    simple = isinstance(one, (str, bytes, int, float)) and isinstance(other, (str, bytes, int, float))
    return bool(one == other) if simple else one is other


def repeats(target: Any, source: Any) -> bool:
    """Whether a target repeats another entry wherever it is not ignored, as the labels of a language model do."""
    if not (isinstance(target, Tensor) and isinstance(source, Tensor)) or not target.ndim or not has_samples(target):
        return equal(target, source)
    if target.shape != source.shape or target.dtype != source.dtype:
        return False
    same = target == source
    return bool((same if target.is_floating_point() else same | (target == IGNORED)).all())


def varies(values: Sequence[Any]) -> bool:
    """Whether the samples of an entry, given batch for batch, differ at all; True where that cannot be told."""
    seen = [[tensor for tensor in tensors(value) if has_samples(tensor) and tensor.numel()] for value in values]
    first = seen[0] if seen else []
    if not first or sum(len(batch[0]) for batch in seen if batch) < 2:
        return True
    return any(len(batch) != len(first) or any(map(_differ, batch, first)) for batch in seen)


def has_samples(tensor: Tensor) -> bool:
    """Whether the first dimension can be walked along: neither sparse, nor nested, nor a number."""
    return tensor.layout is torch.strided and not tensor.is_nested and tensor.ndim > 0


def _differ(samples: Tensor, others: Tensor) -> bool:
    """Whether any of the samples is not the first one of the others."""
    return samples.shape[1:] != others.shape[1:] or bool((samples != others[:1]).any())


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields") and not isinstance(value, PackedSequence)


def _is_mapping(value: Any) -> bool:
    """Whether entries can be read and set by keys: dicts, the batches of tokenizers, graphs of PyTorch Geometric."""
    kind = type(value)
    return isinstance(value, Mapping) or (
        all(callable(getattr(kind, name, None)) for name in ("keys", "__getitem__", "__setitem__", "__copy__"))
        and not isinstance(value, Tensor)
    )


def _like(batch: Any, items: Mapping[Any, Any]) -> Any:
    """A batch of the same kind with these items."""
    if type(batch) in (tuple, list):
        return type(batch)(items.values())
    if _is_namedtuple(batch):
        return type(batch)(*items.values())
    made = copy.copy(batch)
    for key, item in items.items():
        if _is_mapping(batch):
            made[key] = item
        else:
            object.__setattr__(made, key, item)
    return made
