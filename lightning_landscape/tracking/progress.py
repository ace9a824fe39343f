"""Whether the loss of a run has stopped falling, or has diverged, from one record per optimizer step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lightning_landscape.evidence import Divergence, LossLevel, Schedule, Trend
from lightning_landscape.functional import plateau
from lightning_landscape.functional.trend import mean_loss, trend_on_same_batches
from lightning_landscape.tracking.divergence import divergence_of, loss_at_start
from lightning_landscape.tracking.learning_rates import LearningRates
from lightning_landscape.tracking.loss_history import BLOCKS_PER_RUN, LossHistory
from lightning_landscape.tracking.step_record import StepRecord

SHORT_WINDOW = plateau.WINDOWS[0][0]
"""number of blocks in the shortest window"""
OVERFLOW = 1e150
"""a loss of this size counts as infinite, because its square overflows"""
NOT_FINITE_IN_A_ROW = 3
"""number of successive losses that are not finite that counts as a divergence"""


class Progress:
    """Whether a run is making progress, from one `StepRecord` per optimizer step.

    At every 1% of the run, the equivalence tests of `Trend` are applied to the loss of the last 5, 10 and 20% of the
    run. A plateau begins when the loss seems to have stalled in one of these windows, or when it is significantly above
    its start and does not come down. It is `proven` once the loss has stalled by the stricter test. It ends only when
    the loss falls significantly, so noise does not interrupt it.

    Steps without a finite loss are ignored; so are those that cannot move the weights, until a window is full of them.

    >>> progress = Progress(horizon=1000)
    >>> for step in range(100):
    ...     progress.update(StepRecord(step, 0, loss=2.3 + 0.01 * (-1) ** step, learning_rate=0.1, stepped=True))
    >>> progress.stalled, progress.since, progress.plateau_length
    (True, 0, 100)

    Args:
        horizon: number of optimizer steps that the run will take. If it is None, 2000 steps are assumed; when the run
            gets longer than that, the number is doubled, so that the windows grow with the run.

    Raises:
        ValueError: if the horizon is less than 1.
    """

    def __init__(self, horizon: int | None = None) -> None:
        if horizon is not None and horizon < 1:
            raise ValueError(f"horizon must be at least 1 optimizer step, or None if it is unknown, got {horizon}")
        self.horizon = horizon
        self.trend: Trend | None = None
        """trend in the longest window that has stalled, else in the middle window; None before a window is complete"""
        self.opening: Trend | None = None
        """the best evidence for the present or last plateau since it began; None before the first plateau"""
        self.level: LossLevel | None = None
        """levels of the loss; None before the first block of steps is complete"""
        self.since: int | None = None
        """`StepRecord.step` at which the present plateau began; None if there is none"""
        self.proven = False
        """whether the stricter test has shown the present plateau with enough power; else it may only be noise"""
        self.hold: str | None = None
        """why a stalled loss is not counted as a plateau now; None if no such reason was found"""
        self.on_same_batches: Trend | None = None
        """the latest trend from earlier weights to later ones on the same batches; None if there was no such test"""
        self.awaits_test = False
        """whether such a test will soon show what noise hides"""
        self.divergence: Divergence | None = None
        """the divergence of the loss; None if there is none, also after the loss has come back near its start"""
        self.floor: float | None = 0.0
        """the lowest possible loss; None if it was not found, -inf if there is none: one is then assumed"""
        self.rates = LearningRates()
        """the learning rate over the run"""
        self._history = LossHistory(horizon)
        self._records = self._idle = self._not_finite = self._not_finite_since = self._began = 0
        self._not_finite_loss = self._plateau_level = self._plateau_error = 0.0

    def update(self, record: StepRecord) -> None:
        """Add one optimizer step."""
        self._records += 1
        self.rates.add(record.step, record.learning_rate)
        loss, predicted, history = record.loss, record.predicted if record.stepped else 0.0, self._history
        if loss is None:
            return
        self._idle = 0 if record.stepped else self._idle + 1
        if 0 < self._idle <= SHORT_WINDOW * history.width:
            return
        if not -OVERFLOW < loss < OVERFLOW:
            self._count_not_finite(record.step, loss)
            return
        self._not_finite = 0
        history.add(record.step, loss, record.learning_rate or 0.0, predicted)
        if record.update_norm is not None and record.weight_norm is not None:
            history.add_movement(record.update_norm, record.weight_norm)
            history.add_slope(record.predicted, record.update_norm, record.weight_norm)
        if history.full:
            history.close()
            self._end_block()

    def enter_constant(self, loss: float) -> None:
        """Enter the loss of the best prediction that ignores the inputs; a run that is solved is far below it."""
        self._history.constant = loss

    def finish(self) -> None:
        """End the run: if its last loss is not finite, that is a divergence."""
        if self._not_finite and self.divergence is None:
            start = loss_at_start(self._history, self._not_finite_loss)
            self.divergence = Divergence(self._not_finite_since, finite=False, start=start, now=self._not_finite_loss)

    def enter_same_batches(self, steps: Sequence[int], losses: Sequence[Sequence[float]]) -> None:
        """Begin, prove or end the plateau by `trend_on_same_batches`, whose arguments these are."""
        if (level := self.level) is None:
            return
        share, before = (steps[-1] - steps[0]) / self.assumed_horizon, self.on_same_batches
        trend = self.on_same_batches = trend_on_same_batches(steps, losses, plateau.tolerance_over(share), level.floor)
        if trend.falling:
            self.since, self.proven = None, False
        elif trend.stalled:
            size = min(len(self._history.recorded), max(SHORT_WINDOW, round(share * BLOCKS_PER_RUN)))
            if not self.stalled and self._reason_to_hold([size], level) is None:
                self._begin(size, trend)
            elif self.stalled and not self.proven:
                self.opening = trend
            # Weights that move to and fro look like a plateau in one test of twenty, and in two in a row very seldom.
            self.proven = self.stalled and (self.proven or (before is not None and before.stalled))

    @property
    def noise_hides(self) -> bool:
        """Whether the noise of single batches hides if the loss falls, and nothing else explains that it may not."""
        trend = self.trend
        return trend is not None and not trend.powered and not trend.falling and self.hold is None

    @property
    def falls(self) -> bool:
        """Whether the loss clearly falls, by the latest losses or by the latest test on the same batches."""
        return any(trend is not None and trend.falling for trend in (self.trend, self.on_same_batches))

    @property
    def assumed_horizon(self) -> int:
        """Number of optimizer steps of the run, or the number that is assumed where it is unknown."""
        return self._history.assumed_horizon

    def judges_within(self, steps: int) -> bool:
        """Return whether a plateau can begin, become `proven` or end within the next `steps` optimizer steps."""
        blocks = 1 + (steps - self._history.left) // self._history.width
        return blocks >= 2 - self._history.closed % 2 and len(self._history.recorded) + blocks >= SHORT_WINDOW

    @property
    def stalled(self) -> bool:
        """Whether the run seems to be on a plateau; `proven` says whether that is certain."""
        return self.since is not None

    @property
    def finite(self) -> bool:
        """Whether the latest loss was finite."""
        return self._not_finite == 0

    @property
    def plateau_length(self) -> int:
        """Number of optimizer steps since a proven plateau began; 0 if there is none."""
        return self._history.count - self._began if self.proven else 0

    @property
    def schedule(self) -> Schedule | None:
        """The learning rate now and over the run; None before the first step."""
        return self.rates.schedule(None if self.horizon is None else min(1.0, self._records / self.horizon))

    @property
    def travelled(self) -> float | None:
        """Σ|Δw|/max(|w|, 1) over 5% of the run, from the mean over the latest steps; None if it was not measured."""
        moved = self._history.movement(SHORT_WINDOW)
        return None if moved is None else 0.05 * self.assumed_horizon * moved[0]

    @property
    def update_ratio(self) -> float | None:
        """A typical |Δw|/|w| of a step in the last 5% of the run; None if it was not measured."""
        return None if (updates := self._history.movement(SHORT_WINDOW)) is None else updates[1]

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins: a resumed run gives the same results as one that was not stopped."""
        state = {name: getattr(self, name) for name in _OBSERVED}
        state |= {name: None if (reading := getattr(self, name)) is None else asdict(reading) for name in _READINGS}
        state |= {"floor": self.floor, "awaits_test": self.awaits_test}
        return {**state, "rates": self.rates.state_dict(), "history": self._history.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what was observed; the horizon does not change, as in `LossHistory.load_state_dict`."""
        for name in _OBSERVED:
            setattr(self, name, state[name])
        for name, reading in _READINGS.items():
            setattr(self, name, None if (value := state.get(name)) is None else reading(**value))
        self.floor, self.awaits_test = state.get("floor", 0.0), state.get("awaits_test", False)  # 0.1 had neither
        self._history.load_state_dict(state["history"])
        if "rates" in state:
            self.rates.load_state_dict(state["rates"])
        else:  # an older version stored these two numbers only
            self.rates = LearningRates.from_peak(self._records, state["_peak"], state["_learning_rate"])

    def _count_not_finite(self, step: int, loss: float) -> None:
        """Count a loss that is not finite; enough of them in a row are a divergence."""
        if self._not_finite == 0:
            self._not_finite_since = step
        self._not_finite += 1
        self._not_finite_loss = loss
        if self._not_finite >= NOT_FINITE_IN_A_ROW:
            self.finish()

    def _end_block(self) -> None:
        """Update the levels after every block, and the divergence and the plateau after every second block."""
        history = self._history
        self.level = history.level(SHORT_WINDOW, self.level, self.floor)
        if history.closed % 2 == 0:
            self.divergence = divergence_of(history, self.level, self.divergence)
            trends = plateau.examine(history.blocks(), self.level.floor)
            if trends:
                self._update_plateau(trends, self.level)

    def _update_plateau(self, trends: Sequence[Trend], level: LossLevel) -> None:
        """Begin, prove or end the plateau."""
        history = self._history
        rise = plateau.rise_since_start(history.start, level.now, trends[0], history.count, level.floor)
        stalled = [(plateau.WINDOWS[i][0], trends[i]) for i in plateau.stalled_windows(trends, self.on_same_batches)]
        # A rise of more than twice its margin shows that the loss has not fallen, however noisy the windows are.
        proof = any(trend.proven for _, trend in stalled) or (rise is not None and rise.progress < -2 * rise.margin)
        if rise is not None and self._stays_up(trends, level.floor):
            stalled.append((SHORT_WINDOW, rise))
        self.hold, self.trend = None, stalled[-1][1] if stalled else trends[min(1, len(trends) - 1)]
        began = self._plateau_level, self._plateau_error
        if self.stalled and plateau.has_ended(trends, level.now, rise, *began, level.floor):
            self.since, self.proven = None, False
        if stalled and not self.stalled:
            self.hold = self._reason_to_hold([size for size, _ in stalled], level)
            if self.hold is None:
                self._begin(stalled[-1][0], trends[0] if self.trend is rise else self.trend)
        if stalled and self.stalled and proof and not self.proven:
            self.proven = True
            self.opening = self.trend if self.trend.proven and self.trend is not rise else self.opening

    def _stays_up(self, trends: Sequence[Trend], floor: float) -> bool:
        """Return whether a loss above its start stays there, and has not just risen in a step, as with new data."""
        longest = trends[-1]
        comes_down = any(trend.falling for trend in trends) or longest.progress >= longest.threshold
        return not comes_down and not plateau.has_shifted_up(self._history.blocks(SHORT_WINDOW), floor)

    def _reason_to_hold(self, sizes: Sequence[int], level: LossLevel) -> str | None:
        rates = [recorded.learning_rate for recorded in self._history.recorded[-SHORT_WINDOW - 1 :]]
        return plateau.reason_to_hold(self._history.blocks(), sizes, rates, level)

    def _begin(self, size: int, trend: Trend) -> None:
        """Begin a plateau with the last `size` blocks, which have this trend."""
        blocks = self._history.blocks(size)
        self.since = self._history.recorded[-size].step
        self._began = self._history.count - sum(block.n for block in blocks)
        self.opening = trend
        self._plateau_level = mean_loss(blocks)
        self._plateau_error = plateau.mean_error(trend)


_OBSERVED = (
    *("since", "proven", "hold", "_records", "_idle", "_not_finite", "_not_finite_since"),
    *("_not_finite_loss", "_began", "_plateau_level", "_plateau_error"),
)
"""attributes that `state_dict` contains under their own names"""
_READINGS: Mapping[str, type[Trend | LossLevel | Divergence]] = {
    **dict.fromkeys(("trend", "opening", "on_same_batches"), Trend),
    "level": LossLevel,
    "divergence": Divergence,
}
