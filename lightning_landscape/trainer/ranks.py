"""The ranks of a run take every step of a probe together, or not at all."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lightning_landscape.errors import SurfaceError
from lightning_landscape.trainer.host import Host

T = TypeVar("T")


class Status(enum.IntEnum):
    """What a rank says when it meets the others."""

    READY = 0
    DONE = 1
    CLOSING = 2
    FAILED = 3


class Ranks:
    """Where ranks meet, what they say is one word, so that a rank that has failed can tell the others where they wait.

    A failing rank says so exactly once, in place of whatever the others say next, and from then on nobody meets any
    more. Without other ranks nothing happens. Collectives inside the user's own step are beyond this: if one rank fails
    in the midst of them, the others wait for the time limit of their process group, as they do in training.
    """

    def __init__(self, host: Host) -> None:
        alone = host.world_size == 1 or not (dist.is_available() and dist.is_initialized())
        self.size = 1 if alone else dist.get_world_size()
        self.device = host.device
        self.diverged = False

    def meet(self, status: Status) -> None:
        """Say `status` and hear the others.

        Raises:
            SurfaceError: if this rank is well and another one is not, or is elsewhere in its program
        """
        if self.size == 1:
            return
        if self.diverged:
            if status is Status.READY:
                raise SurfaceError("[LL303] the ranks have parted: this surface can no longer be evaluated")
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
        """A piece of work that counts on this rank only if it succeeded on all."""
        self.meet(Status.READY)
        try:
            yield
        except Exception:
            self.meet(Status.FAILED)
            raise
        self.meet(Status.DONE)

    def all(self, mine: T) -> list[T]:
        """What every rank has to say, in the order of the ranks; all of them have to come here."""
        if self.size == 1:
            return [mine]
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, mine)
        return said

    def mean(self, value: Tensor) -> Tensor:
        """The mean over ranks; what is sharded over them is a mean already."""
        if self.size == 1 or hasattr(value, "to_local"):
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size
