"""`last_report`: what was seen in the latest fit, whichever object watched it."""

from __future__ import annotations

from lightning_landscape.callbacks.copies import WatchedFit
from lightning_landscape.reporting.report import Report

_ended: list[WatchedFit] = []
"""the latest fit that ended, if any"""


def ended(fit: WatchedFit) -> None:
    """Note that a fit has ended; what a `LandscapeMonitor` has seen of it stands above what the other monitors have."""
    latest = next(iter(_ended), None)
    if latest is None or fit.whole or not latest.whole or not fit.is_of_the_fit_of(latest):
        _ended[:] = [fit]


def last_report() -> Report | None:
    """Return the report of the latest fit that ended in this process; None where none has.

    It is for libraries that make or copy their callbacks themselves. Where a `LandscapeMonitor` and other monitors have
    watched the same fit, it is the report of the `LandscapeMonitor`.
    """
    return _ended[0].report() if _ended else None
