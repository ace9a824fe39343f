"""The fit that a monitor reports on: the one it has watched, or else the latest one that a copy of it has watched.

Many libraries copy the callbacks that they are given, some for every fit, so that the user's own object watches no fit.
A copy therefore gives the fit that it watches to the monitors that it was copied from, as long as they exist.
"""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from lightning_landscape.callbacks.logged_scalars import Choice
from lightning_landscape.callbacks.views import HasNotes, all_verdicts, in_short, report_of
from lightning_landscape.errors import LandscapeWarning
from lightning_landscape.evidence import Finding, Verdict
from lightning_landscape.evidence.readings_log import ReadingsLog
from lightning_landscape.examination import saved_state
from lightning_landscape.examination.examination import Examination
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.remedy_outcome import RemedyOutcome
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.saved_weights import allowance, slimmed
from lightning_landscape.examination.stopwatch import Stopwatch
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.reporting.messages import OF_A_COPY
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.trainer._compat import Callback, state_of_renamed

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

BOUND_BY_LIGHTNING = ("log", "log_dict")
"""methods of the module that Lightning binds to every callback"""
CHANGES_DURING_A_FIT = (
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
"""attributes of a monitor that change during a fit"""


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

    def begin(self, fit: WatchedFit) -> None:
        """Report on this fit from now on, in this monitor and in those that it was copied from."""
        self._own, self._of_copy = fit, None
        for ancestor in self._ancestors:
            if (lineage := ancestor()) is not None:
                lineage._of_copy = fit

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
        copied._of_copy = self._of_copy if self._own is None else None
        copied._ancestors = (weakref.ref(self), *(ref for ref in self._ancestors if ref() is not None))
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Return the fits, without the references to other monitors, which have no meaning in another process."""
        return {**vars(self), "_ancestors": ()}


class ReportingCallback(Callback):
    """A callback with the verdicts, readings and report of the fit that it, or else a copy of it, has watched."""

    _state: RunState
    _stopwatch: Stopwatch
    _guard: Guard
    _examination: Examination
    _reporter: Reporter
    _watching: bool
    _recorder: StepRecorder
    _log_scalars: Choice = "all"

    def __init__(self, settings: Mapping[str, object]) -> None:
        super().__init__()
        self._state_key = self._generate_state_key(**{name: str(value) for name, value in settings.items()})
        self._loaded: dict[str, Any] | None = None
        self._lineage = Lineage()

    @property
    def state_key(self) -> str:
        """The key of the state in a checkpoint: the class and the settings, so that no two monitors share a key."""
        return self._state_key

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins and tensors, without the settings."""
        if self._loaded is not None:
            return self._loaded
        state: dict[str, Any] = {}
        with self._guard("saving"):
            state.update(saved_state.state_of(self._observed))
        return state

    @property
    def _observed(self) -> dict[str, saved_state.HasState]:
        return {"recorder": self._recorder, "run": self._state, "examination": self._examination}

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Make the next scheduled measurement due sooner, and let the checkpoint grow by a little only."""
        self._examination.on_checkpoint()
        states, files = checkpoint.get("callbacks", {}), self._examination.snapshots.files
        with self._guard("saving"):
            if trainer.is_global_zero and self.state_key in states:
                files.folder = files.folder or self._reporter.folder
                states[self.state_key] = slimmed(states[self.state_key], allowance(checkpoint), files)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Load the state of a monitor of this class with other settings, if there is none for these settings."""
        self._loaded = state_of_renamed(self, trainer, checkpoint.get("callbacks"))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state for the fit that is about to begin."""
        self._loaded = state_dict

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdicts of the run in order, one for each plateau of the training loss or of a metric."""
        return tuple(all_verdicts(self._reported_fit.state))

    @property
    def verdict(self) -> Verdict | None:
        """The latest verdict; None before the first."""
        return next(reversed(self.verdicts), None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found in the code, the data or the settings at the latest check, those that weigh most first."""
        return self._reported_fit.state.findings.latest

    @property
    def remedy_outcomes(self) -> tuple[RemedyOutcome, ...]:
        """What the remedies did about each alarm, and whether the run escaped from the plateau."""
        return tuple(self._reported_fit.state.remedy_outcomes)

    @property
    def treatments(self) -> tuple[RemedyOutcome, ...]:
        """The old name of `remedy_outcomes`."""
        warnings.warn("'treatments' is called 'remedy_outcomes' since version 0.2", DeprecationWarning, stacklevel=2)
        return self.remedy_outcomes

    @property
    def readings(self) -> ReadingsLog:
        """The readings of the probes, by their class."""
        return self._reported_fit.state.readings

    @property
    def report(self) -> Report:
        """The report so far: a string with `to_dict`, `to_markdown` and a form for notebooks.

        If this monitor has watched no fit but a copy of it has, it is the report of the latest fit of a copy, and a
        note says so. The verdicts and readings are then those of that fit as well.
        """
        return self._reported_fit.report()

    @property
    def _reported_fit(self) -> WatchedFit:
        return self._lineage.reported(WatchedFit(self._state, self._parts))

    @property
    def _parts(self) -> tuple[HasNotes, ...]:
        """The parts that have notes for the report, besides the state."""
        return self._stopwatch, self._guard, self._examination, self._reporter

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {in_short(self._reported_fit.state)}>"

    def _warn_once(self, code: str, text: str, kind: type[Warning] = LandscapeWarning) -> None:
        """Warn, unless the warning with this code was given in this fit."""
        if code not in self._state.announced_codes:
            self._state.announced_codes.append(code)
            self._reporter.warn(text, kind)

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles contain: the settings and the state, without objects of the run.

        A copy that is made during a fit does not watch that fit.
        """
        state = {name: value for name, value in vars(self).items() if name not in BOUND_BY_LIGHTNING}
        if state["_watching"]:
            state["_watching"], state["_stopwatch"] = False, copy.copy(self._stopwatch)
            state["_stopwatch"].end()
        return state

    def __copy__(self) -> Self:
        """Return a copy with its own state, which shares the user's probes and remedies with this monitor."""
        memo = {id(given): given for given in self._examination.given}
        copied = object.__new__(type(self))
        for name, value in self.__getstate__().items():
            vars(copied)[name] = copy.deepcopy(value, memo) if name in CHANGES_DURING_A_FIT else value
        return copied
