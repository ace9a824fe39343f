"""The clock, which is the only code that reads the time; a monitor passes its clock to whatever needs it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from threading import Timer


class Clock:
    """The clock of this machine; tests use a subclass.

    The time is used to choose the effort once per run if it is "auto", to end a diagnosis that takes far too long, to
    measure the overhead of the monitor, to announce long work in the terminal, and to date events. Verdicts do not
    depend on the time in any other way.
    """

    def now(self) -> float:
        """Return the seconds since a fixed moment; changes of the system time do not affect them."""
        return time.perf_counter()

    def date(self) -> datetime:
        """Return the date and time in UTC."""
        return datetime.now(timezone.utc)

    def call_after(self, seconds: float, action: Callable[[], object]) -> Callable[[], None]:
        """Call `action` in a thread after `seconds`, and return a function that cancels the call."""
        timer = Timer(seconds, action)
        timer.daemon = True
        timer.start()

        def cancel() -> None:
            timer.cancel()
            timer.join(1.0)  # wait for the thread, but not for ever: `action` may be blocked by the terminal

        return cancel


SYSTEM_CLOCK = Clock()
