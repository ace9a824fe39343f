"""Find, compare and replace the entries of a batch, whatever containers it is made of.

To see what a training step does with one part of a batch, such as the labels, a probe replaces that part and leaves the
rest unchanged. A batch may be a tensor, tuple, list, named tuple, mapping, dataclass or graph, and these may contain
one another, so that no single syntax reaches every part. Each part, called an entry, is therefore addressed by a key
path: the indices, keys and attribute names that lead to it from the batch, such as ``(0, "labels")``. `key_paths` lists
the entries, `entry_at` returns one of them, and `with_entries` returns a copy of the batch in which some are replaced.
`reordered_entry` exchanges the samples of an entry: the items along the first dimension of a tensor, or the items of a
list that has one for each sample.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

KeyPath: TypeAlias = tuple[Any, ...]
"""the indices, keys and attribute names that lead from a batch to one of its entries; empty for the batch itself"""
Order: TypeAlias = Callable[[int], Sequence[int]]
"""a function of the number of samples that returns, for each position, the index of the sample to put there"""

TARGET_NAME = re.compile(r"(^|_)(y|labels?|targets?|class(es)?)(_|$)", re.IGNORECASE)
"""names that are usual for targets"""
MAX_KEY_PATHS = 64
"""number of entries beyond which `key_paths` does not look inside them for more"""
IGNORE_INDEX = -100
"""the label that `torch.nn.functional.cross_entropy` ignores by default"""


def children(value: Any) -> dict[Any, Any]:
    """Return the entries directly inside a container, by index, key or attribute name; none for anything else."""
    if type(value) in (tuple, list):
        return dict(enumerate(value))
    if _is_namedtuple(value):
        return dict(zip(value._fields, value, strict=True))
    if _is_mapping(value):
        return {key: value[key] for key in value.keys()}  # noqa: SIM118 - iterating over a graph gives no keys
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value) if hasattr(value, field.name)}
    return {}


def entry_at(batch: Any, path: KeyPath) -> Any:
    """Return the entry at `path`."""
    for key in path:
        batch = children(batch)[key]
    return batch


def has_entry(batch: Any, path: KeyPath) -> bool:
    """Return whether the batch has an entry at `path`."""
    return not path or (path[0] in (inside := children(batch)) and has_entry(inside[path[0]], path[1:]))


def with_entries(batch: Any, replacements: Mapping[KeyPath, Any]) -> Any:
    """Return a copy of the batch in which the entries at these paths are replaced, and all others are shared."""
    if () in replacements:
        return replacements[()]
    items = children(batch)
    for key in {path[0]: None for path in replacements}:
        inside = {path[1:]: value for path, value in replacements.items() if path[0] == key}
        items[key] = with_entries(items[key], inside)
    return _with_items(batch, items)


def key_paths(batch: Any) -> list[KeyPath]:
    """Return the paths of the entries, level by level, from the outermost container that has more than one entry.

    Within a level, the entries that are named like targets come first, and of the others the last one comes first.
    """
    found: list[KeyPath] = []
    level = [container_path(batch)]
    while level and len(found) < MAX_KEY_PATHS:  # a batch that contains itself would have infinitely many levels
        inside = [(*path, key) for path in level for key in reversed(children(entry_at(batch, path)))]
        level = sorted(inside, key=lambda path: TARGET_NAME.search(last_key(path)) is None)
        found += level
    return found


def container_path(batch: Any) -> KeyPath:
    """Return the path to the container of the entries.

    This is the batch itself. If the only thing in it is another container, it is that one, and so on.
    """
    path: KeyPath = ()
    while len(inside := children(batch)) == 1:
        key, batch = next(iter(inside.items()))
        path = (*path, key) if children(batch) else path
    return path


def last_key(path: KeyPath) -> str:
    """Return the last index, key or attribute name of a path as text; an empty text for the batch itself."""
    return str(path[-1]) if path else ""


def overlap(one: KeyPath, other: KeyPath) -> bool:
    """Return whether two paths lead to the same entry, or one to an entry inside the other."""
    shared = min(len(one), len(other))
    return one[:shared] == other[:shared]


def reordered_entry(batch: Any, path: KeyPath, order: Order) -> Any:
    """Return a copy of the entry at `path` with its samples in another order.

    Tensors of shape (samples, ...) and lists of samples are reordered, also inside of containers; numbers, sparse and
    nested tensors and objects of unknown classes stay as they are.
    """
    return _reordered(entry_at(batch, path), order, _common_length(entry_at(batch, container_path(batch))))


def _reordered(value: Any, order: Order, list_length: int | None) -> Any:
    if isinstance(value, Tensor):
        if not has_samples(value):
            return value
        return value.index_select(0, torch.tensor(order(len(value)), dtype=torch.long, device=value.device))
    if _is_list_of_samples(value, list_length):
        return type(value)(value[i] for i in order(len(value)))
    inside = children(value)
    if not inside:
        return value
    return _with_items(value, {key: _reordered(item, order, list_length) for key, item in inside.items()})


def _common_length(container: Any) -> int | None:
    """Return the length of all tensors and lists in a container, if there are at least two and all are equally long."""
    items = [item for item in children(container).values() if isinstance(item, (Tensor, list, tuple))]
    lengths = {len(item) if not isinstance(item, Tensor) or item.ndim else 0 for item in items}
    return lengths.pop() if len(items) > 1 and len(lengths) == 1 else None


def _is_list_of_samples(value: Any, list_length: int | None) -> bool:
    """Return whether each item of a list is a sample, and not a feature of all samples.

    Args:
        value: anything.
        list_length: the number of samples, which such a list has as its length; None if no list is one of samples.
    """
    if type(value) not in (tuple, list) or len(value) != list_length or not value:
        return False
    if all(isinstance(item, Tensor) for item in value):
        return any(not item.ndim or len(item) != list_length for item in value)
    return all(isinstance(item, (str, bytes, int, float, Tensor, dict)) for item in value)


def tensors(value: Any) -> Iterator[Tensor]:
    """Iterate over all tensors inside an entry.

    Yields:
        each tensor, in the order of the entries
    """
    if isinstance(value, Tensor):
        yield value
    else:
        for item in children(value).values():
            yield from tensors(item)


def layout(value: Any) -> Any:
    """Return the keys, shapes and types of a batch; batches with equal layouts can exchange any of their entries."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype
    inside = children(value)
    return (type(value), [(key, layout(item)) for key, item in inside.items()]) if inside else type(value)


