"""Tables of the scores in Markdown: one of all runs, one for every cause, and a list of the monitor's mistakes."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from benchmarks.stuck_runs.scoring import Outcome, Score, compare, summarise
from benchmarks.stuck_runs.truth import Label
from benchmarks.stuck_runs.watching import RunResult

MONITOR = "LandscapeMonitor"
Labels = Mapping[tuple[str, int], Label]


def report(runs: Sequence[RunResult], labels: Labels) -> str:
    """Return all tables, the mistakes and the times."""
    outcomes = {MONITOR: [monitor_outcome(run, labels) for run in runs]}
    for rule in {rule: None for run in runs for rule in run.rules}:
        outcomes[rule] = [compare(_key(run), labels[run.name, run.seed], run.rules[rule]) for run in runs]
    causes = sorted({o.label.kind for o in outcomes[MONITOR] if o.label.label == "stuck"})
    tables = [overall_table(outcomes), *(cause_table(cause, outcomes) for cause in causes)]
    return "\n\n".join([*tables, mistakes(runs, outcomes[MONITOR]), wall_time(runs)])


def monitor_outcome(run: RunResult, labels: Labels) -> Outcome:
    """Compare the verdicts of the monitor on a run with its label."""
    settled = any(remark.cause == "settled" for remark in run.remarks)
    return compare(_key(run), labels[run.name, run.seed], run.alarms, settled=settled)


def overall_table(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Return the scores over all runs, with one row for each rule."""
    scores = {rule: summarise(rule_outcomes) for rule, rule_outcomes in outcomes.items()}
    monitor = scores[MONITOR]
    columns: dict[str, Callable[[Score], str]] = {
        "recall": lambda s: percent(s.recall),
        "healthy runs with an alarm": lambda s: percent(s.false_alarm_runs),
        "false alarms per 1000 healthy steps": lambda s: number(s.false_alarms, 3),
        "delay, median / p90": lambda s: f"{number(s.delay)} / {number(s.delay_p90)}",
        "cause, strict / lenient": lambda s: f"{percent(s.strict)} / {percent(s.lenient)}" if s.named else "none named",
        "poor minima seen": lambda s: percent(s.poor),
    }
    rows = [[rule, *(column(score) for column in columns.values())] for rule, score in scores.items()]
    title = f"## All: {monitor.stuck} stuck and {monitor.healthy} healthy runs"
    note = "Recall and cause are shares of the stuck runs, recall without poor minima; delay is a share of the plateau."
    return "\n\n".join([title, note, markdown(["rule", *columns], rows)])


def cause_table(cause: str, outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """Return the results on the runs that are stuck for this cause, with one row for each rule."""
    rows = []
    for rule, rule_outcomes in outcomes.items():
        stuck = [o for o in rule_outcomes if o.label.label == "stuck" and o.label.kind == cause]
        hits = [o for o in stuck if o.hit]
        causes = Counter(str(o.hit.cause) for o in hits if o.hit and o.hit.cause)
        delays = [o.delay for o in hits if o.delay is not None]
        counts = [f"{len(hits)}", f"{sum(o.strict for o in hits)}", f"{sum(o.lenient for o in hits)}"]
        named = ", ".join(f"{count} {name}" for name, count in causes.most_common())
        rows.append([rule, *counts, number(statistics.median(delays) if delays else None), named])
    runs = [o for o in outcomes[MONITOR] if o.label.label == "stuck" and o.label.kind == cause]
    headers = ["rule", "found", "strict", "lenient", "delay, median", "causes named"]
    return f"## {cause}: {len(runs)} runs\n\n{markdown(headers, rows)}"


def ablation_table(results: Mapping[str, Sequence[RunResult]], labels: Labels) -> str:
    """Return the scores of the monitor, with one row for each hidden signal."""
    rows = []
    for signal, runs in results.items():
        score = summarise([monitor_outcome(run, labels) for run in runs])
        cause = f"{percent(score.strict)} / {percent(score.lenient)}"
        delay = f"{number(score.delay)} / {number(score.delay_p90)}"
        rows.append([signal, percent(score.recall), percent(score.false_alarm_runs), cause, delay])
    headers = ["hidden", "recall", "healthy runs with an alarm", "cause, strict / lenient", "delay, median / p90"]
    return markdown(headers, rows)


def mistakes(runs: Sequence[RunResult], outcomes: Sequence[Outcome]) -> str:
    """Return a list of all errors, missed plateaus, wrong causes and false alarms of the monitor."""
    lines = [f"- error in {_key(run)}: {run.error}" for run in runs if run.error]
    for o in sorted(outcomes, key=lambda o: o.key):
        false_alarms = ", ".join(f"{alarm.cause} at {alarm.step}" for alarm in o.false_alarms)
        if o.label.label == "stuck" and o.hit is None:
            settled = ", called settled" if o.settled else ""
            lines.append(f"- missed: {o.key}, {o.label.kind} in {o.label.stuck}{settled}")
        elif o.hit is not None and not o.lenient:
            lines.append(f"- wrong cause: {o.key}, {o.label.kind} called {o.hit.cause}")
        if false_alarms:
            where = "healthy run" if o.label.label == "healthy" else "healthy part of a stuck run"
            lines.append(f"- false alarm in a {where}: {o.key}, {false_alarms}")
    return "\n".join(["## What the monitor got wrong", "", *(lines or ["Nothing."])])


def wall_time(runs: Sequence[RunResult]) -> str:
    """Return a sentence on the wall-clock time with the monitor, compared with that without it where both are known."""
    timed = [(run.watched_seconds, run.bare_seconds) for run in runs if run.bare_seconds]
    if not timed:
        return f"The runs with the monitor took {sum(run.watched_seconds for run in runs):.0f} s."
    median = statistics.median(watched / bare for watched, bare in timed)
    total = sum(watched for watched, _ in timed) / sum(bare for _, bare in timed)
    return f"Wall-clock time with the monitor over that without it: median {median:.2f}, all runs together {total:.2f}."


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal place, or an empty text for None."""
    return "" if value is None else f"{100 * value:.1f}%"


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with this many decimal places, or an empty text for None."""
    return "" if value is None else f"{value:.{digits}f}"


def _key(run: RunResult) -> str:
    return f"{run.name}/{run.seed}"
