"""Evaluate the held-out batches with the targets of other samples, to see whether the loss depends on the pairing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.entries import (
    KeyPath,
    entry_at,
    equal,
    has_entry,
    key_paths,
    reordered_entry,
    with_entries,
)
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.roles import MAX_REPLACED_ENTRIES, find_roles, loss_or_nan, replacement_sources
from lightning_landscape.surface import Pairing, Params


def pairing_of(held_out: MeanLoss) -> Pairing | None:
    """Return functions that find the targets of the held-out batches and evaluate the loss with exchanged targets.

    Args:
        held_out: the loss on the held-out batches.

    Returns:
        the functions; None if there is no batch, or if it is an object whose entries are not known
    """
    if not held_out.batches:
        return None
    paths = key_paths(held_out.batches[0].batch)
    if not paths and not isinstance(held_out.batches[0].batch, Tensor):
        return None
    return Pairing(
        paired_losses=tuple(functools.partial(_mean_over_ranks, held_out, batch) for batch in held_out.batches),
        roles=functools.cache(functools.partial(find_roles, held_out)),  # several probes ask for them
        mispaired_losses=lambda targets: tuple(
            functools.partial(_mean_over_ranks, held_out, batch) for batch in mispaired(held_out.batches, targets)
        ),
        tries=1 + min(MAX_REPLACED_ENTRIES, len(paths)) if len(paths) > 1 else 0,
    )


def mispaired(batches: Sequence[ProbeBatch], targets: Sequence[KeyPath]) -> tuple[ProbeBatch, ...]:
    """Return the batches with the targets of other samples; which samples is random, but the same in each call.

    The targets come from the next batch that has the same layout and other targets, or else from the batch itself.
    """
    return tuple(_mispaired(batches, i, targets) for i in range(len(batches)))


def _mispaired(batches: Sequence[ProbeBatch], i: int, targets: Sequence[KeyPath]) -> ProbeBatch:
    batch = batches[i]
    paths = [path for path in targets if has_entry(batch.batch, path)]
    originals = [entry_at(batch.batch, path) for path in paths]
    for source in replacement_sources(batches, i):
        replacements = [entry_at(source.batch, path) for path in paths]
        if not all(map(equal, originals, replacements)):
            break
    # If the tensors differ in their first dimensions, these may be no samples (the batch may be one graph). Targets of
    # another batch are then taken as they are.
    if source is batch or batch.samples is not None:
        replacements = [reordered_entry(source.batch, path, _random_cycle) for path in paths]
    return replace(batch, batch=with_entries(batch.batch, dict(zip(paths, replacements, strict=True))))


def _mean_over_ranks(held_out: MeanLoss, batch: ProbeBatch, point: Params) -> Tensor:
    """Return the loss of one batch, the mean over ranks; NaN if the training step raises an error."""
    with held_out.evaluator.temporary_weights():
        loss = loss_or_nan(held_out, batch, point)
    return held_out.evaluator.ranks.mean(loss)


def _random_cycle(count: int) -> list[int]:
    """Return an order in which no sample keeps its position; it is random, since neighbours may have equal targets."""
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(count)).tolist()
    order = [0] * count
    for position, sample in zip(drawn, drawn[1:] + drawn[:1], strict=True):
        order[position] = sample
    return order
