"""All losses of a log in at most 200 blocks for the length of the run, for tests that look at the whole of it."""

from __future__ import annotations

from math import ceil

from lightning_landscape.evidence import Trend
from lightning_landscape.functional import hindsight, plateau
from lightning_landscape.functional.trend import Block, mean_loss, summarize
from lightning_landscape.tracking.loss_history import BLOCKS_PER_RUN, MIN_BLOCK_STEPS
from lightning_landscape.tracking.progress import OVERFLOW


class Course:
    """The losses of a run in blocks, of which each has 0.5% of the run; losses that are not finite are left out.

    Args:
        horizon: number of losses in the whole run.
    """

    def __init__(self, horizon: int) -> None:
        self._width = max(MIN_BLOCK_STEPS, ceil(horizon / BLOCKS_PER_RUN))
        self._run = max(1, horizon // self._width)
        self._blocks: list[Block] = []
        self._ends: list[int] = []
        self._open: list[float] = []
        self._last: float | None = None

    def add(self, index: int, loss: float) -> None:
        """Add one loss; `index` is its place in the log."""
        if not -OVERFLOW < loss < OVERFLOW:
            return
        self._open.append(loss)
        if len(self._open) == self._width:
            self._blocks.append(summarize(self._open, self._last))
            self._ends.append(index)
            self._last, self._open = loss, []

    def stood_still(self, start: float) -> list[tuple[int, int, float]]:
        """Return the stretches of `hindsight.stood_still`: the places of their ends in the log, and their mean loss."""
        return [
            (self._ends[first - 1] + 1 if first else 0, self._ends[end - 1], mean_loss(self._blocks[first:end]))
            for first, end in hindsight.stood_still(self._blocks, self._run, start)
        ]

    def proof(self, floor: float) -> Trend | None:
        """Return the trend of the longest window at the end that proves that the loss stands still, or None."""
        trends = [*plateau.examine(self._blocks[-plateau.LONGEST :], floor), *(t for _, t in self.long_trends(floor))]
        return max((trend for trend in trends if trend.proven), key=lambda trend: trend.window, default=None)

    def long_trends(self, floor: float) -> list[tuple[int, Trend]]:
        """Return the trends of `hindsight.long_trends`, each with the place in the log where its window begins."""
        trends = hindsight.long_trends(self._blocks, self._run, floor)
        return [(max(0, self._ends[-1] + 1 - trend.window), trend) for trend in trends]
