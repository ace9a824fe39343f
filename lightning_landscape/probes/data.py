"""What the captured batches contain: sizes, constant and repeated values, the order of the classes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from lightning_landscape.evidence import BatchContents, EntryContents
from lightning_landscape.surface import LossSurface, Roles, costs

Path: TypeAlias = tuple[Any, ...]
MAX_VALUES = 2**20
"""largest number of values of an entry in one batch that are checked"""


def _cost(surface: LossSurface) -> float:
    """Return the forward passes of the first layer's input and the roles, in gradients."""
    if surface.run.entries is None:
        return 0.0
    return (1 + (0 if surface.pairing is None else surface.pairing.tries)) / 3


@costs(_cost)
def batch_contents(surface: LossSurface) -> BatchContents | None:
    """Return what the captured batches contain; None without batches."""
    captured = [] if surface.run.entries is None else [batch for batch in surface.run.entries() if batch]
    if not captured:
        return None
    roles = Roles(()) if surface.pairing is None else surface.pairing.roles()
    by_path = {path: [batch[path] for batch in captured if path in batch] for path in captured[0]}
    entries = tuple(entry_contents(path, values, target=is_target(path, roles)) for path, values in by_path.items())
    classes = next((found for path in by_path if is_target(path, roles) and (found := classes_of(by_path[path]))), [])
    numbers = next((n for path in by_path if is_target(path, roles) and (n := _numbers(by_path[path]))), [])
    layer, kind, input_size, feature_sizes = _first_layer(surface)
    return BatchContents(
        batches=len(captured),
        entries=entries,
        repeated=repeated_batches(captured),
        class_shares=tuple(max(counts.values()) / counts.total() for counts in map(_counts, classes)),
        classes=len(set().union(*map(_counts, classes))),
        highest_class=int(torch.cat(classes).max()) if classes else None,
        order=order_of_classes(classes) if classes else order_of_numbers(numbers),
        inputs_vary=roles.inputs_vary,
        first_layer=layer,
        first_layer_kind=kind,
        input_size=input_size,
        feature_sizes=feature_sizes,
    )


