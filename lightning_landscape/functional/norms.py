"""Norms and inner products of many tensors at once, and the grouping of parameters by module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

BLOCK = 2**18
"""values of a difference that are in memory at the same time"""


def tensor_norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of each tensor, shape (n,), in float32 or better, on the first tensor's device.

    The norm of a tensor that is sharded over ranks (FSDP2) is that of the whole tensor. It takes a collective
    operation, so all ranks that hold a shard must call this function.
    """
    if not tensors:
        return torch.zeros(0)
    if any(map(_is_sharded, tensors)):
        return _sum_over_ranks(tensor_norms(_local_parts(tensors)).square(), tensors).sqrt()
    if {tensor.layout for tensor in tensors} != {torch.strided}:
        tensors = [tensor.coalesce().values() if tensor.is_sparse else tensor for tensor in tensors]
    dtypes = {tensor.dtype for tensor in tensors}
    low = not dtypes.isdisjoint((torch.float16, torch.bfloat16))
    if low and any(dtype.is_complex or dtype == torch.float64 for dtype in dtypes):
        # `_foreach_norm` uses one precision for all tensors, which must not be lower than that of any of them.
        tensors, low = [tensor.float() if tensor.itemsize < 4 else tensor for tensor in tensors], False
    norms = torch._foreach_norm(list(tensors), 2, torch.float32) if low else torch._foreach_norm(list(tensors))
    device = norms[0].device
    return torch.stack([norm.to(device) for norm in norms]) if _on_many_devices(norms) else torch.stack(list(norms))


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all tensors concatenated to one vector, 0-dim.

    >>> float(global_norm([torch.tensor([3.0]), torch.tensor([[4.0]])]))
    5.0
    """
    norm: Tensor = torch.linalg.vector_norm(tensor_norms(tensors))
    return norm


def distance(left: Tensor, right: Tensor) -> Tensor:
    """Return the Euclidean norm of the difference of two tensors of one shape, 0-dim, in float32 or better.

    The difference is made block by block: a new tensor of the size of a layer takes longer than its values.

    >>> float(distance(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])))
    5.0
    """
    if _is_sharded(left):
        return tensor_norms([left - right])[0]
    blocks = zip(*(torch.split(side.reshape(-1), BLOCK) for side in (left, right)), strict=True)
    norm: Tensor = torch.linalg.vector_norm(torch.stack([tensor_norms([a - b])[0] for a, b in blocks]))
    return norm


def inner_product(left: Sequence[Tensor], right: Sequence[Tensor]) -> Tensor:
    """Return the sum of the products of corresponding entries, 0-dim, in float32 or better, on the first device.

    A complex entry counts as two real ones. Sharded tensors are summed over their ranks, as in `tensor_norms`.
    """
    if not left and not right:
        return torch.zeros(())
    if any(map(_is_sharded, left)):
        pairs = zip(_local_parts(left), _local_parts(right), strict=True)
        return _sum_over_ranks(torch.stack([inner_product([a], [b]) for a, b in pairs]), left).sum()
    products = [torch.dot(_as_real(a).reshape(-1), _as_real(b).reshape(-1)) for a, b in zip(left, right, strict=True)]
    return torch.stack([product.to(products[0].device) for product in products]).sum()


def group_names(names: Sequence[str], limit: int = 32) -> list[str]:
    """Return the group of each parameter: its module at the deepest level with at most `limit` modules.

    If no level has between 2 and `limit` modules, neighbouring modules of the first level with more of them are merged
    into at most `limit` groups, so that the first and the last layer of a deep network are in different groups.

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
    return _merge_neighbours(wide, limit) if wide else (levels[-1] if levels else [])


def _merge_neighbours(groups: list[str], limit: int) -> list[str]:
    distinct = list(dict.fromkeys(groups))
    size = -(-len(distinct) // limit)
    runs = [distinct[start : start + size] for start in range(0, len(distinct), size)]
    label = {group: run[0] if len(run) == 1 else f"{run[0]} … {run[-1]}" for run in runs for group in run}
    return [label[group] for group in groups]


def _as_real(tensor: Tensor) -> Tensor:
    """Return the tensor in float32 or better, with a complex entry as two real ones."""
    tensor = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    return tensor.float() if tensor.itemsize < 4 else tensor


def _is_sharded(tensor: Tensor) -> bool:
    return hasattr(tensor, "to_local")


def _local_parts(tensors: Sequence[Any]) -> list[Tensor]:
    """Return the part of each tensor that lies on this rank."""
    return [tensor.to_local() if _is_sharded(tensor) else tensor for tensor in tensors]


def _sum_over_ranks(sums: Tensor, tensors: Sequence[Any]) -> Tensor:
    """Add up the sums over local parts, shape (n,), with one collective for all tensors that are sharded alike.

    `sums` is changed in place and returned.
    """
    alike: dict[tuple[Any, ...], list[int]] = {}
    for i, tensor in enumerate(tensors):
        if _is_sharded(tensor):
            alike.setdefault((tensor.device_mesh, *tensor.placements), []).append(i)
    for (mesh, *placements), members in alike.items():
        total = sums[members]
        for dimension, placement in enumerate(placements):
            if placement.is_shard():
                torch.distributed.all_reduce(total, group=mesh.get_group(dimension))
        sums[members] = total
    return sums


def _on_many_devices(tensors: Sequence[Tensor]) -> bool:
    return any(tensor.device != tensors[0].device for tensor in tensors)
