"""The probes that follow a new alarm, to show the plateau and to try changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.evidence import Plane
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.schedule import Schedule
from lightning_landscape.examination.verdicts import Verdicts
from lightning_landscape.surface import Probe


class FollowUp:
    """Decides whether the follow-up probes run: once for each plateau with an alarm.

    Args:
        probes: run after those of the diagnosis.
        verdicts: reaches the verdicts.
    """

    def __init__(self, probes: Sequence[Probe], verdicts: Verdicts) -> None:
        self.probes = tuple(probes)
        self._verdicts = verdicts
        self.forget()

    def forget(self) -> None:
        """Forget all that was observed."""
        self._due = False  # at the present check
        self._last_pictured: int | None = None  # the step of the latest alarm with a picture of the plane

    def due(self, state: RunState, readings: Sequence[object], schedule: Schedule) -> bool:
        """Return whether these readings raise an alarm on a plateau that began long after the last pictured alarm."""
        verdict = self._verdicts.likely(state.evidence(readings))
        self._due = verdict is not None and verdict.stuck
        if self._due and verdict is not None and self._last_pictured is not None:
            self._due = verdict.since - self._last_pictured >= schedule.interval(state.steps)
        return self._due

    def enter(self, readings: Sequence[object], state: RunState) -> None:
        """Note whether these readings, all of the present check, have a picture that follows an alarm."""
        if self._due and any(type(reading) is Plane for reading in readings):
            self._last_pictured = state.step
        self._due = False

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        return {"pictured": self._last_pictured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._last_pictured = state["pictured"]
