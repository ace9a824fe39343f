"""The losses of a whole run in bounded memory: 40 blocks of half a percent of the run each, and a few sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isfinite, sqrt
from typing import Any, NamedTuple

from lightning_landscape.evidence import LossLevel
from lightning_landscape.functional.trend import Block, mean_loss, merge

MOST_BLOCKS = 40
BLOCKS_PER_RUN = 200
SHORTEST_BLOCK = 4
"""steps"""
FIRST_HORIZON = 2000
"""steps that a run of unknown length is believed to take, until it takes longer"""
START = 10
"""losses that make up the starting level"""


class Stretch(NamedTuple):
    """A block of losses, with what else was seen along it."""

    block: Block
    step: int
    """the record's `step` at the first of its losses"""
    learning_rate: float
    """at its last step"""
    travelled: float = 0.0
    """Σ|Δw|/max(|w|, 1) over the measured steps"""
    update_ratio: float = 0.0
    """Σ|Δw|/|w| over the measured steps"""
    measured: int = 0
    """number of steps at which |Δw| was measured"""


class LossHistory:
    """The last 20% of a run's losses, block by block, and its first ten.

    A block spans 0.5% of the horizon, at least 4 steps. Where the horizon is unknown, the run is believed to take 2000
    steps; whenever it outgrows that, the belief is doubled and the blocks are merged in pairs.

    Args:
        horizon: optimizer steps that the run will take, or None.
    """

    def __init__(self, horizon: int | None) -> None:
        self.horizon = horizon
        self.count = 0
        """losses so far"""
        self.closed = 0
        """blocks so far"""
        self.start = Block(0, 0.0, 0.0, 0.0, 0)
        """the first losses"""
        self.stretches: list[Stretch] = []
        """oldest first"""
        self._last = 0.0
        self._open()
        self._fit_width()

    def _open(self) -> None:
        """Begin a block."""
        self._step: int = 0
        self._n: int = 0
        self._mean: float = 0.0
        self._m2: float = 0.0
        self._d2: float = 0.0
        self._pairs: int = 0
        self._predicted: float = 0.0
        self._sampled: int = 0
        self._learning_rate: float = 0.0
        self._travelled: float = 0.0
        self._update_ratio: float = 0.0
        self._measured: int = 0

    def add(self, step: int, loss: float, learning_rate: float, predicted: float | None) -> None:
        """Take in one finite loss, and |g·Δw| where it was measured. Follow it with `close` where `full`."""
        n, hop = self._n, 0.0
        if n == 0:
            self._step = step
        if self.count:
            hop = loss - self._last
            self._d2 += hop * hop
            self._pairs += 1
        self._last = loss
        self.count += 1
        self._n = n = n + 1
        apart = loss - self._mean if n > 1 else 0.0
        self._mean = self._mean + apart / n if n > 1 else loss
        self._m2 += apart * (loss - self._mean)
        self._learning_rate = learning_rate
        if predicted is not None and isfinite(predicted):
            self._predicted += predicted
            self._sampled += 1
        if self.count <= START:
            first = self.count == 1
            single = Block(1, loss, 0.0, 0.0 if first else hop * hop, 0 if first else 1)
            self.start = single if first else merge([self.start, single])

    def add_movement(self, update_norm: float, weight_norm: float) -> None:
        """Take in |Δw| and |w| of a step; where either is not finite, nothing."""
        if isfinite(update_norm) and isfinite(weight_norm):
            self._travelled += update_norm / max(weight_norm, 1.0)
            self._update_ratio += update_norm / weight_norm if weight_norm > 0 else 0.0
            self._measured += 1

    @property
    def full(self) -> bool:
        """Whether the open block has reached its width."""
        return self._n >= self.width

    @property
    def left(self) -> int:
        """Losses that the open block has yet to take in."""
        return self.width - self._n

    def close(self) -> None:
        """End the open block, and widen all of them where the run has outgrown its believed horizon."""
        block = Block(self._n, self._mean, self._m2, self._d2, self._pairs, self._predicted, self._sampled)
        moved = self._travelled, self._update_ratio, self._measured
        self.stretches.append(Stretch(block, self._step, self._learning_rate, *moved))
        del self.stretches[:-MOST_BLOCKS]
        self.closed += 1
        self._open()
        if self.horizon is None and self.count >= self.believed_horizon:
            before = self.width
            self._fit_width()
            self._regroup(before)

    def blocks(self, count: int = MOST_BLOCKS) -> list[Block]:
        """The last `count` blocks, oldest first, or as many as there are."""
        return [stretch.block for stretch in self.stretches[-count:]]

    def level(self, count: int, before: LossLevel | None) -> LossLevel:
        """Where the losses started and where they are in the last `count` blocks; `before` knows how low they came."""
        start, recent = self.start, self.blocks(count)
        now, together = mean_loss(recent), merge(recent)
        return LossLevel(
            start.mean,
            min(now, before.best) if before else now,
            now,
            start_spread=sqrt(start.d2 / (2 * start.pairs)) if start.pairs else None,
            spread=sqrt(together.m2 / together.n),
        )

    def movement(self, count: int) -> tuple[float, float] | None:
        """Means of |Δw|/max(|w|, 1) and |Δw|/|w| of a step over the last `count` blocks; None where not measured."""
        recent = self.stretches[-count:]
        measured = sum(stretch.measured for stretch in recent)
        if not measured:
            return None
        travelled, ratio = sum(s.travelled for s in recent), sum(s.update_ratio for s in recent)
        return travelled / measured, ratio / measured

    def state_dict(self) -> dict[str, Any]:
        """What was observed, in builtins."""
        state = {name: getattr(self, name) for name in _OBSERVED}
        stretches = [[list(stretch.block), *stretch[1:]] for stretch in self.stretches]
        return {**state, "start": list(self.start), "width": self.width, "stretches": stretches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with the horizon that this history has.

        Where its blocks are wider than the stored ones, these are merged; where they are narrower, the stored ones stay
        until they are 40 blocks old.
        """
        for name in _OBSERVED:
            setattr(self, name, state[name])
        self.start = Block(*state["start"])
        self.stretches = [Stretch(Block(*block), *rest) for block, *rest in state["stretches"]]
        self._fit_width()
        self._regroup(state["width"])

    def _fit_width(self) -> None:
        self.believed_horizon = self.horizon or FIRST_HORIZON
        while self.horizon is None and self.believed_horizon <= self.count:
            self.believed_horizon *= 2
        self.width = max(SHORTEST_BLOCK, ceil(self.believed_horizon / BLOCKS_PER_RUN))
        """losses in a block"""

    def _regroup(self, before: int) -> None:
        """Merge blocks of the width `before` to the present width, the newest first; an odd oldest rest is dropped."""
        size = max(1, round(self.width / before))
        first = len(self.stretches) % size
        self.stretches = [_join(self.stretches[i : i + size]) for i in range(first, len(self.stretches), size)]


_OBSERVED = (
    *("count", "closed", "_last", "_n", "_mean", "_m2", "_d2", "_pairs", "_predicted", "_sampled"),
    *("_step", "_learning_rate", "_travelled", "_update_ratio", "_measured"),
)


def _join(stretches: Sequence[Stretch]) -> Stretch:
    if len(stretches) == 1:
        return stretches[0]
    return Stretch(
        merge([stretch.block for stretch in stretches]),
        stretches[0].step,
        stretches[-1].learning_rate,
        sum(stretch.travelled for stretch in stretches),
        sum(stretch.update_ratio for stretch in stretches),
        sum(stretch.measured for stretch in stretches),
    )
