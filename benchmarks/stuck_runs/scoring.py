"""Compare alarms with labels: which plateaus were detected, how late, with which cause, and which alarms were false."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.stuck_runs.truth import Label

GRACE = 0.03
"""share of the horizon: an alarm up to this long after the end of a plateau belongs to that plateau"""
POOR_MINIMUM = "poor_minimum"
"""scored apart, since a single run does not show that its minimum is poor: the verdict `settled` is enough"""


@dataclass(frozen=True)
class Alarm:
    """An alarm of the monitor or of a rule, or another verdict of the monitor."""

    step: int
    cause: str | None
    """None if the rule names no cause"""


@dataclass(frozen=True)
class Outcome:
    """The alarms of one rule on one run, compared with the label of the run."""

    key: str
    """name and seed of the run"""
    label: Label
    hit: Alarm | None
    """the first alarm within a plateau"""
    delay: float | None
    """steps from the beginning of the plateau to the alarm, as a share of the plateau; None without a hit"""
    false_alarms: tuple[Alarm, ...]
    """alarms outside every plateau and every ambiguous stretch"""
    settled: bool = False
    """whether the monitor reached the verdict `settled`"""

    @property
    def strict(self) -> bool:
        """Whether the alarm names the cause."""
        return self.hit is not None and self.hit.cause == self.label.kind

    @property
    def lenient(self) -> bool:
        """Whether the alarm names the cause or another cause that would also be right."""
        return self.hit is not None and self.hit.cause in (self.label.kind, *self.label.accepts)

    @property
    def healthy_steps(self) -> int:
        """Number of steps outside every plateau and every ambiguous stretch."""
        return self.label.horizon - sum(end - start for start, end in (*self.label.stuck, *self.label.ambiguous))


def compare(key: str, label: Label, alarms: Sequence[Alarm], *, settled: bool = False) -> Outcome:
    """Compare the alarms of a rule with the label of the run; `settled` is whether that verdict was reached."""
    grace = GRACE * label.horizon
    allowed = (*label.stuck, *label.ambiguous)
    false = tuple(a for a in alarms if not any(start <= a.step <= end + grace for start, end in allowed))
    hits = [
        (alarm.step, (alarm.step - start) / max(1, end - start), alarm)
        for alarm in alarms
        for start, end in label.stuck
        if start <= alarm.step <= end + grace
    ]
    if label.label != "stuck" or not hits:
        return Outcome(key, label, None, None, false, settled)
    _, delay, alarm = min(hits, key=lambda hit: hit[:2])
    return Outcome(key, label, alarm, delay, false, settled)


@dataclass(frozen=True)
class Score:
    """Scores over a set of runs; None if a score has no runs."""

    stuck: int
    """number of stuck runs"""
    healthy: int
    """number of healthy runs"""
    recall: float | None
    """share of the stuck runs with a hit, without those in a poor minimum"""
    poor: float | None
    """share of the runs in a poor minimum with a hit or the verdict `settled`"""
    false_alarm_runs: float | None
    """share of the healthy runs with an alarm"""
    false_alarms: float | None
    """per 1000 steps of the healthy runs outside ambiguous stretches"""
    named: bool
    """whether any hit names a cause"""
    strict: float | None
    """share of the hits that name the cause"""
    lenient: float | None
    """share of the hits that name the cause or another that would also be right"""
    delay: float | None
    """median of the delays, without runs that diverge"""
    delay_p90: float | None
    """90% quantile of these delays"""


def summarise(outcomes: Iterable[Outcome]) -> Score:
    """Return the scores over these runs; a run that diverges has no delay, since its loss does not stall first."""
    outcomes = list(outcomes)
    stuck = [o for o in outcomes if o.label.label == "stuck"]
    healthy = [o for o in outcomes if o.label.label == "healthy"]
    hits = [o for o in stuck if o.hit]
    delays = [o.delay for o in hits if o.delay is not None and o.label.kind != "diverged"]
    return Score(
        stuck=len(stuck),
        healthy=len(healthy),
        recall=share([o.hit is not None for o in stuck if o.label.kind != POOR_MINIMUM]),
        poor=share([o.hit is not None or o.settled for o in stuck if o.label.kind == POOR_MINIMUM]),
        false_alarm_runs=share([bool(o.false_alarms) for o in healthy]),
        false_alarms=_per_thousand(sum(len(o.false_alarms) for o in healthy), sum(o.healthy_steps for o in healthy)),
        named=any(o.hit.cause for o in hits if o.hit),
        strict=share([o.strict for o in hits]),
        lenient=share([o.lenient for o in hits]),
        delay=quantile(delays, 0.5),
        delay_p90=quantile(delays, 0.9),
    )


def share(answers: Sequence[bool]) -> float | None:
    """Return the share of the answers that are true, in [0, 1], or None if there are none."""
    return sum(answers) / len(answers) if answers else None


def quantile(values: Sequence[float], level: float) -> float | None:
    """Return a quantile with linear interpolation, or None without values."""
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=100, method="inclusive")[round(100 * level) - 1]


def _per_thousand(count: int, steps: int) -> float | None:
    return 1000 * count / steps if steps else None
