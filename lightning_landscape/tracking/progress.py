"""Has the loss stopped falling? One record per optimizer step goes in; the answer is an attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import nan
from typing import Any, NamedTuple

from lightning_landscape.evidence import Divergence, LossLevel, Schedule, Trend
from lightning_landscape.functional import plateau
from lightning_landscape.functional.trend import mean_loss
from lightning_landscape.tracking.loss_history import LossHistory

SHORT = plateau.WINDOWS[0][0]
"""blocks in the shortest window"""
OVERFLOW = 1e150
"""a loss whose square overflows is as good as infinite"""
PATIENCE = 3
"""consecutive non-finite losses that make a divergence"""


class StepRecord(NamedTuple):
    """What was measured of one optimizer step, in plain numbers; None stands for "not measured at this step"."""

    step: int
    """the x at which the loggers put this step's `train_loss`, from 0"""
    optimizer: int
    """which of the trainer's optimizers"""
    loss: float | None
    """mean training loss over the micro-batches of this step; NaN and inf are data"""
    learning_rate: float
    """at this step, or the last before it at which more than the loss was read"""
    stepped: bool
    """whether the weights could move: False for a step skipped by a GradScaler or without any gradient"""
    grad_norm: float | None = None
    """global norm of the accumulated, unscaled gradient before clipping"""
    grad_norm_clipped: float | None = None
    """the same after clipping: what the optimizer used"""
    group_norms: tuple[float | None, ...] | None = None
    """`grad_norm` by group of parameters, in the order of `StepRecorder.groups`; None for a group without gradient"""
    no_grad_share: float | None = None
    """share of the parameters that require a gradient and got none, in [0, 1]"""
    update_norm: float | None = None
    """|Δw| of this step; it, |w| and g·Δw are estimated from an eighth of the numbers of large tensors"""
    weight_norm: float | None = None
    """|w| before this step"""
    predicted: float | None = None
    """|g·Δw| with the gradient before clipping: the first-order change of the loss"""


