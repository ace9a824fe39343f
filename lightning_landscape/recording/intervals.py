"""The optimizer steps between two checks and between two measurements, equal on all ranks and after a resume."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lightning_landscape.tracking.loss_history import BLOCKS_PER_RUN, FIRST_HORIZON

BATCHES_WITHOUT_STEP = 20
"""batches without an optimizer step after which a monitor warns that it observes none"""


@dataclass(frozen=True)
class Intervals:
    """Optimizer steps between two checks, and between two measurements of a step.

    Args:
        horizon: number of optimizer steps of the whole run; None where it is unknown.
    """

    horizon: int | None = None

    @cached_property
    def stride(self) -> int:
        """Steps between two checks: 1% of the run, at least 10 and at most 100."""
        return min(100, max(10, (self.horizon or FIRST_HORIZON) // 100))

    @cached_property
    def norm_every_n_steps(self) -> int:
        """Steps between two measured gradient norms: a thousandth of the run, at least 10.

        A median of `GradientNorms`, taken over 50 of them, then covers the shortest window of `Progress`.
        """
        return max(10, (self.horizon or FIRST_HORIZON) // 1000)

    def updates_every(self, blocks: int) -> int:
        """Return the steps between two measured updates: this many blocks of `LossHistory`, at least 10 steps."""
        return max(10, blocks * (self.horizon or FIRST_HORIZON) // BLOCKS_PER_RUN)

    def steps_until_check(self, steps: int) -> int:
        """Return the steps from a check after `steps` steps to the next: the stride, or the rest of the run."""
        left = 0 if self.horizon is None else self.horizon - steps
        return min(self.stride, left) if left > 0 else self.stride
