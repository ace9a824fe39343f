"""Notice a file that is replaced or cut off while it is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_landscape.errors import LogError

HEAD = 4096
"""bytes at the beginning of a file that are compared"""


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Check at the end of the context that the file was not replaced, rewritten or cut off; it may have grown.

    Raises:
        LogError: if it was.
    """
    before, head = _look(path)
    yield
    try:
        after, head_after = _look(path)
    except FileNotFoundError as error:
        raise LogError(f"{path} was removed while it was read") from error
    same = (before.st_ino, before.st_dev) == (after.st_ino, after.st_dev) and head_after.startswith(head)
    if not same or after.st_size < before.st_size:
        raise LogError(f"{path} was rewritten or cut off while it was read; run the command again")


def _look(path: Path) -> tuple[os.stat_result, bytes]:
    with path.open("rb") as file:
        return os.fstat(file.fileno()), file.read(HEAD)