class Progress:
    """Whether a run is making progress, judged from one `StepRecord` per optimizer step.

    At every 1% of the horizon the fall of the loss over the last 5, 10 and 20% is put to the equivalence test of
    `fit_trend`. A plateau begins with the first window that passes, or with a loss that lies above its start beyond
    doubt and does not come down; it ends when the loss falls again beyond doubt, and does not flicker between.

    A step without a loss is passed over. So is a step that could not move the weights, unless none could for a whole
    short window: from then on their losses count, with updates of length 0. A loss that is not finite is no measurement
    of progress, but three in a row are a divergence.

    >>> progress = Progress(horizon=1000)
    >>> for step in range(100):
    ...     progress.update(StepRecord(step, 0, loss=2.3 + 0.01 * (-1) ** step, learning_rate=0.1, stepped=True))
    >>> progress.stalled, progress.since, progress.plateau_length
    (True, 0, 100)

    Args:
        horizon: optimizer steps that the run will take; where None, 2000 are assumed, and doubled whenever the run
            outgrows them, so that the windows grow with the run.

    Raises:
        ValueError: if the horizon is less than 1.
    """

    def __init__(self, horizon: int | None = None) -> None:
        if horizon is not None and horizon < 1:
            raise ValueError(f"horizon must be at least 1 optimizer step, or None where it is unknown, got {horizon}")
        self.horizon = horizon
        self.trend: Trend | None = None
        """the test that decides: the longest window that has stalled, else the middle one; None before the first"""
        self.opening: Trend | None = None
        """the test that began the present or the last plateau; None before there was one"""
        self.level: LossLevel | None = None
        """None before the first block of steps is complete"""
        self.since: int | None = None
        """`step` at which the present plateau began; None where there is none"""
        self.proven = False
        """whether the present plateau was ever shown with the power to see a fall; else it may be a chance of noise"""
        self.hold: str | None = None
        """why the beginning of a plateau is withheld at present; None where it is not"""
        self.divergence: Divergence | None = None
        """None again once the loss has come back to less than 3 times its start"""
        self._history = LossHistory(horizon)
        self._records = 0
        self._peak = 0.0
        self._learning_rate = 0.0
        self._idle = 0
        self._not_finite = self._not_finite_since = 0
        self._not_finite_loss = 0.0
        self._began = 0
        self._plateau_level = self._plateau_error = 0.0

    def update(self, record: StepRecord) -> None:
        """Take in one optimizer step."""
        self._records += 1
        self._learning_rate = rate = record.learning_rate
        if rate > self._peak:
            self._peak = rate
        loss, predicted = record.loss, record.predicted
        if loss is None:
            return
        history = self._history
        if record.stepped:
            self._idle = 0
        else:
            self._idle += 1
            if self._idle <= SHORT * history.width:
                return
            predicted = 0.0
        if not -OVERFLOW < loss < OVERFLOW:
            self._count_not_finite(record.step, loss)
            return
        self._not_finite = 0
        history.add(record.step, loss, rate, predicted)
        if record.update_norm is not None and record.weight_norm is not None:
            history.add_movement(record.update_norm, record.weight_norm)
        if history.full:
            history.close()
            self._judge()

    def finish(self) -> None:
        """Say that no record will follow: a loss that is not finite at the end of the run is a divergence."""
        if self._not_finite and self.divergence is None:
            start = self._history.start.mean if self._history.count else nan
            self.divergence = Divergence(self._not_finite_since, finite=False, start=start, now=self._not_finite_loss)

    def judges_within(self, steps: int) -> bool:
        """Whether the next so many steps complete a block after which a plateau can begin, prove itself or end."""
        blocks = 1 + (steps - self._history.left) // self._history.width
        return blocks >= 2 - self._history.closed % 2 and len(self._history.stretches) + blocks >= SHORT

    @property
    def stalled(self) -> bool:
        """Whether the run is on a plateau."""
        return self.since is not None

    @property
    def finite(self) -> bool:
        """Whether the latest loss was a number; one that is not may be the first of a divergence."""
        return self._not_finite == 0

    @property
    def plateau_length(self) -> int:
        """Optimizer steps since the plateau began; 0 where there is none."""
        return self._history.count - self._began if self.stalled else 0

    @property
    def schedule(self) -> Schedule | None:
        """The learning rate now and at its peak; None before the first step."""
        if self._records == 0:
            return None
        elapsed = None if self.horizon is None else min(1.0, self._records / self.horizon)
        return Schedule(self._learning_rate, self._peak, elapsed)

    @property
    def travelled(self) -> float | None:
        """Σ|Δw|/max(|w|, 1) over 5% of the horizon at the present pace; None where it was not measured."""
        moved = self._history.movement(SHORT)
        return None if moved is None else 0.05 * self._history.believed_horizon * moved[0]

    @property
    def update_ratio(self) -> float | None:
        """Mean |Δw|/|w| of one step over the last 5% of the horizon; None where it was not measured."""
        moved = self._history.movement(SHORT)
        return None if moved is None else moved[1]

    def state_dict(self) -> dict[str, Any]:
        """What was observed, in builtins; fed the rest of the run, its loader equals the straight run."""
        state = {name: getattr(self, name) for name in _OBSERVED}
        readings = {name: getattr(self, name) for name in _READINGS}
        state |= {name: None if reading is None else asdict(reading) for name, reading in readings.items()}
        return {**state, "history": self._history.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there, with this run's own horizon; `LossHistory.load_state_dict` says how the windows adapt."""
        for name in _OBSERVED:
            setattr(self, name, state[name])
        for name, reading in _READINGS.items():
            setattr(self, name, None if state[name] is None else reading(**state[name]))
        self._history.load_state_dict(state["history"])

    def _count_not_finite(self, step: int, loss: float) -> None:
        if self._not_finite == 0:
            self._not_finite_since = step
        self._not_finite += 1
        self._not_finite_loss = loss
        if self._not_finite >= PATIENCE:
            self.finish()

    def _judge(self) -> None:
        """Draw conclusions at the end of a block: the level at each, all others at every second one."""
        history = self._history
        self.level = history.level(SHORT, self.level)
        if history.closed % 2 == 0:
            self._judge_growth()
            trends = plateau.examine(history.blocks())
            if trends:
                self._judge_plateau(trends, self.level)

    def _judge_growth(self) -> None:
        """A loss far above its start that keeps growing has diverged, until it comes back."""
        start, recent = self._history.start, self._history.blocks(8)
        now = mean_loss(recent[-2:])
        if not plateau.is_far_above(start, now):
            self.divergence = None
        elif self.divergence is None and plateau.is_lost(start, recent):
            first = self._history.stretches[-len(recent)]
            self.divergence = Divergence(first.step, finite=True, start=start.mean, now=now)

    def _judge_plateau(self, trends: Sequence[Trend], level: LossLevel) -> None:
        """Begin, prove or end the plateau."""
        history = self._history
        rise = plateau.rise_since_start(history.start, level.now, trends[0], history.count)
        passed = [(plateau.WINDOWS[i][0], trends[i]) for i in plateau.stalled_windows(trends)]
        # What a rise hides behind noise is no fall where the rise is twice as large as its margin.
        shown = any(trend.powered for _, trend in passed) or (rise is not None and rise.progress < -2 * rise.margin)
        if rise is not None and self._stays_up(trends):
            passed.append((SHORT, rise))
        self.trend = passed[-1][1] if passed else trends[min(1, len(trends) - 1)]
        self.hold = None
        if self.stalled and plateau.has_ended(trends, level.now, rise, self._plateau_level, self._plateau_error):
            self.since, self.proven = None, False
        if passed and not self.stalled:
            self.hold = self._reason_to_hold([size for size, _ in passed], level)
            if self.hold is None:
                self._begin(passed[-1][0], trends[0] if self.trend is rise else self.trend)
        if passed and self.stalled:
            self.proven = self.proven or shown

    def _stays_up(self, trends: Sequence[Trend]) -> bool:
        """Whether nothing points down, and the loss is not just settling on new data."""
        longest = trends[-1]
        comes_down = any(trend.falling for trend in trends) or longest.progress >= longest.threshold
        return not comes_down and not plateau.has_shifted_up(self._history.blocks(SHORT))

    def _begin(self, size: int, trend: Trend) -> None:
        """Begin a plateau with the last `size` blocks, over which this is the trend."""
        blocks = self._history.blocks(size)
        self.since = self._history.stretches[-size].step
        self._began = self._history.count - sum(block.n for block in blocks)
        self.opening = trend
        self._plateau_level = mean_loss(blocks)
        self._plateau_error = plateau.mean_error(trend)

    def _reason_to_hold(self, sizes: Sequence[int], level: LossLevel) -> str | None:
        """Why a flat loss over these numbers of blocks is no plateau, or None."""
        stretches = self._history.stretches
        if stretches[-1].learning_rate > 1.2 * stretches[-min(len(stretches), SHORT + 1)].learning_rate:
            return "learning-rate warm-up"
        if level.solved:
            return "solved"
        below_start = level.now < level.start - 0.03 * abs(level.start)
        if below_start and all(plateau.has_shifted_up(self._history.blocks(size)) for size in sizes):
            return "level shift"
        return None


_OBSERVED = (
    *("since", "proven", "hold", "_records", "_peak", "_learning_rate", "_idle", "_not_finite", "_not_finite_since"),
    *("_not_finite_loss", "_began", "_plateau_level", "_plateau_error"),
)
_READINGS: Mapping[str, type[Trend | LossLevel | Divergence]] = {
    "trend": Trend,
    "opening": Trend,
    "level": LossLevel,
    "divergence": Divergence,
}
