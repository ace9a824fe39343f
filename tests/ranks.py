"""The end of the processes of a distributed test, and the time that one waits for another.

A thread of gloo may still refer to the tensors of its last collective when the program ends. If it releases them while
the interpreter shuts down, the process aborts (https://github.com/pytorch/pytorch/issues/190489).
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
"""Seconds until a test that hangs is ended: long enough that a busy machine does not end one that works."""
LIMIT = timedelta(seconds=PATIENCE)
"""the time that a rank waits for another"""


def leave() -> NoReturn:
    """End this process when all ranks have finished, without shutting the interpreter down."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def part_at_exit() -> None:
    """Let a process that `multiprocessing` has started wait for the threads of gloo before it exits."""
    if multiprocessing.parent_process() is not None:
        atexit.register(torch.distributed.destroy_process_group)
