"""The one place where the time is read; a monitor passes its clock to everything that needs one."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from threading import Timer


class Clock:
    """The clock of this machine. Tests and replays pass a subclass of their own.

    It chooses the effort once in a run where that is "auto", ends an examination that takes far too long, measures what
    watching costs, announces long work in the terminal, and dates events. No verdict depends on it otherwise.
    """

    def now(self) -> float:
        """Return the seconds since some fixed moment; it cannot be set, so it does not jump with the calendar."""
        return time.perf_counter()

    def date(self) -> datetime:
        """Return the date and time in UTC."""
        return datetime.now(timezone.utc)

    def call_after(self, seconds: float, action: Callable[[], object]) -> Callable[[], None]:
        """Call `action` in `seconds`, unless the function that is returned has been called by then."""
        timer = Timer(seconds, action)
        timer.daemon = True
        timer.start()

        def cancel() -> None:
            timer.cancel()
            timer.join(1.0)  # no thread stays behind, and a terminal that blocks does not block training

        return cancel


SYSTEM_CLOCK = Clock()
