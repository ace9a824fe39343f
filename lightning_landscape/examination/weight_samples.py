"""A few entries of the weights at the last copies: how far the weights go from where they were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor

from lightning_landscape.trainer._compat import local_shard

MOST_ENTRIES = 1024
"""most entries of a sample, evenly spaced over all weights; of smaller models, all entries"""
MOST_SAMPLES = 32
"""most samples that are kept, the latest ones"""
MOST_SPEEDS = 256
"""number of speeds at which they are thinned: of two neighbours, the larger is kept"""
FEWEST_SPEEDS = 3
"""number of speeds whose median can be compared with a later one"""


class WeightSamples:
    """Samples of the trainable weights after some optimizer steps, and the speed from each to the next.

    >>> samples = WeightSamples()
    >>> for step, value in enumerate([1.0, 2.0, 1.0]):
    ...     samples.add(step, [torch.tensor([value])])
    >>> samples.reach([torch.tensor([1.0])], since=0)
    (3, 0, 1.0)
    """

    def __init__(self) -> None:
        self._samples: dict[int, Tensor] = {}
        self._speeds: list[tuple[int, float]] = []

    def add(self, step: int, weights: Sequence[Tensor]) -> None:
        """Add a sample of these weights after this optimizer step; samples of other sizes are dropped."""
        sample = sample_of(weights)
        self._samples = {s: kept for s, kept in self._samples.items() if kept.shape == sample.shape}
        if self._samples:
            last = next(reversed(self._samples))
            self._speeds.append((step, float((sample - self._samples[last]).norm()) / max(1, step - last)))
        if len(self._speeds) > MOST_SPEEDS:
            pairs = zip(self._speeds[::2], self._speeds[1::2], strict=False)
            self._speeds = [max(pair, key=lambda speed: speed[1]) for pair in pairs]
        self._samples[step] = sample
        for first in list(self._samples)[:-MOST_SAMPLES]:
            del self._samples[first]

    def reach(self, weights: Sequence[Tensor], since: int) -> tuple[int, int, float] | None:
        """Return how far from these weights the samples since a step are.

        Args:
            weights: the present weights, on any device.
            since: the first step that counts.

        Returns:
            the number of samples, the first of their steps, and their largest distance from the weights over the norm
            of the weights; None if there is no sample, or the norm is 0
        """
        sample = sample_of(weights)
        samples = {s: kept for s, kept in self._samples.items() if s >= since and kept.shape == sample.shape}
        norm = float(sample.norm())
        if not samples or not norm:
            return None
        return len(samples), min(samples), max(float((sample - kept).norm()) for kept in samples.values()) / norm

    def fastest(self, since: int) -> tuple[int, float] | None:
        """Return when the weights moved fastest after a step, and how fast, over the median speed until that step.

        None if there are fewer than `FEWEST_SPEEDS` before, none after, or the weights did not move before.
        """
        before = [speed for step, speed in self._speeds if step <= since]
        after = [(step, speed) for step, speed in self._speeds if step > since]
        if len(before) < FEWEST_SPEEDS or not after or not median(before):
            return None
        step, speed = max(after, key=lambda pair: pair[1])
        return step, speed / median(before)

    def fastest_stretch(self) -> tuple[int, int] | None:
        """Return the steps between which the weights moved fastest in the whole run; None if they never moved.

        The first of them is 0 for the first speed that is kept.
        """
        stretches = list(pairwise([(0, 0.0), *self._speeds]))
        (first, _), (last, speed) = max(stretches, key=lambda pair: pair[1][1], default=((0, 0.0), (0, 0.0)))
        return (first, last) if speed else None

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins and tensors."""
        speeds = [list(speed) for speed in self._speeds]
        return {"steps": list(self._samples), "values": list(self._samples.values()), "speeds": speeds}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; an empty state begins anew."""
        self._samples = dict(zip(map(int, state.get("steps", ())), state.get("values", ()), strict=True))
        self._speeds = [(int(step), float(speed)) for step, speed in state.get("speeds", ())]


def sample_of(weights: Sequence[Tensor]) -> Tensor:
    """Return up to `MOST_ENTRIES` entries, evenly spaced over all weights, as float32 on the CPU, shape (n,).

    Of weights that are sharded over ranks, those on this rank count.
    """
    total = sum(local_shard(weight).numel() for weight in weights)
    if not total:
        return torch.zeros(0)
    every, offset, parts = -(-total // MOST_ENTRIES), 0, []
    for weight in weights:
        shard = local_shard(weight).detach()
        flat = (shard.real if shard.is_complex() else shard).reshape(-1)
        parts.append(flat[-offset % every :: every].to("cpu", torch.float32, copy=True))
        offset += shard.numel()
    return torch.cat(parts)
