"""All ranks of a run take every step of a probe together, or none of them does."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_landscape.errors import SurfaceError
from lightning_landscape.trainer.host import Host

T = TypeVar("T")


class Status(enum.IntEnum):
    """What a rank tells the others when they synchronise."""

    READY = 0
    """it begins a piece of work"""
    DONE = 1
    """it has completed a piece of work"""
    CLOSING = 2
    """it closes the surface"""
    FAILED = 3
    """an error was raised on it"""


class Ranks:
    """Synchronises the ranks of a run, so that an error on one of them ends the probe on all.

    At each synchronisation every rank sends its `Status`. A rank on which an error was raised sends FAILED once, where
    the others send their next status, and from then on no rank sends anything. With one rank, nothing is sent.

    An error inside a collective operation of the user's own step is not covered: as in training, the other ranks then
    wait until their process group times out.
    """

    def __init__(self, host: Host) -> None:
        alone = host.world_size == 1 or not (dist.is_available() and dist.is_initialized())
        self.size = 1 if alone else dist.get_world_size()
        self.device = host.device
        self.diverged = False
        """whether the ranks have sent different statuses, or one has failed"""

    def meet(self, status: Status) -> None:
        """Send `status` to the other ranks, and wait for theirs.

        Raises:
            SurfaceError: if this rank has not failed and another rank has failed or sent another status.
        """
        if self.size == 1:
            return
        if self.diverged:
            if status is Status.READY:
                raise SurfaceError("[LL303] this surface cannot be evaluated any more, since it failed on some ranks")
            return
        votes = torch.zeros(len(Status), device=self.device)
        votes[status] = 1
        dist.all_reduce(votes)
        counts = votes.tolist()
        if counts[status] == self.size and status is not Status.FAILED:
            return
        self.diverged = True
        if status is not Status.FAILED:
            others = "failed" if counts[Status.FAILED] else "took another step"
            raise SurfaceError(f"[LL303] skipped, since the same probe {others} on another rank")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Synchronise before and after a piece of work, which fails on this rank if it fails on any."""
        self.meet(Status.READY)
        try:
            yield
        except Exception:
            self.meet(Status.FAILED)
            raise
        self.meet(Status.DONE)

    def all(self, value: T) -> list[T]:
        """Return the values of all ranks, in the order of the ranks; every rank has to call this."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over the ranks; a value that was computed from sharded tensors is a mean already."""
        if self.size == 1 or hasattr(value, "to_local"):
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size
