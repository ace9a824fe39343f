"""What a monitor answers for: the fit that it has watched, or else the latest one that a copy of it has.

Many libraries copy the callbacks that they are given, some for every fit: then the object that the user holds watches
nothing. A copy therefore tells the monitors that it descends from, as long as they are there, what it watches.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from typing import Any, Protocol

from lightning_landscape.callbacks.views import report_of
from lightning_landscape.evidence import Verdict
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.reporting.messages import OF_A_COPY
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.trainer._compat import Callback

BOUND = ("log", "log_dict")
"""methods of the module that Lightning binds to every callback"""
STATE = (
    "_recorder",
    "_examination",
    "_guard",
    "_reporter",
    "_state",
    "_intervals",
    "_stopwatch",
    "_loaded",
    "_lineage",
)
"""attributes of a monitor that change while it watches"""


class _HasNotes(Protocol):
    def notes(self) -> list[str]: ...


class _Notes:
    """Notes of parts that are not kept."""

    def __init__(self, *notes: str) -> None:
        self._kept = notes

    def notes(self) -> list[str]:
        return list(self._kept)


class WatchedFit:
    """What is known of one fit. It keeps nothing of the run alive.

    Args:
        seen: the observations, which go on while the fit does.
        parts: what else has notes for the report.
        trainer: whose fit it is.
        whole: whether the monitor tells the story of the whole run.
    """

    def __init__(
        self, state: RunState, parts: Sequence[_HasNotes], trainer: Any = None, *, whole: bool = False
    ) -> None:
        self.state, self.whole = state, whole
        self._parts = parts
        self.trainer = None if trainer is None else weakref.ref(trainer)

    def report(self) -> Report:
        """Return what was seen so far, with the notes."""
        return report_of(self.state, *self._parts)

    def close(self, parts: Sequence[_HasNotes]) -> None:
        """Keep what these parts have to say at the end of the fit, and let go of them."""
        self._parts = [_Notes(*(note for part in parts for note in part.notes()))]

    def of_a_copy(self) -> WatchedFit:
        """Return the same, for a monitor of which a copy has watched the fit."""
        return WatchedFit(self.state, [*self._parts, _Notes(OF_A_COPY)], whole=self.whole)

    def is_of_the_fit_of(self, other: WatchedFit) -> bool:
        """Whether both have watched for the same trainer."""
        mine, its = (fit.trainer and fit.trainer() for fit in (self, other))
        return mine is not None and mine is its

    def __getstate__(self) -> dict[str, Any]:
        """Return the observations and the notes so far; the parts and the trainer stay in this process."""
        notes = _Notes(*(note for part in self._parts for note in part.notes()))
        return {**vars(self), "_parts": [notes], "trainer": None}


class Lineage:
    """Which fit a monitor answers for, and which monitors it was copied from.

    References to ancestors are weak, and those that are gone are left out of the next copy, so that a chain of copies
    does not grow. A monitor that was unpickled has no ancestors.
    """

    def __init__(self) -> None:
        self._own: WatchedFit | None = None
        self._heard: WatchedFit | None = None
        self._ancestors: tuple[weakref.ref[Lineage], ...] = ()

    def begin(self, fit: WatchedFit) -> None:
        """The monitor begins to watch a fit: from now on it answers for its own, and its ancestors hear of it."""
        self._own, self._heard = fit, None
        for ancestor in self._ancestors:
            if (lineage := ancestor()) is not None:
                lineage._heard = fit

    def end(self, parts: Sequence[_HasNotes]) -> WatchedFit:
        """The fit is over: return what is known of it, with what these parts have to say.

        Raises:
            RuntimeError: if none has begun.
        """
        if self._own is None:
            raise RuntimeError("a fit has to begin before it ends")
        self._own.close(parts)
        return self._own

    def answer(self, own: WatchedFit) -> WatchedFit:
        """Return what the monitor answers for, where `own` is what it knows itself."""
        return own if self._own is not None or self._heard is None else self._heard.of_a_copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Lineage:
        """Return the lineage of a copy: what its original answers for it answers for too, until it watches a fit."""
        copied = Lineage()
        copied._heard = self._heard if self._own is None else None
        copied._ancestors = (weakref.ref(self), *(ref for ref in self._ancestors if ref() is not None))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process can use."""
        return {**vars(self), "_ancestors": ()}


class Reporting(Callback):
    """A callback that answers for the fit that it has watched, or else for the latest that a copy of it has."""

    _state: RunState
    _stopwatch: Stopwatch
    _guard: Guard
    _examination: Examination
    _reporter: Reporter

    def __init__(self) -> None:
        super().__init__()
        self._lineage = Lineage()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """One verdict per episode, in order."""
        return tuple(self._answer.state.verdicts)

    @property
    def verdict(self) -> Verdict | None:
        """The latest verdict, or None."""
        return next(reversed(self.verdicts), None)

    @property
    def report(self) -> Report:
        """What was seen so far: a string with `to_dict`, `to_markdown` and a form for notebooks.

        It is that of the latest fit which a copy of this monitor watched, where the monitor itself has watched none;
        a note says so. The same goes for the verdicts.
        """
        return self._answer.report()

    @property
    def _answer(self) -> WatchedFit:
        return self._lineage.answer(WatchedFit(self._state, self._parts))

    @property
    def _parts(self) -> tuple[_HasNotes, ...]:
        """What has notes for the report, besides the observations."""
        return self._stopwatch, self._guard, self._examination, self._reporter

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles are made of: settings and observations, and nothing of the run.

        What belongs to a fit that is going on (its clock, its hooks) stays behind: a copy watches from its next fit on.
        """
        state = {name: value for name, value in vars(self).items() if name not in BOUND}
        if state["_watching"]:
            state["_watching"], state["_stopwatch"] = False, copy.copy(self._stopwatch)
            state["_stopwatch"].end()
        return state

    def __copy__(self) -> Any:
        """Return a copy that shares probes, remedies and the like with this one, and has observations of its own."""
        memo = {id(thing): thing for thing in self._examination.given}
        state = self.__getstate__()
        twin = object.__new__(type(self))
        for name, value in state.items():
            vars(twin)[name] = copy.deepcopy(value, memo) if name in STATE else value
        return twin
