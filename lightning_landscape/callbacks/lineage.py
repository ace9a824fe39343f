"""The fit that a monitor reports on: the one it has watched, or else the latest one that a copy of it has watched.

Many libraries copy the callbacks that they are given, some for every fit, so that the user's own object watches no fit.
A copy therefore gives the fit that it watches to the monitors that it was copied from, as long as they exist.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lightning_landscape.callbacks.views import HasNotes, report_of
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.reporting.messages import OF_A_COPY
from lightning_landscape.reporting.report import Report

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


class _Notes:
    """The notes of parts of a monitor that have been released."""

    def __init__(self, *notes: str) -> None:
        self._notes = notes

    def notes(self) -> list[str]:
        return list(self._notes)


class WatchedFit:
    """The state of one fit and the notes on it; it keeps no object of the run alive.

    Args:
        state: the state of the run, which changes during the fit.
        parts: the other parts of the monitor that have notes for the report.
        trainer: the trainer of the fit.
        whole_run: whether the report is about the whole run, as that of a `LandscapeMonitor` is.
    """

    def __init__(
        self, state: RunState, parts: Sequence[HasNotes], trainer: Trainer | None = None, *, whole_run: bool = False
    ) -> None:
        self.state, self.whole_run = state, whole_run
        self._parts = parts
        self.trainer = None if trainer is None else weakref.ref(trainer)

    def report(self) -> Report:
        """Return the report so far, with the notes."""
        return report_of(self.state, *self._parts)

    def close(self, parts: Sequence[HasNotes]) -> None:
        """Keep the notes of these parts at the end of the fit, and release the parts but the stopwatch."""
        stopwatch = [part for part in parts if isinstance(part, Stopwatch)]
        self._parts = [*stopwatch, _Notes(*(note for part in parts if part not in stopwatch for note in part.notes()))]

    def of_a_copy(self) -> WatchedFit:
        """Return this fit with a note that a copy of the monitor has watched it."""
        return WatchedFit(self.state, [*self._parts, _Notes(OF_A_COPY)], whole_run=self.whole_run)

    def has_trainer_of(self, other: WatchedFit) -> bool:
        """Return whether both fits have the same trainer, which still exists."""
        own, others = (fit.trainer and fit.trainer() for fit in (self, other))
        return own is not None and own is others

    def __getstate__(self) -> dict[str, Any]:
        """Return the state and the notes so far, without the parts and the trainer."""
        notes = _Notes(*(note for part in self._parts for note in part.notes()))
        return {**vars(self), "_parts": [notes], "trainer": None}


class Lineage:
    """The fit that a monitor reports on, and the monitors that it was copied from.

    The references to those monitors are weak, and a copy leaves out those that no longer exist, so that a chain of
    copies does not grow. A monitor that was unpickled has none.
    """

    def __init__(self) -> None:
        self._own: WatchedFit | None = None
        self._of_copy: WatchedFit | None = None
        self._ancestors: tuple[weakref.ref[Lineage], ...] = ()
        self.drawn = False
        """whether pictures of a whole fit were drawn, by this monitor, one that it was copied from, or a copy of it"""

    def begin(self, fit: WatchedFit) -> None:
        """Report on this fit from now on, in this monitor and in those that it was copied from."""
        self._own, self._of_copy = fit, None
        for lineage in self._living():
            lineage._of_copy = fit

    def mark_drawn(self) -> None:
        """Enter that pictures of a whole fit were drawn, here and in the monitors that this one was copied from."""
        for lineage in (self, *self._living()):
            lineage.drawn = True

    def _living(self) -> Iterator[Lineage]:
        return (lineage for ancestor in self._ancestors if (lineage := ancestor()) is not None)

    def end(self, parts: Sequence[HasNotes]) -> WatchedFit:
        """End the fit, and return it with the notes of these parts.

        Raises:
            RuntimeError: if no fit has begun.
        """
        if self._own is None:
            raise RuntimeError("a fit has to begin before it ends")
        self._own.close(parts)
        return self._own

    def reported(self, own: WatchedFit) -> WatchedFit:
        """Return the fit that the monitor reports on; `own` is the one that it has watched itself."""
        return own if self._own is not None or self._of_copy is None else self._of_copy.of_a_copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Lineage:
        """Return the lineage of a copy, which reports on the fit of its original until it watches one itself."""
        copied = Lineage()
        copied.drawn = self.drawn
        copied._of_copy = self._of_copy if self._own is None else None
        copied._ancestors = (weakref.ref(self), *(ref for ref in self._ancestors if ref() is not None))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Return the fits, without the references to other monitors, which have no meaning in another process."""
        return {**vars(self), "_ancestors": ()}
