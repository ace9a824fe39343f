"""Alarms against labels: what was caught, when, under which name, and what was cried for nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.stuck_runs.truth import Label

GRACE = 0.03
"""of the horizon: an alarm this long after the end of a plateau is about that plateau"""
POOR = "poor_minimum"
"""cannot be told locally from a good one: scored apart, and enough if reported as `settled`"""


@dataclass(frozen=True)
class Alarm:
    """Something said about a run."""

    step: int
    cause: str | None
    """None where the rule names none"""


@dataclass(frozen=True)
class Outcome:
    """How one rule did on one run."""

    key: str
    label: Label
    caught: Alarm | None
    """the first alarm within a plateau"""
    delay: float | None
    """of the plateau, in [0, 1 + GRACE]"""
    stray: tuple[Alarm, ...]
    """alarms outside every plateau, certain or ambiguous"""
    settled: bool = False

    @property
    def strict(self) -> bool:
        """Whether the alarm names the cause."""
        return self.caught is not None and self.caught.cause == self.label.kind

    @property
    def lenient(self) -> bool:
        """Whether it names the cause or another that would be right."""
        return self.caught is not None and self.caught.cause in (self.label.kind, *self.label.accepts)

    @property
    def healthy_steps(self) -> int:
        """Steps outside every plateau."""
        return self.label.horizon - sum(end - start for start, end in (*self.label.stuck, *self.label.ambiguous))


def judge(key: str, label: Label, alarms: Sequence[Alarm], *, settled: bool = False) -> Outcome:
    """Hold what was said against what is so."""
    grace = GRACE * label.horizon
    known = (*label.stuck, *label.ambiguous)
    stray = tuple(a for a in alarms if not any(start <= a.step <= end + grace for start, end in known))
    hits = [
        (alarm.step, (alarm.step - start) / max(1, end - start), alarm)
        for alarm in alarms
        for start, end in label.stuck
        if start <= alarm.step <= end + grace
    ]
    if label.label != "stuck" or not hits:
        return Outcome(key, label, None, None, stray, settled)
    _, delay, alarm = min(hits, key=lambda hit: hit[:2])
    return Outcome(key, label, alarm, delay, stray, settled)


@dataclass(frozen=True)
class Score:
    """The figures over a set of runs; None where there is nothing to take a share of."""

    stuck: int
    healthy: int
    recall: float | None
    """of the stuck runs, `POOR` aside"""
    poor: float | None
    """of the runs in a poor minimum, how many were alarmed of or at least called settled"""
    false_alarm_runs: float | None
    """of the healthy runs, how many have any alarm"""
    false_alarms: float | None
    """per 1000 steps of the healthy runs that lie outside ambiguous stretches"""
    named: bool
    """whether any cause was named at all"""
    strict: float | None
    lenient: float | None
    delay: float | None
    """median"""
    delay_p90: float | None


def summarise(outcomes: Iterable[Outcome]) -> Score:
    """The score over these runs; a run that diverges leaves no time to be late in and has no delay."""
    outcomes = list(outcomes)
    stuck = [o for o in outcomes if o.label.label == "stuck"]
    healthy = [o for o in outcomes if o.label.label == "healthy"]
    caught = [o for o in stuck if o.caught]
    delays = [o.delay for o in caught if o.delay is not None and o.label.kind != "diverged"]
    return Score(
        stuck=len(stuck),
        healthy=len(healthy),
        recall=share([o.caught is not None for o in stuck if o.label.kind != POOR]),
        poor=share([o.caught is not None or o.settled for o in stuck if o.label.kind == POOR]),
        false_alarm_runs=share([bool(o.stray) for o in healthy]),
        false_alarms=_per_thousand(sum(len(o.stray) for o in healthy), sum(o.healthy_steps for o in healthy)),
        named=any(o.caught.cause for o in caught if o.caught),
        strict=share([o.strict for o in caught]),
        lenient=share([o.lenient for o in caught]),
        delay=quantile(delays, 0.5),
        delay_p90=quantile(delays, 0.9),
    )


def share(answers: Sequence[bool]) -> float | None:
    """How many of them are true, in [0, 1]."""
    return sum(answers) / len(answers) if answers else None


def quantile(values: Sequence[float], level: float) -> float | None:
    """With linear interpolation."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[round(100 * level) - 1]


def _per_thousand(count: int, steps: int) -> float | None:
    return 1000 * count / steps if steps else None
