"""When a monitor looks up: every so many steps, counted the same on every rank and after every resume."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lightning_landscape.tracking.loss_history import BLOCKS_PER_RUN, FIRST_HORIZON

WITHOUT_STEPS = 20
"""batches without any optimizer step after which a trainer is said to take none that can be seen"""


@dataclass(frozen=True)
class Intervals:
    """Steps between two looks at what was recorded, and the end of the run.

    Args:
        horizon: optimizer steps that the fit will take, or None where nobody knows.
    """

    horizon: int | None = None

    @cached_property
    def stride(self) -> int:
        """Steps that are drained together: 1% of the run, as often as conclusions are drawn, from 10 to 100."""
        return min(100, max(10, (self.horizon or FIRST_HORIZON) // 100))

    @cached_property
    def norm_every_n_steps(self) -> int:
        """Steps from one measured gradient to the next: 10, or a thousandth of a long run.

        The medians of `GradientNorms`, over 50 of them, then span the shortest window of `Progress`.
        """
        return max(10, (self.horizon or FIRST_HORIZON) // 1000)

    def updates_every(self, blocks: int) -> int:
        """Steps from one measured update to the next: 10, or so many blocks of `LossHistory` where they are longer."""
        return max(10, blocks * (self.horizon or FIRST_HORIZON) // BLOCKS_PER_RUN)

    def steps_until_check(self, steps: int) -> int:
        """Steps from a look after `steps` of them to the next: the stride, or the rest of the run."""
        left = 0 if self.horizon is None else self.horizon - steps
        return min(self.stride, left) if left > 0 else self.stride
