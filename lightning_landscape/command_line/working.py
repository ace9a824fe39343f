"""What surrounds the work of a verb that runs the user's code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from threading import Event, Thread

from lightning_landscape.command_line.progress import Progress

EVERY = 0.5
"""seconds between two updates of the bar"""


@contextlib.contextmanager
def working(work: str) -> Iterator[None]:
    """Show how long the work inside takes, if it is long, and send what the user's code prints to standard error."""
    ended = Event()
    with Progress(f"{work}, seconds") as progress:

        def count() -> None:
            while not ended.wait(EVERY):
                progress.advance(EVERY)

        counter = Thread(target=count, daemon=True)
        counter.start()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        finally:
            ended.set()
            counter.join()
