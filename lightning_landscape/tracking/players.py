"""The course of each optimizer of a run with several: its own loss, gradient norm, learning rate and movement."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from lightning_landscape.evidence import Player, Players
from lightning_landscape.tracking.step_record import StepRecord

STRETCHES = 64
"""stretches at which neighbours are merged, so that each covers twice as many steps"""
FIRST_LOSSES = 10
"""number of losses whose mean is the start; that of at least as many latest losses is the present loss"""
LEAST_MEASURED = 3
"""fewest measured updates in a mean, so that one step, such as the first one of Adam, does not decide"""
AT_ZERO = 0.02
"""share of the loss at the start; a loss that stays within it has come to 0"""
PLANNED_IF_UNKNOWN = 10
"""A run of unknown length is taken to get this many times as long as it is."""


@dataclass
class _Stretch:
    """Sums over a few successive steps of one optimizer."""

    first_step: int
    losses: int = 0
    loss: float = 0.0
    largest: float = 0.0
    """largest absolute loss"""
    norms: int = 0
    norm: float = 0.0
    updates: int = 0
    ratio: float = 0.0
    predictions: int = 0
    predicted: float = 0.0

    def add(self, record: StepRecord) -> None:
        if record.loss is not None and math.isfinite(record.loss):
            self.losses += 1
            self.loss += record.loss
            self.largest = max(self.largest, abs(record.loss))
        if record.grad_norm is not None and math.isfinite(record.grad_norm):
            self.norms += 1
            self.norm += record.grad_norm
        moved = _moved(record)
        if moved is not None:
            self.updates += 1
            self.ratio += moved
        if record.predicted is not None and math.isfinite(record.predicted):
            self.predictions += 1
            self.predicted += record.predicted

    def merged(self, later: _Stretch) -> _Stretch:
        """Return this stretch and the next one as one."""
        sums = {f.name: getattr(self, f.name) + getattr(later, f.name) for f in fields(self)}
        return _Stretch(**{**sums, "first_step": self.first_step, "largest": max(self.largest, later.largest)})


class PlayerCourse:
    """What was observed of one optimizer, in bounded memory."""

    def __init__(self) -> None:
        self.steps = self.with_gradient = self.updates = 0
        self.rate: float | None = None
        self.weight_norm: float | None = None
        self.not_finite_since: int | None = None
        self.start, self.losses, self._mean, self._m2 = 0.0, 0, 0.0, 0.0
        self._stretches: list[_Stretch] = []
        self._span = self._in_open = 1

    def update(self, record: StepRecord) -> None:
        """Add one step of this optimizer."""
        self.steps += 1
        self.with_gradient += record.stepped
        if record.learning_rate is not None:
            self.rate = max(self.rate or 0.0, record.learning_rate)
        self.updates += _moved(record) is not None
        if record.weight_norm is not None and record.update_norm is not None:
            self.weight_norm = record.weight_norm
            finite = math.isfinite(record.weight_norm) and math.isfinite(record.update_norm)
            first = record.step if self.not_finite_since is None else self.not_finite_since
            self.not_finite_since = None if finite else first
        if record.loss is not None and math.isfinite(record.loss):
            self._add_loss(record.loss)
        if self._in_open >= self._span:
            if len(self._stretches) == STRETCHES:
                pairs = zip(self._stretches[::2], self._stretches[1::2], strict=True)
                self._stretches, self._span = [a.merged(b) for a, b in pairs], 2 * self._span
            self._stretches.append(_Stretch(record.step))
            self._in_open = 0
        self._stretches[-1].add(record)
        self._in_open += 1

    def _add_loss(self, loss: float) -> None:
        self.losses += 1
        deviation = loss - self._mean
        self._mean += deviation / self.losses
        self._m2 += deviation * (loss - self._mean)
        if self.losses <= FIRST_LOSSES:
            self.start = self._mean

    def reading(self, index: int, known: Mapping[str, Any], planned: float) -> Player:
        """Return what was observed as a reading.

        Args:
            index: index of the optimizer.
            known: what the optimizer itself shows: its networks, kind, and whether it is scheduled.
            planned: number of times as long as the run so far that the planned run is.
        """
        ratio = _largest_later(_means((s.ratio, s.updates) for s in self._stretches))
        predicted = _largest_later(_means((s.predicted, s.predictions) for s in self._stretches))
        measured = [(s.norm, s.norms) for s in self._stretches]
        norms, latest = _means(measured), _latest(measured, LEAST_MEASURED)
        steps = planned * self.steps
        return Player(
            index=index,
            **known,
            steps=self.steps,
            with_gradient=self.with_gradient,
            measured=self.updates,
            learning_rate=self.rate,
            loss_start=self.start if self.losses else None,
            loss_now=_latest([(s.loss, s.losses) for s in self._stretches], FIRST_LOSSES),
            loss_spread=math.sqrt(self._m2 / self.losses) if self.losses else None,
            grad_largest=max(norms if latest is None else [*norms, latest], default=None),
            grad_now=latest,
            update_ratio=ratio,
            travel=None if ratio is None else ratio * steps,
            predicted=None if predicted is None else predicted * steps,
            weight_norm=self.weight_norm,
            near_zero_since=self._near_zero_since(),
            not_finite_since=self.not_finite_since,
        )

    def _near_zero_since(self) -> int | None:
        """Return the step since which no loss was further from 0 than a small share of the loss at the start."""
        since = None
        for stretch in reversed(self._stretches):
            if not stretch.losses or stretch.largest > AT_ZERO * abs(self.start):
                break
            since = stretch.first_step
        return since

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins."""
        stretches = [list(astuple(stretch)) for stretch in self._stretches]
        return {**{name: getattr(self, name) for name in _OBSERVED}, "stretches": stretches}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        for name in _OBSERVED:
            setattr(self, name, state[name])
        self._stretches = [_Stretch(*values) for values in state["stretches"]]


