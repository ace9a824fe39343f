"""Which training batches are copied for the probes of the next check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_landscape.module_surface.batches import ProbeSet


class Captures:
    """Keeps copies of the last batches before a check, if probes may run at it.

    A checkpoint does not contain these batches, so a run that resumes from it lacks them at the next check. Probes
    therefore wait for the check after it in both runs. They do not wait twice, since frequent checkpoints would
    otherwise prevent all probes. The search for what made a loss infinite or NaN does not wait at all: both runs then
    use the batches after the checkpoint.

    Args:
        max_batches: the largest number of batches that are captured.
    """

    def __init__(self, max_batches: int) -> None:
        self.batches = ProbeSet(max_batches)
        self.forget()

    def forget(self) -> None:
        """Forget all that was observed."""
        self.for_probes = False
        """whether probes of the schedule or of a diagnosis may run at the next check"""
        self.for_divergence = False
        """whether training steps are evaluated at the next check to find what made the loss not finite"""
        self._postponed = False
        self.batches.clear()

    def plan(self, *, for_probes: bool, for_divergence: bool) -> None:
        """Begin to capture for the next check."""
        self.for_probes, self.for_divergence = for_probes, for_divergence
        self._postponed = self._postponed and for_probes
        self.batches.clear()

    def __call__(self, steps_left: int) -> bool:
        """Return whether the batch that is `steps_left` steps before the next check is captured."""
        return (self.for_probes or self.for_divergence) and steps_left <= self.batches.max_batches

    def end_probes(self) -> None:
        """Note that probes have run, so that the next ones may be postponed by a checkpoint again."""
        self._postponed = False

    def on_checkpoint(self) -> None:
        """Release the batches, which the checkpoint lacks, and let probes wait for the check after the next one."""
        if self._checkpoint_lacks_batches:
            self.for_probes, self._postponed = False, True
            self.batches.clear()
        if self.for_divergence:
            self.batches.clear()

    @property
    def _checkpoint_lacks_batches(self) -> bool:
        """Whether a run that resumes from here would lack batches that this run has."""
        return self.for_probes and not self._postponed and len(self.batches) > 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        return {
            "captures_batches": self.for_probes and not self._checkpoint_lacks_batches,
            "postponed": self._postponed or self._checkpoint_lacks_batches,
            "for_divergence": self.for_divergence,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.for_probes, self._postponed = bool(state["captures_batches"]), bool(state["postponed"])
        self.for_divergence = bool(state.get("for_divergence", False))  # version 0.1 had none
