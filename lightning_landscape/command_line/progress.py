"""A progress bar on standard error for work that takes longer than two seconds."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TypeVar

from lightning_landscape.clock import SYSTEM_CLOCK, Clock

SHOWN_AFTER = 2.0
"""seconds of work after which the bar appears"""
BETWEEN = 0.2
"""seconds between two updates"""

Item = TypeVar("Item")


class Bar(Protocol):
    """Shows how much of some work is done."""

    def show(self, done: float, total: float | None) -> None:
        """Show that this much is done, of all that there is; the total may be unknown."""

    def remove(self) -> None:
        """Remove the bar from the terminal."""


class Progress:
    """Counts what is done of some work, and shows a bar once the work has taken two seconds; a context manager.

    The bar is drawn by Rich if it is installed, and as a line of text if not. Nothing is shown where standard error is
    not a terminal.

    Args:
        work: what is being done, such as "Reading event files".
        total: how much there is to do; None if it is unknown.
        clock: measures the time.
    """

    def __init__(self, work: str, total: float | None = None, clock: Clock = SYSTEM_CLOCK) -> None:
        self.work, self.total, self.done = work, total, 0.0
        self._clock, self._bar = clock, None
        self._next = clock.now() + SHOWN_AFTER if sys.stderr.isatty() else math.inf

    _bar: Bar | None

    def advance(self, amount: float = 1.0) -> None:
        """Add to what is done."""
        self.done += amount
        if self._clock.now() >= self._next:
            self._bar = _bar(self.work) if self._bar is None else self._bar
            self._bar.show(self.done, self.total)
            self._next = self._clock.now() + BETWEEN

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.remove()


def with_progress(items: Iterable[Item], work: str) -> Iterator[Item]:
    """Yield the items, and show a bar if going through them takes longer than two seconds."""
    with Progress(work, len(items) if isinstance(items, Sized) else None) as progress:
        for item in items:
            yield item
            progress.advance()


def _bar(work: str) -> Bar:
    try:
        return _RichBar(work)
    except ImportError:
        return _TextBar(work)


class _TextBar:
    """One line of text that is written anew at each update."""

    def __init__(self, work: str) -> None:
        self._work, self._length = work, 0

    def show(self, done: float, total: float | None) -> None:
        text = f"{self._work} … {done / total:.0%}" if total else f"{self._work} … {done:,.0f}"
        sys.stderr.write(f"\r{text:<{self._length}}")
        sys.stderr.flush()
        self._length = len(text)

    def remove(self) -> None:
        if self._length:
            sys.stderr.write(f"\r{'':<{self._length}}\r")
            sys.stderr.flush()


class _RichBar:
    """A bar of Rich; an `ImportError` is raised if Rich is not installed."""

    def __init__(self, work: str) -> None:
        from rich.console import Console
        from rich.progress import Progress as Bars

        self._bars = Bars(console=Console(stderr=True), transient=True)
        self._work = work

    def show(self, done: float, total: float | None) -> None:
        if not self._bars.tasks:
            self._bars.add_task(self._work, total=total)
            self._bars.start()
        self._bars.update(self._bars.tasks[0].id, completed=done)

    def remove(self) -> None:
        self._bars.stop()
