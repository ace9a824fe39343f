"""Run a function on many items in a few processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def use_one_thread() -> None:
    """Let torch use one thread in this process, since the runs are too small for more."""
    torch.set_num_threads(1)


def run_in_processes(work: Callable[[T], R], items: Iterable[T], jobs: int) -> Iterator[tuple[T, R]]:
    """Call `work` on every item, in `jobs` processes.

    Yields:
        each item and its result, in the order in which they finish.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=use_one_thread) as pool:
        pending = {pool.submit(work, item): item for item in items}
        for future in as_completed(pending):
            yield pending[future], future.result()