def entry_contents(path: Path, batches: Sequence[Tensor], *, target: bool) -> EntryContents:
    """Return what an entry contains.

    Args:
        path: where it is in a batch.
        batches: its tensor in each batch, of shape (samples, ...).
        target: whether it is a target.
    """
    values = torch.cat([batch.detach().reshape(-1)[:MAX_VALUES].float() for batch in batches])
    finite = values[values.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    scaled = finite / largest if largest else finite
    not_finite = values.numel() - finite.numel()
    if finite.numel() and not finite.std(correction=0) and bool((values[~values.isfinite()] == -math.inf).all()):
        not_finite = 0  # a mask that is added to the scores of an attention
    return EntryContents(
        name=".".join(map(str, path)),
        target=target,
        size=largest * _root_mean_square(scaled),
        mean_size=largest * float(scaled.abs().mean()) if finite.numel() else 0.0,
        spread=largest * float(scaled.std(correction=0)) if finite.numel() else 0.0,
        values=values.numel(),
        not_finite=not_finite,
        varies=_varies(batches),
    )


def order_of_classes(batches: Sequence[Tensor]) -> float | None:
    """Return how much likelier two samples of one batch share their class than two samples of different batches.

    This is Wright's fixation index of populations, (p_within - p_between)/(1 - p_between) [Weir84]_. Its expectation
    is 0 if the samples are shuffled, however frequent one class is; it is 1 if each batch holds one class of its own.

    .. [Weir84] Estimating F-statistics for the analysis of population structure, Evolution 38(6).

    >>> order_of_classes([torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])])
    1.0
    >>> order_of_classes([torch.tensor([0, 1]), torch.tensor([1, 0])])
    -1.0

    Args:
        batches: the class of each sample, for each batch, as whole numbers of shape (samples,).

    Returns:
        the index, at most 1; None unless there are two batches of two samples or more, and two classes
    """
    batches = [labels for labels in batches if len(labels) > 1]
    if len(batches) < 2:
        return None
    counted = [_counts(labels) for labels in batches]
    found = sorted(set().union(*counted))
    counts = torch.tensor([[of_batch[label] for label in found] for of_batch in counted], dtype=torch.float64)
    sizes = counts.sum(1)
    within = float(((counts * (counts - 1)).sum(1) / (sizes * (sizes - 1))).mean())
    shares = counts / sizes[:, None]
    alike = shares @ shares.T
    between = float((alike.sum() - alike.trace()) / (len(batches) * (len(batches) - 1)))
    return (within - between) / (1 - between) if between < 1 else None


def order_of_numbers(batches: Sequence[Tensor]) -> float | None:
    """Return the intraclass correlation of the targets in a batch [Fisher25]_.

    It is 0 on average if the samples are shuffled, and 1 if all targets of a batch are equal while batches differ.

    .. [Fisher25] Statistical Methods for Research Workers, chapter VII.

    >>> order_of_numbers([torch.tensor([1.0, 1.0]), torch.tensor([5.0, 5.0])])
    1.0
    >>> order_of_numbers([torch.tensor([1.0, 5.0]), torch.tensor([5.0, 1.0])])
    -1.0

    Args:
        batches: the target of each sample, for each batch, of shape (samples,).

    Returns:
        the correlation, at most 1; None unless there are two batches of two samples or more, and two targets
    """
    batches = [values.double() for values in batches if len(values) > 1]
    if len(batches) < 2 or not all(bool(values.isfinite().all()) for values in batches):
        return None
    size = sum(map(len, batches)) / len(batches)
    means = torch.stack([values.mean() for values in batches])
    between = size * float(means.var())
    within = float(torch.stack([values.var() for values in batches]).mean())
    total = between + (size - 1) * within
    return (between - within) / total if total > 0 else None


def _numbers(batches: Sequence[Tensor]) -> list[Tensor]:
    """Return the target of each sample, for each batch; empty unless the entry holds one number for each sample."""
    single = all(values.is_floating_point() and values.numel() == len(values) for values in batches)
    return [values.detach().reshape(-1).cpu() for values in batches] if single else []


def _counts(labels: Tensor) -> Counter[int]:
    """Return how often each class comes."""
    return Counter(labels.tolist())


def repeated_batches(batches: Sequence[Mapping[Path, Tensor]]) -> int:
    """Return the number of batches that equal an earlier one in every value; NaN equals nothing."""
    distinct: dict[tuple[float, ...], list[Mapping[Path, Tensor]]] = {}
    repeated = 0
    for batch in batches:
        alike = distinct.setdefault(tuple(float(values.sum()) for values in batch.values()), [])
        if any(_equal(batch, other) for other in alike):
            repeated += 1
        else:
            alike.append(batch)
    return repeated


def _equal(one: Mapping[Path, Tensor], other: Mapping[Path, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(values, other[path]) for path, values in one.items())


def is_target(path: Path, roles: Roles) -> bool:
    """Return whether the entry at this path is a target, or lies in one."""
    return any(path[: len(target)] == target for target in roles.targets)


def classes_of(batches: Sequence[Tensor]) -> list[Tensor]:
    """Return the class of each sample, for each batch; empty unless the entry holds one class for each sample.

    A class is a whole number that is not negative, or a row with one 1 and zeros.
    """
    labels: list[Tensor] = []
    for values in batches:
        if values.ndim == 2 and values.shape[1] > 1:
            one_hot = ((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all()
            found = values.argmax(1) if one_hot else None
        else:
            whole = values.numel() == len(values) and bool(((values >= 0) & (values < 2**20)).all())
            whole = whole and not (values.is_floating_point() and bool((values != values.round()).any()))
            found = values.reshape(-1).long() if whole else None
        if found is None:
            return []
        labels.append(found.cpu())
    return labels


def _varies(batches: Sequence[Tensor]) -> bool:
    """Return whether any two samples differ; True if there is only one sample."""
    first = batches[0][:1]
    if sum(map(len, batches)) < 2:
        return True
    return any(batch.shape[1:] != first.shape[1:] or bool((batch != first).any()) for batch in batches)


def _first_layer(surface: LossSurface) -> tuple[str | None, str, float, tuple[float, float] | None]:
    """Return name, class and input size of the first layer, and the sizes of its smallest and largest feature."""
    received = None if surface.run.first_layer_input is None else surface.run.first_layer_input(surface.here)
    if received is None:
        return None, "", 0.0, None
    name, layer = received
    values = layer.values.float()
    values = values.where(values.isfinite(), 0.0)
    largest = float(values.abs().max())
    if not largest:
        return name, layer.kind, 0.0, None
    features = (values / largest).square().mean(0).sqrt()
    features = features[features > 0]
    sizes = (largest * float(features.min()), largest * float(features.max())) if len(features) > 1 else None
    return name, layer.kind, largest * _root_mean_square(values / largest), sizes


def _root_mean_square(values: Tensor) -> float:
    return float(values.square().mean().sqrt()) if values.numel() else 0.0
