"""What is measured when the loss has diverged: what made it infinite or NaN, or whether only the data have changed."""

from __future__ import annotations

from collections.abc import Sequence

from lightning_landscape.examination.captures import Captures
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.probes import before_and_after
from lightning_landscape.surface import Probe


class DivergenceProbes:
    """Lets the verdict on a divergence wait for one check, until batches are captured for its probes.

    Training steps are evaluated once more to find what made the loss infinite or NaN. If it grows without bound, the
    present weights are compared with earlier ones.

    Args:
        probes: the probes that find what is not finite; with none of them, no verdict waits.
        captures: captures the batches.
    """

    def __init__(self, probes: Sequence[Probe], captures: Captures) -> None:
        self.probes, self._captures = tuple(probes), captures

    def probes_for(self, state: RunState) -> tuple[Probe, ...]:
        """Return the probes for the present divergence."""
        if falls(state):
            return ()
        return (before_and_after,) if grows(state) else self.probes

    def begins(self, state: RunState) -> bool:
        """Return whether batches are captured up to the next check: the loss has diverged, or its last value is NaN."""
        begins = state.progress.divergence is None and not state.progress.finite
        return bool(self.probes) and (begins or _lacks_verdict(state))

    def due(self, state: RunState) -> bool:
        """Return whether the probes run at this check."""
        return self._captures.for_divergence and _lacks_verdict(state)

    def may_judge(self, state: RunState) -> bool:
        """Return whether a run that has diverged is judged at this check; else the verdict waits for the next one."""
        waits = bool(self.probes) and not self._captures.for_divergence and _lacks_verdict(state)
        return state.diverged and not waits


def grows(state: RunState) -> bool:
    """Return whether the loss grows without bound and is still finite."""
    divergence = state.progress.divergence
    return divergence is not None and divergence.finite and not divergence.downwards


def falls(state: RunState) -> bool:
    """Return whether the loss falls without bound, of which earlier weights say nothing."""
    return state.progress.divergence is not None and state.progress.divergence.downwards


def _lacks_verdict(state: RunState) -> bool:
    """Return whether the loss has diverged and no verdict says so yet."""
    return state.diverged and state.progress.divergence is not None
