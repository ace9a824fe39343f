"""Run a module of the tests in a Python process of its own, which may start ranks."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ranks import TIMEOUT_SECONDS

ROOT = Path(__file__).parents[1]


@contextmanager
def files_of(module: str, *arguments: str) -> Iterator[Path]:
    """Run a module with a folder and these arguments, and yield the folder with what it has written."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    with tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", module, name, *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        yield Path(name)
