"""The tables, in Markdown: all runs, then one for every cause."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from benchmarks.stuck_runs.scoring import Outcome, Score, judge, summarise
from benchmarks.stuck_runs.truth import Label
from benchmarks.stuck_runs.watching import Watched

MONITOR = "LandscapeMonitor"
Labels = Mapping[tuple[str, int], Label]


def report(runs: Sequence[Watched], labels: Labels) -> str:
    """Everything: overall, by cause, and what went wrong."""
    outcomes = {MONITOR: [of_monitor(run, labels) for run in runs]}
    for rule in {rule: None for run in runs for rule in run.rules}:
        outcomes[rule] = [judge(_key(run), labels[run.name, run.seed], run.rules[rule]) for run in runs]
    causes = sorted({o.label.kind for o in outcomes[MONITOR] if o.label.label == "stuck"})
    parts = [overall(outcomes), *(of_cause(cause, outcomes) for cause in causes), mishaps(runs, outcomes[MONITOR])]
    return "\n\n".join([*parts, wall_time(runs)])


def of_monitor(run: Watched, labels: Labels) -> Outcome:
    """How the monitor did on a run; of poor minima it is enough to say that training has settled."""
    settled = any(remark.cause == "settled" for remark in run.remarks)
    return judge(_key(run), labels[run.name, run.seed], run.alarms, settled=settled)


def overall(outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """One row for each rule."""
    scores = {rule: summarise(of_rule) for rule, of_rule in outcomes.items()}
    some = scores[MONITOR]
    columns: dict[str, Callable[[Score], str]] = {
        "recall": lambda s: percent(s.recall),
        "healthy runs with an alarm": lambda s: percent(s.false_alarm_runs),
        "false alarms per 1000 healthy steps": lambda s: number(s.false_alarms, 3),
        "delay, median / p90": lambda s: f"{number(s.delay)} / {number(s.delay_p90)}",
        "cause, strict / lenient": lambda s: f"{percent(s.strict)} / {percent(s.lenient)}" if s.named else "none named",
        "poor minima seen": lambda s: percent(s.poor),
    }
    rows = [[rule, *(column(score) for column in columns.values())] for rule, score in scores.items()]
    title = f"## All: {some.stuck} stuck and {some.healthy} healthy runs"
    note = "Recall and cause are shares of the stuck runs, recall without poor minima; delay is a share of the plateau."
    return "\n\n".join([title, note, markdown(["rule", *columns], rows)])


def of_cause(cause: str, outcomes: Mapping[str, Sequence[Outcome]]) -> str:
    """One row for each rule, on the runs that are stuck for this cause."""
    rows = []
    for rule, of_rule in outcomes.items():
        here = [o for o in of_rule if o.label.label == "stuck" and o.label.kind == cause]
        caught = [o for o in here if o.caught]
        said = Counter(str(o.caught.cause) for o in caught if o.caught and o.caught.cause)
        delays = [o.delay for o in caught if o.delay is not None]
        counts = [f"{len(caught)}", f"{sum(o.strict for o in caught)}", f"{sum(o.lenient for o in caught)}"]
        names = ", ".join(f"{count} {name}" for name, count in said.most_common())
        rows.append([rule, *counts, number(statistics.median(delays) if delays else None), names])
    of_monitor = [o for o in outcomes[MONITOR] if o.label.label == "stuck" and o.label.kind == cause]
    headers = ["rule", "caught", "strict", "lenient", "delay, median", "said"]
    return f"## {cause}: {len(of_monitor)} runs\n\n{markdown(headers, rows)}"


def ablations(seen: Mapping[str, Sequence[Watched]], labels: Labels) -> str:
    """One row for each signal that was hidden."""
    rows = []
    for what, runs in seen.items():
        score = summarise([of_monitor(run, labels) for run in runs])
        cause = f"{percent(score.strict)} / {percent(score.lenient)}"
        delay = f"{number(score.delay)} / {number(score.delay_p90)}"
        rows.append([what, percent(score.recall), percent(score.false_alarm_runs), cause, delay])
    headers = ["hidden", "recall", "healthy runs with an alarm", "cause, strict / lenient", "delay, median / p90"]
    return markdown(headers, rows)


def mishaps(runs: Sequence[Watched], outcomes: Sequence[Outcome]) -> str:
    """Every run on which the monitor erred, in a line."""
    lines = [f"- error in {_key(run)}: {run.error}" for run in runs if run.error]
    for o in sorted(outcomes, key=lambda o: o.key):
        stray = ", ".join(f"{alarm.cause} at {alarm.step}" for alarm in o.stray)
        if o.label.label == "stuck" and o.caught is None:
            settled = ", called settled" if o.settled else ""
            lines.append(f"- missed: {o.key}, {o.label.kind} in {o.label.stuck}{settled}")
        elif o.caught is not None and not o.lenient:
            lines.append(f"- wrong cause: {o.key}, {o.label.kind} called {o.caught.cause}")
        if stray:
            where = "healthy run" if o.label.label == "healthy" else "healthy part of a stuck run"
            lines.append(f"- false alarm in a {where}: {o.key}, {stray}")
    return "\n".join(["## What the monitor got wrong", "", *(lines or ["Nothing."])])


def wall_time(runs: Sequence[Watched]) -> str:
    """What watching costs on runs as small as these."""
    timed = [(run.watched_seconds, run.bare_seconds) for run in runs if run.bare_seconds]
    if not timed:
        return f"Watched runs took {sum(run.watched_seconds for run in runs):.0f} s."
    median = statistics.median(watched / bare for watched, bare in timed)
    total = sum(watched for watched, _ in timed) / sum(bare for _, bare in timed)
    return f"Wall time with the monitor, as a multiple of without: median {median:.2f}, all together {total:.2f}."


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(value: float | None) -> str:
    """To a tenth."""
    return "" if value is None else f"{100 * value:.1f}%"


def number(value: float | None, digits: int = 2) -> str:
    """To so many digits after the point."""
    return "" if value is None else f"{value:.{digits}f}"


def _key(run: Watched) -> str:
    return f"{run.name}/{run.seed}"
