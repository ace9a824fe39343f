"""Keep warnings of torch from being printed once more for evaluations, under a file of this library."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PACKAGE = str(Path(__file__).parents[1]) + os.sep


@contextmanager
def repeated_warnings_dropped() -> Iterator[None]:
    """Show no warning inside the context that names a file of this library.

    torch names the line that calls its function. While operations are recorded, that is a line of this library, and the
    user's own step has shown the same warning with the line of the user's code. Filters are left as they are, since a
    change of them would let Python show old warnings again.
    """
    usual = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *where: Any, **more: Any) -> None:
        if not filename.startswith(_PACKAGE):
            usual(message, category, filename, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = usual
