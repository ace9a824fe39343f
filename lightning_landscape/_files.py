"""Write files so that a reader never finds half of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then move the file that it wrote to `path`.

    Missing directories are made. Where `write` fails, an older file at `path` stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is always the same, so that the next call replaces a draft which a killed process has left behind.
    draft = path.with_name(path.name + ".part")
    try:
        write(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
