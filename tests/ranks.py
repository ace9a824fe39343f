"""How the processes of a distributed test end, and how long one waits for another.

A thread of gloo's may hold the tensors of its last collective a moment longer; where it lets go of them while the
interpreter is taken down, the process aborts (https://github.com/pytorch/pytorch/issues/190489).
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
from datetime import timedelta
from typing import NoReturn

import torch

PATIENCE = 900
"""Seconds. No test ends sooner for it: it ends one that would never end, on a machine that is as busy as may be."""
LIMIT = timedelta(seconds=PATIENCE)
"""how long a rank waits for another"""


def leave() -> NoReturn:
    """Ends this process as soon as every rank is through, without taking the interpreter down."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def part_at_exit() -> None:
    """In a process that `multiprocessing` has started, which ends on its own terms: waits for those threads first."""
    if multiprocessing.parent_process() is not None:
        atexit.register(torch.distributed.destroy_process_group)
