"""The latest losses of a run in bounded memory: 40 blocks, each of which summarizes 0.5% of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isfinite, sqrt
from statistics import median
from typing import Any, NamedTuple

from lightning_landscape.evidence import LossLevel
from lightning_landscape.evidence.readings import BELOW_FLOOR
from lightning_landscape.functional.loss_floor import assumed_floor
from lightning_landscape.functional.running_down import OUT_OF_REACH, fall_over_size, runs_down
from lightning_landscape.functional.trend import Block, mean_loss, merge

MAX_BLOCKS = 40
"""number of blocks that are kept, which is 20% of the run"""
BLOCKS_PER_RUN = 200
"""number of blocks that a run is divided into"""
MIN_BLOCK_STEPS = 4
"""smallest number of steps in a block"""
FIRST_HORIZON = 2000
"""number of steps that is assumed for a run of unknown length, until the run takes longer"""
FIRST_LOSSES = 10
"""number of losses that the starting level averages over"""


class RecordedBlock(NamedTuple):
    """A block of losses with the steps, the learning rate and the updates that belong to it."""

    block: Block
    """summary of the losses"""
    step: int
    """`StepRecord.step` of the first loss"""
    learning_rate: float
    """learning rate of the last step"""
    travelled: float = 0.0
    """Σ|Δw|/max(|w|, 1) over the steps at which |Δw| was measured"""
    update_ratio: float = 0.0
    """Σ|Δw|/|w| over these steps"""
    measured: int = 0
    """number of these steps"""


class LossHistory:
    """Summaries of the first ten losses of a run and of its last 20%, in blocks.

    A block contains 0.5% of the run's steps, and at least 4. If the length of the run is unknown, 2000 steps are
    assumed. When the run gets longer than assumed, the assumed length is doubled and the blocks are merged in pairs.

    Args:
        horizon: number of optimizer steps that the run will take; None if it is unknown.
    """

    def __init__(self, horizon: int | None) -> None:
        self.horizon = horizon
        self.count = 0
        """number of losses so far"""
        self.closed = 0
        """number of complete blocks so far, including those that are no longer kept"""
        self.start = Block(0, 0.0, 0.0, 0.0, 0)
        """summary of the first losses"""
        self.first: float | None = None
        """the first loss of all; None before it, and where an older version has not stored it"""
        self.constant: float | None = None
        """the loss of the best prediction that ignores the inputs; None if it is not known"""
        self.slope: float | None = None
        """largest |g·Δw|/|Δw|·max(|w|, 1) of the first steps: the change of the loss that an update as long as the
        weights would make on a straight slope; None if it was not measured"""
        self.recorded: list[RecordedBlock] = []
        """the latest complete blocks, oldest first"""
        self._last = 0.0
        self._open()
        self._fit_width()

    def _open(self) -> None:
        """Begin a new block: reset the sums over its steps, which `Block` and `RecordedBlock` explain."""
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
        """Add one finite loss to the open block; if the block is `full` then, the caller has to call `close`.

        Args:
            step: `StepRecord.step` of the loss.
            loss: the loss, a finite number.
            learning_rate: the learning rate of the step.
            predicted: |g·Δw| of the step; None if it was not measured.
        """
        n, difference = self._n, 0.0
        if n == 0:
            self._step = step
        if self.count == 0:
            self.first = loss
        else:
            difference = loss - self._last
            self._d2 += difference * difference
            self._pairs += 1
        self._last = loss
        self.count += 1
        self._n = n = n + 1
        deviation = loss - self._mean if n > 1 else 0.0
        self._mean = self._mean + deviation / n if n > 1 else loss
        self._m2 += deviation * (loss - self._mean)
        self._learning_rate = learning_rate
        if predicted is not None and isfinite(predicted):
            self._predicted += predicted
            self._sampled += 1
        if self.count <= FIRST_LOSSES:
            first = self.count == 1
            single = Block(1, loss, 0.0, 0.0 if first else difference * difference, 0 if first else 1)
            self.start = single if first else merge([self.start, single])

    def add_movement(self, update_norm: float, weight_norm: float) -> None:
        """Add |Δw| and |w| of a step to the open block, unless one of them is not finite."""
        if isfinite(update_norm) and isfinite(weight_norm):
            self._travelled += update_norm / max(weight_norm, 1.0)
            self._update_ratio += update_norm / weight_norm if weight_norm > 0 else 0.0
            self._measured += 1

    def add_slope(self, predicted: float | None, update_norm: float, weight_norm: float) -> None:
        """Add |g·Δw|, |Δw| and |w| of one of the first steps; those of later steps do not count."""
        if self.count <= FIRST_LOSSES and predicted is not None and update_norm > 0:
            slope = predicted / update_norm * max(weight_norm, 1.0)
            self.slope = max(self.slope or 0.0, slope) if isfinite(slope) else self.slope

    @property
    def full(self) -> bool:
        """Whether the open block is complete."""
        return self._n >= self.width

    @property
    def left(self) -> int:
        """Number of losses that the open block still needs."""
        return self.width - self._n

    def close(self) -> None:
        """End the open block, and merge blocks if the run has become longer than assumed."""
        block = Block(self._n, self._mean, self._m2, self._d2, self._pairs, self._predicted, self._sampled)
        updates = self._travelled, self._update_ratio, self._measured
        self.recorded.append(RecordedBlock(block, self._step, self._learning_rate, *updates))
        del self.recorded[:-MAX_BLOCKS]
        self.closed += 1
        self._open()
        if self.horizon is None and self.count >= self.assumed_horizon:
            old_width = self.width
            self._fit_width()
            self._regroup(old_width)

    def blocks(self, count: int = MAX_BLOCKS) -> list[Block]:
        """Return the last `count` complete blocks, or all if there are fewer, oldest first."""
        return [recorded.block for recorded in self.recorded[-count:]]

    def level(self, count: int, before: LossLevel | None, floor: float | None = None) -> LossLevel:
        """Return the levels of the loss, with the last `count` blocks as the present.

        Args:
            count: number of blocks.
            before: the levels after the block before, of which the lowest is kept; None if there are none yet.
            floor: the lowest possible loss; None if it was not found, -inf if there is none. It is then assumed, and so
                it is if the loss is clearly lower.
        """
        start, recent = self.start, self.blocks(count)
        now, merged = mean_loss(recent), merge(recent)
        best = min(now, before.best) if before else now
        known = floor is not None and isfinite(floor)
        measured = floor is not None and known and best - floor >= BELOW_FLOOR * (self.start.mean - floor)
        return LossLevel(
            start.mean,
            best,
            now,
            floor=floor if floor is not None and measured else self._assumed_floor(best, positive=floor is None),
            floor_measured=measured,
            constant=self.constant,
            start_spread=sqrt(start.d2 / (2 * start.pairs)) if start.pairs else None,
            spread=sqrt(merged.m2 / merged.n),
            runs_down=not measured and (self.runs_down or (now < 0 and self.fallen > OUT_OF_REACH)),
        )

    @property
    def fallen(self) -> float:
        """Fall of the loss since the start, over the size that the loss had then; 0 if that is unknown."""
        return fall_over_size(self.start, self.slope, self.blocks())

    @property
    def runs_down(self) -> bool:
        """Whether the loss is far below its start and below zero, and falls no more slowly than ever."""
        return runs_down(self.start, self.slope, self.blocks(), self.count)

    def _assumed_floor(self, best: float, *, positive: bool) -> float:
        """Return the floor that the losses suggest; 0 where they suggest none.

        The run begins at the first loss if that is below the mean of the first losses, which may have blown up. Where
        the loss may have a lowest value, a `positive` loss is taken to stay above 0.
        """
        pairs = sum(recorded.block.pairs for recorded in self.recorded)
        scatter = sqrt(sum(recorded.block.d2 for recorded in self.recorded) / (2 * pairs)) if pairs else 0.0
        start = self.start.mean if self.first is None else min(self.first, self.start.mean)
        floor = assumed_floor(best, start - best, scatter)
        return 0.0 if floor is None or (positive and floor < 0 <= best) else floor

    def movement(self, count: int) -> tuple[float, float] | None:
        """Return the mean of |Δw|/max(|w|, 1) per step over the last `count` blocks, and a typical |Δw|/|w|.

        The latter is the median over the blocks: after a spike of the learning rate, the mean would be that of the few
        steps of the spike. None if no update was measured.
        """
        recent = [recorded for recorded in self.recorded[-count:] if recorded.measured]
        if not recent:
            return None
        travelled = sum(r.travelled for r in recent) / sum(r.measured for r in recent)
        return travelled, median(r.update_ratio / r.measured for r in recent)

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins."""
        state = {name: getattr(self, name) for name in _OBSERVED}
        blocks = [[list(recorded.block), *recorded[1:]] for recorded in self.recorded]
        known = {"start": list(self.start), "first": self.first, "constant": self.constant, "slope": self.slope}
        return {**state, **known, "width": self.width, "stretches": blocks}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what was observed; the horizon of this history does not change.

        If its blocks are wider than the stored ones, the stored ones are merged. If they are narrower, the stored ones
        are used as they are until 40 newer blocks have replaced them.
        """
        for name in _OBSERVED:
            setattr(self, name, state[name])
        self.start, self.first, self.constant = Block(*state["start"]), state.get("first"), state.get("constant")
        self.recorded = [RecordedBlock(Block(*block), *rest) for block, *rest in state["stretches"]]
        self.slope = state.get("slope")
        self._fit_width()
        self._regroup(state["width"])

    def _fit_width(self) -> None:
        """Set the assumed horizon and the width of a block from the horizon and the losses so far."""
        self.assumed_horizon = self.horizon or FIRST_HORIZON
        while self.horizon is None and self.assumed_horizon <= self.count:
            self.assumed_horizon *= 2
        self.width = max(MIN_BLOCK_STEPS, ceil(self.assumed_horizon / BLOCKS_PER_RUN))
        """number of losses in a block"""

    def _regroup(self, old_width: int) -> None:
        """Merge blocks of `old_width` losses into blocks of the present width; drop the oldest that do not fit."""
        size = max(1, round(self.width / old_width))
        first = len(self.recorded) % size
        self.recorded = [_join(self.recorded[i : i + size]) for i in range(first, len(self.recorded), size)]


_OBSERVED = (
    *("count", "closed", "_last", "_n", "_mean", "_m2", "_d2", "_pairs", "_predicted", "_sampled"),
    *("_step", "_learning_rate", "_travelled", "_update_ratio", "_measured"),
)
"""attributes that `state_dict` contains under their own names"""


def _join(blocks: Sequence[RecordedBlock]) -> RecordedBlock:
    """Return consecutive blocks merged into one."""
    if len(blocks) == 1:
        return blocks[0]
    return RecordedBlock(
        merge([recorded.block for recorded in blocks]),
        blocks[0].step,
        blocks[-1].learning_rate,
        sum(recorded.travelled for recorded in blocks),
        sum(recorded.update_ratio for recorded in blocks),
        sum(recorded.measured for recorded in blocks),
    )
