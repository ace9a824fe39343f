"""When scheduled measurements are due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Schedule:
    """Decides when the next scheduled measurement of the loss surface is due.

    Args:
        every_n_steps: optimizer steps between two measurements; None for a tenth of the run, in a run of less than 5000
            steps for up to a third of it, and in one of unknown length for half of the steps so far, at least 500.

    Raises:
        ValueError: if `every_n_steps` is below 1.
    """

    def __init__(self, every_n_steps: int | None = None) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(
                f"every_n_steps must be at least 1 optimizer step, or None for a tenth of the run, got {every_n_steps}"
            )
        self.every_n_steps = every_n_steps
        self.forget()

    def forget(self) -> None:
        """Forget all that was observed."""
        self.horizon: int | None = None
        """optimizer steps of the whole run; None where they are unknown"""
        self.checkpointed = False
        """whether a checkpoint was written since the last measurement; the next one is then due sooner, since users
        compare checkpoints"""
        self.latest = 0
        """optimizer steps at the last measurement"""

    def enter(self, steps: int) -> None:
        """Enter a measurement after this many optimizer steps."""
        self.latest, self.checkpointed = steps, False

    def due(self, steps: int) -> bool:
        """Return whether a measurement is due after this many steps; half the interval is enough after a checkpoint."""
        interval = self.interval(steps)
        return steps - self.latest >= (interval // 2 if self.checkpointed else interval)

    def interval(self, steps: int) -> int:
        """Return the steps between two measurements; in a run of unknown length they grow with the steps so far."""
        if self.every_n_steps is not None:
            return self.every_n_steps
        if self.horizon is None:
            return max(500, steps // 2)
        return max(self.horizon // 10, min(500, self.horizon // 3), 1)

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, in builtins."""
        # Saving the state counts as a checkpoint: Lightning calls this before `on_save_checkpoint`.
        return {"checkpointed": True, "latest": self.latest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.checkpointed, self.latest = bool(state["checkpointed"]), int(state["latest"])
