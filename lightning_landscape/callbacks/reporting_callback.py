"""`ReportingCallback`: what a monitor says of a fit, what it saves in checkpoints, and what copies of it contain."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from lightning_landscape.callbacks.lineage import Lineage, WatchedFit
from lightning_landscape.callbacks.logged_scalars import Choice
from lightning_landscape.callbacks.views import HasNotes, all_verdicts, in_short
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
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.trainer._compat import Callback, state_of_renamed

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from matplotlib.figure import Figure

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
    "_asking",
    "_reader",
)
"""attributes of a monitor that change during a fit"""


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

    def _report_on_fit(self, trainer: Trainer, *, whole_run: bool) -> None:
        """Report on the fit that begins, in this monitor and in those that it was copied from."""
        parts = self._stopwatch, self._guard
        self._lineage.begin(WatchedFit(self._state, parts, trainer, whole_run=whole_run))

    def _draw(self, figures: Callable[[], Mapping[str, Figure]], *, last: bool = False) -> None:
        """Log pictures of the run so far: of the first fit, and of later ones only if there is an alarm.

        The fits of copies count, since each fold of a cross-validation would wait for pictures of a healthy run.
        """
        if not self._lineage.drawn or any(verdict.stuck for verdict in self._state.verdicts):
            step = self._state.step
            self._guard.attempt("drawing", lambda: self._reporter.pictures(figures, step, last=last))
        if last and self._reporter:
            self._lineage.mark_drawn()

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