def equal(one: Any, other: Any) -> bool:
    """Return whether two entries have equal values; objects of unknown classes must be the same object."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if not has_samples(one) and one.ndim:
            return one is other
        return one.shape == other.shape and one.dtype == other.dtype and bool((one == other).all())
    inside, inside_other = children(one), children(other)
    if inside or inside_other:
        return inside.keys() == inside_other.keys() and all(
            equal(item, inside_other[key]) for key, item in inside.items()
        )
    comparable = isinstance(one, (str, bytes, int, float)) and isinstance(other, (str, bytes, int, float))
    return bool(one == other) if comparable else one is other


def repeats(target: Any, source: Any) -> bool:
    """Return whether a target equals another entry wherever it is not ignored, as the labels of a language model do."""
    if not (isinstance(target, Tensor) and isinstance(source, Tensor)) or not target.ndim or not has_samples(target):
        return equal(target, source)
    if target.shape != source.shape or target.dtype != source.dtype:
        return False
    same = target == source
    return bool((same if target.is_floating_point() else same | (target == IGNORE_INDEX)).all())


def varies(values: Sequence[Any]) -> bool:
    """Return whether any two samples of an entry differ, given its value in each batch; True if that is not known."""
    by_batch = [[tensor for tensor in tensors(value) if has_samples(tensor) and tensor.numel()] for value in values]
    first = by_batch[0] if by_batch else []
    if not first or sum(len(found[0]) for found in by_batch if found) < 2:
        return True
    return any(len(found) != len(first) or any(map(_differ, found, first)) for found in by_batch)


def has_samples(tensor: Tensor) -> bool:
    """Return whether a tensor can be indexed along a first dimension: it is dense and has at least one dimension."""
    return tensor.layout is torch.strided and not tensor.is_nested and tensor.ndim > 0


def _differ(samples: Tensor, others: Tensor) -> bool:
    """Return whether any of the samples differs from the first of the others."""
    return samples.shape[1:] != others.shape[1:] or bool((samples != others[:1]).any())


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields") and not isinstance(value, PackedSequence)


def _is_mapping(value: Any) -> bool:
    """Return whether entries are read and set by keys: in dicts, tokenizer outputs, graphs of PyTorch Geometric."""
    kind = type(value)
    return isinstance(value, Mapping) or (
        all(callable(getattr(kind, name, None)) for name in ("keys", "__getitem__", "__setitem__", "__copy__"))
        and not isinstance(value, Tensor)
    )


def _with_items(container: Any, items: Mapping[Any, Any]) -> Any:
    """Return a container of the same class with these items."""
    if type(container) in (tuple, list):
        return type(container)(items.values())
    if _is_namedtuple(container):
        return type(container)(*items.values())
    made = copy.copy(container)
    for key, item in items.items():
        if _is_mapping(container):
            made[key] = item
        else:
            object.__setattr__(made, key, item)  # a dataclass may be frozen
    return made
