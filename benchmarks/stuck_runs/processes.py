"""The same work on many runs, a few processes at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def one_thread() -> None:
    """One thread per process: the runs are too small to share."""
    import torch

    torch.set_num_threads(1)


def in_processes(work: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[tuple[T, R]]:
    """Do the work on every item.

    Yields:
        Each item with what came of it, as they are done.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=one_thread) as pool:
        pending = {pool.submit(work, item): item for item in items}
        for done in as_completed(pending):
            yield pending[done], done.result()
