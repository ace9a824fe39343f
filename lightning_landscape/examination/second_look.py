"""A second look at an alarm whose plateau goes on, which costs no gradient and corrects the alarm at most once."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.diagnosis import Finder
from lightning_landscape.diagnosis.corrections import correction, may_be_corrected
from lightning_landscape.evidence import Cause, Verdict
from lightning_landscape.examination.host_readings import read_host
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.examination.snapshots import Snapshots
from lightning_landscape.trainer.host import Host

SOONER = 4
"""a second look is so cheap that it does not wait as long as a second diagnosis, but a quarter of that"""


class SecondLook:
    """Looks at the latest alarm again while the loss still stands still, and finds what shows only later.

    Each look doubles the time since the alarm, so there are few in a run of any length.

    Args:
        finders: those of the monitor; with none of them, no verdict names a finding, and nothing is looked at.
        snapshots: earlier weights of the run.
    """

    def __init__(self, finders: Sequence[Finder], snapshots: Snapshots) -> None:
        self._finders, self._snapshots = tuple(finders), snapshots

    def __call__(self, host: Host, state: RunState) -> Verdict | None:
        """Return the verdict that now replaces the latest alarm, and enter it into the state; None if there is none.

        Every rank has to call this.
        """
        if not self._finders or not _is_due(state):
            return None
        state.judged_at = state.steps
        read_host(host, state, self._snapshots)
        verdict = correction(state.verdicts[-1], state.evidence(), self._finders)
        if verdict is None or verdict.finding is None or verdict.finding.name in state.named_findings:
            return None
        state.verdicts[-1] = verdict
        return verdict


def _is_due(state: RunState) -> bool:
    """Return whether it is time for a look at the alarm of the present plateau."""
    since, told = state.progress.since, state.verdicts[-1] if state.verdicts else None
    if told is None or told.cause is Cause.UNDECIDED or not may_be_corrected(told) or state.judged_at is None:
        return False
    if not state.progress.stalled or state.progress.divergence is not None or state.optimizer_count > 1:
        return False
    wait = max(state.patience // SOONER, state.judged_at - told.step)
    of_this_plateau = since is not None and since - told.step < state.patience
    return of_this_plateau and state.steps - state.judged_at >= wait
