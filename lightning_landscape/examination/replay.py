"""When training steps are evaluated once more, to find what made the loss not finite."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.examination.captures import Captures
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.surface import Probe


class Replay:
    """Lets the verdict on a loss that is not finite wait for one check, until batches are captured for its probes.

    Args:
        probes: the probes that find the reason; with none of them, the verdict does not wait.
        captures: captures the batches.
    """

    def __init__(self, probes: Sequence[Probe], captures: Captures) -> None:
        self.probes, self._captures = tuple(probes), captures

    def begins(self, state: RunState) -> bool:
        """Return whether batches are captured up to the next check: the latest loss is not finite, without verdict."""
        begins = state.progress.divergence is None and not state.progress.finite
        return bool(self.probes) and (begins or _lacks_verdict(state))

    def due(self, state: RunState) -> bool:
        """Return whether the probes run at this check."""
        return self._captures.for_replay and _lacks_verdict(state)

    def may_judge(self, state: RunState) -> bool:
        """Return whether a run that has diverged is judged at this check; else the verdict waits for the next one."""
        waits = bool(self.probes) and not self._captures.for_replay and _lacks_verdict(state)
        return state.diverged and not waits


def _lacks_verdict(state: RunState) -> bool:
    """Return whether the loss has stopped being finite and no verdict says so yet."""
    divergence = state.progress.divergence
    return state.diverged and divergence is not None and not divergence.finite
