"""What the loss of a run shows where nothing else is known: whether it falls, and since when it stands still."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from lightning_landscape.diagnosis.setup_causes import scheduled_end
from lightning_landscape.diagnosis.thresholds import SHARE_OF_START_HIGH_IN_NOISE, SHARE_OF_START_MIDDLE
from lightning_landscape.diagnosis.without_cause import undecided
from lightning_landscape.errors import LogError
from lightning_landscape.evidence import Cause, Evidence, LossLevel, Plateau, Trend
from lightning_landscape.logs.course import Course
from lightning_landscape.logs.judgement import JudgedLoss, Stretch, has_probably_stalled
from lightning_landscape.logs.series import Series
from lightning_landscape.tracking.loss_history import MIN_BLOCK_STEPS
from lightning_landscape.tracking.progress import SHORT_WINDOW, Progress
from lightning_landscape.tracking.step_record import StepRecord

FEWEST = SHORT_WINDOW * MIN_BLOCK_STEPS
"""values of the loss from which its trend can be tested"""
MOST = 200_000
"""values that are tested one by one; neighbours of more values are averaged first"""
LOOKS = 400
"""how often in a run it is decided whether a loss that stands still is an alarm"""


def judge(
    series: Series, horizon: float | None = None, rates: Series | None = None, floor: float | None = None
) -> JudgedLoss:
    """Return what the loss shows.

    Args:
        series: the loss.
        horizon: number of steps that the run will take; None for those in the log, or the last of them if it is later.
        rates: the learning rate, if it was logged; without it, the end of a schedule is not known.
        floor: the lowest possible loss; None if it is not known, and is then assumed from how far the loss has fallen
            and how much it scatters.

    Raises:
        LogError: if there are too few values.
    """
    if len(series) < FEWEST:
        raise LogError(
            f"the loss has {len(series)} value{'s' * (len(series) != 1)}; the test needs at least {FEWEST}, one for "
            "each step or for every few steps"
        )
    steps, losses = _thinned(series)
    every = _spacing(steps)
    course = _LogCourse(steps, len(steps) if horizon is None else max(len(steps), round(horizon / every)), every, floor)
    rate = None if rates is None or not rates else (lambda step: _at(rates, step))
    for i, loss in enumerate(losses):
        course.add(i, loss, 1.0 if rate is None else rate(steps[i]))
    return course.result(len(series), _spacing(series.steps))


class _LogCourse:
    """The course of a log: where the loss stood still, and whether that was an alarm."""

    def __init__(self, steps: Sequence[float], horizon: int, every: float, floor: float | None) -> None:
        self._steps, self._every = steps, every
        self._progress = Progress(horizon)
        self._progress.floor = floor
        self._between_looks = max(1, len(steps) // LOOKS)
        self._stretches: list[Stretch] = []
        self._noticed: float | None = None
        self._since: int | None = None
        self._proven = False
        self._proof: Trend | None = None
        self._course = Course(horizon)
        self._first: float | None = None

    def add(self, index: int, loss: float, rate: float) -> None:
        progress = self._progress
        level = progress.level
        progress.update(StepRecord(index, 0, loss, rate, stepped=True))
        self._course.add(index, loss)
        self._first = loss if self._first is None and math.isfinite(loss) else self._first
        if self._since is not None and progress.since != self._since:
            self._end(index, level)
        if progress.proven and not self._proven and progress.level is not None:
            self._proof = self._course.proof(progress.level.floor)
        self._since, self._proven = progress.since, progress.proven
        looks = index % self._between_looks == 0 or index == len(self._steps) - 1
        if self._proven and self._noticed is None and looks and self._cause(index)[1]:
            self._noticed = self._steps[index]

    def _end(self, index: int | None, level: LossLevel | None) -> None:
        if self._since is not None and self._proven and level is not None:
            until, stuck = None if index is None else self._steps[index], self._noticed is not None
            self._stretches.append(Stretch(self._steps[self._since], until, level.now, stuck, self._noticed))
        self._noticed = None

    def _cause(self, index: int) -> tuple[Cause, bool]:
        """Return the cause that is known where the loss stands still, and whether it is an alarm."""
        progress = self._progress
        plateau = Plateau(index, progress.since or 0, progress.proven)
        readings = (plateau, progress.level, self._trend(), progress.schedule)
        evidence = Evidence(*(reading for reading in readings if reading is not None))
        verdict = scheduled_end(evidence) or undecided(evidence)
        return (Cause.UNDECIDED, False) if verdict is None else (verdict.cause, verdict.stuck)

    def _trend(self) -> Trend | None:
        """Return the trend that shows best what the loss does, its window in steps of the log."""
        progress = self._progress
        trend = progress.trend
        if progress.stalled and progress.opening is not None and (trend is None or not trend.stalled):
            trend = progress.opening
        return None if trend is None else self._in_steps(trend)

    def _in_steps(self, trend: Trend) -> Trend:
        return replace(trend, window=max(1, round(trend.window * self._every)))

    def result(self, values: int, every: float) -> JudgedLoss:
        """Return what the loss shows at the end.

        Raises:
            LogError: if too few values are finite.
        """
        progress, last = self._progress, len(self._steps) - 1
        progress.finish()
        noticed = self._noticed
        self._end(None, progress.level)
        trend, level, divergence = self._trend(), progress.level, progress.divergence
        if divergence is not None and (trend is None or level is None):
            level = LossLevel(divergence.start, divergence.start, divergence.now)
            trend = Trend(max(1, round(self._steps[-1] - self._steps[0])), 0.0, 0.0, 0.0, 0.0)
        if trend is None or level is None:
            raise LogError(f"fewer than {FEWEST} values of the loss are finite, which is too few to test its trend")
        level = replace(level, first=self._first)
        judged = JudgedLoss(
            "falling" if trend.falling else "unclear",
            self._steps[0], self._steps[last], values, every, level, trend, self._all_stretches(level),
        )  # fmt: skip
        if divergence is not None:
            since = self._steps[min(last, divergence.step)]
            return replace(
                judged, state="diverged", since=since, cause=Cause.DIVERGED, alarm=True, divergence=divergence
            )
        if progress.proven and progress.since is not None:
            cause, _ = self._cause(last)
            since, proof = self._steps[progress.since], self._course.proof(level.floor) or self._proof
            trend = trend if trend.proven or proof is None else self._in_steps(proof)
            return replace(judged, state="still", since=since, cause=cause, alarm=noticed is not None, trend=trend)
        if (window := self._long_standstill()) is not None:
            first, trend = window
            return self._standing(judged, self._steps[first], self._in_steps(trend))
        return judged if progress.since is None else replace(judged, state="unclear", since=self._steps[progress.since])

    def _all_stretches(self, level: LossLevel) -> tuple[Stretch, ...]:
        """Return all stretches in order: those that were seen as they happened, and those that only later losses show.

        Where both overlap, the run was stuck if the later losses say so.
        """
        hindsight = [
            Stretch(self._steps[first], self._steps[end], loss, stuck=True)
            for first, end, loss in self._course.stood_still(level.start)
        ]
        found = list(self._stretches)
        for stretch in hindsight:
            same = [i for i, other in enumerate(found) if _overlap(stretch, other)]
            for i in same:
                found[i] = replace(found[i], stuck=True)
            found += [] if same else [stretch]
        return tuple(sorted(found, key=lambda stretch: stretch.since))

    def _long_standstill(self) -> tuple[int, Trend] | None:
        """Return the longest window at the end in which the loss stood still, and its trend.

        Where noise hides a fall within 20% of the run, longer windows may still show that there is none.
        """
        found = None
        for window in self._course.long_trends(self._progress.level.floor if self._progress.level else 0.0):
            if window[1].falling and found is None:
                return None
            found = window if has_probably_stalled(window[1]) else found
        return found

    def _standing(self, judged: JudgedLoss, since: float, trend: Trend) -> JudgedLoss:
        """Return the judgement that the loss stands still since this step; it is an alarm if that is near its start.

        A loss that has fallen by less than the spread of its single values counts as near its start down to a lower
        share of it.
        """
        level, last = judged.level, judged.last_step
        in_noise = level.spread is not None and level.start - level.now < level.spread
        alarm = level.share_of_start > (SHARE_OF_START_MIDDLE if in_noise else SHARE_OF_START_HIGH_IN_NOISE)
        stretch = Stretch(since, None, level.now, alarm, last if alarm else None)
        earlier = tuple(other for other in judged.stretches if not _overlap(stretch, other))
        return replace(
            judged, state="still", since=since, cause=Cause.UNDECIDED, alarm=alarm, trend=trend,
            stretches=(*earlier, stretch),
        )  # fmt: skip


def _overlap(one: Stretch, other: Stretch) -> bool:
    ends = [math.inf if stretch.until is None else stretch.until for stretch in (one, other)]
    return one.since < ends[1] and other.since < ends[0]


def _thinned(series: Series) -> tuple[Sequence[float], Sequence[float]]:
    """Return steps and values, each the mean of as many neighbours as leave at most `MOST` of them."""
    size = -(-len(series) // MOST)
    if size <= 1:
        return series.steps, series.values
    groups = range(0, len(series), size)
    return (
        [series.steps[i] for i in groups],
        [sum(group := series.values[i : i + size]) / len(group) for i in groups],
    )


def _spacing(steps: Sequence[float]) -> float:
    """Return the median number of steps between two values; 1 if all are of the same step."""
    gaps = sorted(after - before for before, after in pairwise(steps))
    middle = gaps[len(gaps) // 2]
    return middle if middle > 0 and math.isfinite(middle) else 1.0


def _at(series: Series, step: float) -> float:
    """Return the latest value up to a step; the first one before it."""
    return series.values[max(0, bisect_right(series.steps, step) - 1)]