_OBSERVED = (
    *("steps", "with_gradient", "updates", "rate", "weight_norm", "not_finite_since", "start", "losses"),
    *("_mean", "_m2", "_span", "_in_open"),
)
"""attributes that `state_dict` contains under their own names"""


class PlayerCourses:
    """The courses of all optimizers of a run that has several; of a run with one optimizer, nothing is kept."""

    def __init__(self) -> None:
        self.known: tuple[Mapping[str, Any], ...] = ()
        """what the optimizers themselves show: their networks, kind, and whether they are scheduled"""
        self._courses: list[PlayerCourse] = []

    def begin(self, known: Sequence[Mapping[str, Any]]) -> None:
        """Begin with these optimizers."""
        self.known = tuple(known) if len(known) > 1 else ()
        self._courses += [PlayerCourse() for _ in range(len(self.known) - len(self._courses))]

    def update(self, record: StepRecord) -> None:
        """Add one optimizer step."""
        if record.optimizer < len(self._courses):
            self._courses[record.optimizer].update(record)

    def reading(self, elapsed: float | None) -> Players | None:
        """Return the courses so far; None with a single optimizer.

        Args:
            elapsed: share of the planned run that has passed; None if it is unknown.
        """
        if not self.known:
            return None
        planned = PLANNED_IF_UNKNOWN if elapsed is None else 1 / elapsed if elapsed > 0 else math.inf
        pairs = zip(self._courses, self.known, strict=False)
        return Players(tuple(c.reading(i, known, planned) for i, (c, known) in enumerate(pairs)), elapsed)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what was observed, as builtins."""
        return [course.state_dict() for course in self._courses]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Continue from what `state_dict` returned."""
        self._courses = [PlayerCourse() for _ in states]
        for course, state in zip(self._courses, states, strict=True):
            course.load_state_dict(state)
        self.begin(self.known)


def _moved(record: StepRecord) -> float | None:
    """Return |Δw|/|w| of this step; None if it is unknown, or the step had no gradient that could move the weights.

    Some networks have a gradient of 0 until their training begins, in the middle of the run.
    """
    update, weight = record.update_norm, record.weight_norm
    if update is None or weight is None or not (math.isfinite(update) and math.isfinite(weight)):
        return None
    if record.grad_norm == 0:
        return None
    return update / weight if weight > 0 else float(update > 0)


def _latest(sums: Sequence[tuple[float, int]], least: int) -> float | None:
    """Return the mean of the latest terms, at least this many if there are as many; None without a term."""
    total, count = 0.0, 0
    for part, terms in reversed(sums):
        total, count = total + part, count + terms
        if count >= least:
            break
    return total / count if count else None


def _means(sums: Iterable[tuple[float, int]]) -> list[float]:
    """Return the means from successive pairs of a sum and its number of terms, each over at least a few terms."""
    means, total, count = [], 0.0, 0
    for part, terms in sums:
        total, count = total + part, count + terms
        if count >= LEAST_MEASURED:
            means.append(total / count)
            total, count = 0.0, 0
    return means


def _largest_later(means: Sequence[float]) -> float | None:
    """Return the largest mean; not the first of many, since optimizers such as RMSprop begin with larger steps."""
    return max(means[1:] if len(means) > 2 else means, default=None)
