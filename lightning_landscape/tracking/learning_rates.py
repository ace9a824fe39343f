"""The learning rate over the run in bounded memory: its median, its peak without spikes, and when it came to an end."""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_landscape.evidence import Schedule

MAX_RATES = 512
"""largest number of rates that are kept; they are evenly spaced over the run"""
ENDED = 0.009
"""below this share of its usual value, a rate has come to its end: two tenfold cuts, which many schedules make well
before the end of the run, leave 1%"""
PEAK, USUAL = 0.95, 0.8
"""quantiles of the rate; a spike of a few steps changes neither"""


class LearningRates:
    """The learning rate at up to 512 evenly spaced optimizer steps of the run.

    >>> rates = LearningRates()
    >>> for step in range(1000):
    ...     rates.add(step, 0.1 if step < 40 else 0.0)
    >>> schedule = rates.schedule(elapsed=0.5)
    >>> schedule.ended_after, schedule.usual, schedule.planned_steps
    (40, 0.1, 2000)
    """

    def __init__(self) -> None:
        self.count = 0
        """number of optimizer steps so far"""
        self.now = 0.0
        """learning rate of the latest step"""
        self._stride = 1
        self._rates: list[float] = []
        self._steps: list[int] = []

    def add(self, step: int, rate: float | None) -> None:
        """Add the learning rate of one optimizer step, if it has one; `step` is its place as the loggers count."""
        if rate is None:
            return
        self.now = rate
        if self.count % self._stride == 0:
            self._rates.append(rate)
            self._steps.append(step)
            if len(self._rates) > MAX_RATES:
                self._rates, self._steps = self._rates[::2], self._steps[::2]
                self._stride *= 2
        self.count += 1

    def schedule(self, elapsed: float | None) -> Schedule | None:
        """Return the reading at this step; None before the first step.

        Args:
            elapsed: share of the run's planned steps that has passed; None if it is unknown.
        """
        if not self._rates:
            return None
        end = _end(self._rates)
        usual = None if end is None else _quantile(sorted(self._rates[:end]), USUAL)
        in_order = sorted(self._rates)
        return Schedule(
            self.now,
            max(_quantile(in_order, PEAK), usual or 0.0, self.now),
            elapsed,
            first=self._rates[0],
            median=_quantile(in_order, 0.5),
            steps=self.count,
            ended_after=None if end is None else end * self._stride,
            usual=usual,
            declining_since=None if end is None or usual is None else self._last_above(0.5 * usual, end),
        )

    def at(self, step: int) -> float | None:
        """Return the rate of the last step that is kept up to this one, as the loggers count; None if there is none."""
        kept = zip(reversed(self._steps), reversed(self._rates), strict=True)
        return next((rate for at, rate in kept if at <= step), None)

    def largest_between(self, first: int, last: int) -> float | None:
        """Return the largest rate that is kept between two steps, as the loggers count; None if there is none.

        Both ends count.
        """
        kept = zip(self._steps, self._rates, strict=True)
        return max((rate for step, rate in kept if first <= step <= last), default=None)

    def _last_above(self, rate: float, end: int) -> int:
        """Return the last step, of the first `end` that are kept, at which the rate was at least `rate`."""
        return next(self._steps[i] for i in reversed(range(end)) if self._rates[i] >= rate)

    def state_dict(self) -> dict[str, Any]:
        """Return what was observed, as builtins."""
        rates, steps = list(self._rates), list(self._steps)
        return {"count": self.count, "now": self.now, "stride": self._stride, "rates": rates, "steps": steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.count, self.now, self._stride = int(state["count"]), float(state["now"]), int(state["stride"])
        self._rates, self._steps = [*map(float, state["rates"])], [*map(int, state["steps"])]

    @classmethod
    def from_peak(cls, count: int, peak: float, now: float) -> LearningRates:
        """Return the rates of a run of which only the peak and the latest rate are known.

        The rate is taken to have been at its peak in all steps before.

        Args:
            count: number of optimizer steps so far.
            peak: largest learning rate so far.
            now: learning rate of the latest step.
        """
        rates = cls()
        for step in range(count):
            rates.add(step, peak if step < count - 1 else now)
        return rates


def _end(rates: Sequence[float]) -> int | None:
    """Return the index from which all rates are below `ENDED` of the usual rate before it; None if there is none."""
    largest_after = list(rates)
    for i in reversed(range(len(rates) - 1)):
        largest_after[i] = max(rates[i], largest_after[i + 1])
    before: list[float] = []
    for i, rate in enumerate(rates):
        if before and largest_after[i] < ENDED * _quantile(before, USUAL):
            return i
        insort(before, rate)
    return None


def _quantile(in_order: Sequence[float], share: float) -> float:
    """Return the smallest of the sorted numbers that this share of them does not exceed."""
    return in_order[min(len(in_order) - 1, int(share * len(in_order)))]
