"""Batches whose targets belong to other samples, and what the loss is on them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from lightning_landscape.module_surface.batches import ProbeBatch
from lightning_landscape.module_surface.entries import (
    Place,
    entry,
    equal,
    holds,
    listed_samples,
    places,
    rearranged,
    root,
    with_entries,
)
from lightning_landscape.module_surface.mean_loss import MeanLoss
from lightning_landscape.module_surface.roles import MOST, donors, find_roles, loss_of
from lightning_landscape.surface import Pairing, Params


def pairing_of(judged: MeanLoss) -> Pairing | None:
    """How to find the targets of these batches and exchange them; None where there is no batch of a known kind."""
    if not judged.batches:
        return None
    inside = places(judged.batches[0].batch)
    if not inside and not isinstance(judged.batches[0].batch, Tensor):
        return None
    return Pairing(
        paired_losses=tuple(functools.partial(_value, judged, batch) for batch in judged.batches),
        roles=functools.partial(find_roles, judged),
        mispaired_losses=lambda targets: tuple(
            functools.partial(_value, judged, batch) for batch in mispaired(judged.batches, targets)
        ),
        tries=1 + min(MOST, len(inside)) if len(inside) > 1 else 0,
    )


def mispaired(batches: Sequence[ProbeBatch], targets: Sequence[Place]) -> tuple[ProbeBatch, ...]:
    """The batches with their targets exchanged between samples, at random but always alike.

    The targets come from the next batch of equal shapes whose targets are others, or else from the batch itself.
    """
    return tuple(_mispaired(batches, i, targets) for i in range(len(batches)))


def _mispaired(batches: Sequence[ProbeBatch], i: int, targets: Sequence[Place]) -> ProbeBatch:
    batch = batches[i]
    targets = [place for place in targets if holds(batch.batch, place)]
    mine = [entry(batch.batch, place) for place in targets]
    for donor in (*donors(batches, i), batch):
        theirs = [entry(donor.batch, place) for place in targets]
        if not all(map(equal, mine, theirs)):
            break
    # Where the tensors share no first dimension, it may not be one of samples: the batch of another sample will do.
    if donor is batch or batch.samples is not None:
        listed = listed_samples(entry(donor.batch, root(donor.batch)))
        theirs = [rearranged(target, _random_cycle, listed) for target in theirs]
    return replace(batch, batch=with_entries(batch.batch, dict(zip(targets, theirs, strict=True))))


def _value(judged: MeanLoss, batch: ProbeBatch, point: Params) -> Tensor:
    """The loss of one batch, the mean over ranks; NaN where the step refuses it."""
    with judged.evaluator.at_other_weights():
        loss = loss_of(judged, batch, point)
    return judged.evaluator.ranks.mean(loss)


def _random_cycle(count: int) -> list[int]:
    """A random order that leaves nothing in its place, whatever the order in which the samples are."""
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(count)).tolist()
    order = [0] * count
    for position, sample in zip(drawn, drawn[1:] + drawn[:1], strict=True):
        order[position] = sample
    return order
