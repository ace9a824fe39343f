"""Norms of many tensors at once, and the grouping of parameters by module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def tensor_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of each tensor, shape (n,), accumulated in float32 or better, on the first tensor's device.

    Of tensors that are sharded over ranks (FSDP2) it is the norm of the whole; all of these ranks have to come here.
    """
    if not tensors:
        return torch.zeros(0)
    if any(map(_is_sharded, tensors)):
        return _over_ranks(tensor_norms(_here(tensors)).square(), tensors).sqrt()
    if {tensor.layout for tensor in tensors} != {torch.strided}:
        tensors = [tensor.coalesce().values() if tensor.is_sparse else tensor for tensor in tensors]
    kinds = {tensor.dtype for tensor in tensors}
    low = not kinds.isdisjoint((torch.float16, torch.bfloat16))
    if low and any(kind.is_complex or kind == torch.float64 for kind in kinds):
        # `_foreach_norm` accumulates all in one precision, which must not be narrower than any of them.
        tensors, low = [tensor.float() if tensor.itemsize < 4 else tensor for tensor in tensors], False
    norms = torch._foreach_norm(list(tensors), 2, torch.float32) if low else torch._foreach_norm(list(tensors))
    device = norms[0].device
    return torch.stack([norm.to(device) for norm in norms]) if _scattered(norms) else torch.stack(list(norms))


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all tensors taken as one vector, 0-dim.

    >>> float(global_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]))
    5.0
    """
    norm: Tensor = torch.linalg.vector_norm(tensor_norms(tensors))
    return norm


def inner_product(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Sum of the products of corresponding entries, 0-dim, in float32 or better, on the device of the first tensor.

    A complex entry counts as its two real ones. Sharded tensors are summed over their ranks as in `tensor_norms`.
    """
    if not left and not right:
        return torch.zeros(())
    if any(map(_is_sharded, left)):
        pairs = zip(_here(left), _here(right), strict=True)
        return _over_ranks(torch.stack([inner_product([a], [b]) for a, b in pairs]), left).sum()
    parts = [torch.dot(_real(a).reshape(-1), _real(b).reshape(-1)) for a, b in zip(left, right, strict=True)]
    return torch.stack([part.to(parts[0].device) for part in parts]).sum()


def group_names(names: Sequence[str], limit: int = 32) -> list[str]:
    """The group of each parameter: the deepest level of modules that makes at most `limit` groups.

    A level that is itself wider is folded into `limit` runs of neighbours, so that a deep chain still shows both ends.

    >>> group_names(["net.0.weight", "net.0.bias", "net.2.weight"])
    ['net.0', 'net.0', 'net.2']
    >>> group_names(["body.a.w", "body.b.w", "head.w"], limit=2)
    ['body', 'body', 'head']
    >>> group_names(["net.0.w", "net.1.w", "net.2.w", "net.3.w"], limit=2)
    ['net.0 … net.1', 'net.0 … net.1', 'net.2 … net.3', 'net.2 … net.3']

    Raises:
        ValueError: if `limit` is below 2.
    """
    if limit < 2:
        raise ValueError(f"limit must be at least 2 to tell groups apart, got {limit}")
    paths = [name.split(".")[:-1] or [name] for name in names]
    levels = [[".".join(path[:depth]) for path in paths] for depth in range(1, max(map(len, paths), default=0) + 1)]
    fitting = [level for level in levels if 1 < len(set(level)) <= limit]
    if fitting:
        return fitting[-1]
    wide = next((level for level in levels if len(set(level)) > limit), None)
    return _folded(wide, limit) if wide else (levels[-1] if levels else [])


def _folded(groups: list[str], limit: int) -> list[str]:
    distinct = list(dict.fromkeys(groups))
    size = -(-len(distinct) // limit)
    runs = [distinct[start : start + size] for start in range(0, len(distinct), size)]
    label = {group: run[0] if len(run) == 1 else f"{run[0]} … {run[-1]}" for run in runs for group in run}
    return [label[group] for group in groups]


def _real(tensor: Tensor) -> Tensor:
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return tensor.float() if tensor.itemsize < 4 else tensor


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")


def _here(tensors: Sequence[Any]) -> list[Tensor]:
    """The part of each tensor that lives on this rank."""
    return [tensor.to_local() if _is_sharded(tensor) else tensor for tensor in tensors]


def _over_ranks(sums: Tensor, tensors: Sequence[Any]) -> Tensor:
    """Sums of local parts, shape (n,), added up over the shards: one collective for all that are sharded alike."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for i, tensor in enumerate(tensors):
        if _is_sharded(tensor):
            alike.setdefault((tensor.device_mesh, *tensor.placements), []).append(i)
    for (mesh, *placements), members in alike.items():
        part = sums[members]
        for dimension, placement in enumerate(placements):
            if placement.is_shard():
                torch.distributed.all_reduce(part, group=mesh.get_group(dimension))
        sums[members] = part
    return sums


def _scattered(tensors: Sequence[Tensor]) -> bool:
    return any(tensor.device != tensors[0].device for tensor in tensors)
