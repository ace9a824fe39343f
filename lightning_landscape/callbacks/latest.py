"""`last_report`: the report of the latest fit, whichever monitor watched it."""

from __future__ import annotations

from lightning_landscape.callbacks.watched_fit import WatchedFit
from lightning_landscape.reporting.report import Report

_ended: list[WatchedFit] = []
"""the latest fit that ended, if any"""


def enter_ended_fit(fit: WatchedFit) -> None:
    """Enter that a fit has ended; the report of a `LandscapeMonitor` takes precedence over those of other monitors."""
    latest = next(iter(_ended), None)
    if latest is None or fit.whole or not latest.whole or not fit.is_of_the_fit_of(latest):
        _ended[:] = [fit]


def last_report() -> Report | None:
    """Return the report of the latest fit that ended in this process; None where none has.

    It serves with libraries that make or copy the callbacks. Where a `LandscapeMonitor` and other monitors have
    watched the same fit, it is the report of the `LandscapeMonitor`.
    """
    return _ended[0].report() if _ended else None
