"""End the processes of distributed tests, and limit how long they wait.

A thread of gloo may hold the tensors of the last collective a little longer. If it releases them while the interpreter
shuts down, the process aborts (https://github.com/pytorch/pytorch/issues/190489).
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
from datetime import timedelta
from typing import NoReturn

import torch

TIMEOUT_SECONDS = 900
"""Seconds after which a test that hangs is ended, long enough for a very busy machine."""
TIMEOUT = timedelta(seconds=TIMEOUT_SECONDS)
"""the longest time that a rank waits for another"""


def exit_process() -> NoReturn:
    """End this process once all ranks have finished, without shutting down the interpreter."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def destroy_group_at_exit() -> None:
    """Wait for the threads of gloo before a process that `multiprocessing` has started exits."""
    if multiprocessing.parent_process() is not None:
        atexit.register(torch.distributed.destroy_process_group)
