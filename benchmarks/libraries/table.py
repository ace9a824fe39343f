"""From the runs of each library to one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.libraries.runs import Run
from lightning_landscape.evidence import Cause

HEADERS = (
    *("library", "steps", "weights identical", "alarms of the healthy run", "rate 1e-7", "1,000 times the rate"),
    *("price, healthy", "price, rate 1e-7"),
)
TOO_SMALL = (Cause.LEARNING_RATE_TOO_SMALL,)
TOO_LARGE = (Cause.LEARNING_RATE_TOO_LARGE, Cause.DIVERGED)
"""causes whose first advice is a smaller learning rate"""
HARM = 0.5
"""share of what the healthy run gained from which on a loss is said to be harmed"""


def alarms(run: Run) -> list[str]:
    """Return the causes of the alarms in their order, each once, with the finding behind it."""
    causes = [f"{cause} ({finding})" if finding else cause for cause, finding, stuck in run.verdicts if stuck]
    return list(dict.fromkeys(causes))


def named(run: Run, causes: Sequence[Cause]) -> bool:
    """Return whether the first alarm has one of these causes."""
    return next((Cause(cause) in causes for cause, _, stuck in run.verdicts if stuck), False)


def harmed(run: Run, healthy: Run) -> bool:
    """Return whether this run ends worse than the healthy one, by half of what the healthy one gained or more."""
    return not run.end <= healthy.end + HARM * (healthy.start - healthy.end)


def price(run: Run) -> float:
    """Return the processor time with the monitor over that without it."""
    return run.watched / run.bare if run.bare else 1.0


def row(name: str, runs: Mapping[str, Run]) -> list[str]:
    """Return the line of one library."""
    healthy, tiny, large = runs["healthy"], runs["tiny"], runs["large"]
    identical = all(run.identical for run in runs.values())
    harm = ", ".join(alarms(large)) or "no alarm"
    if large.error:
        harm += f"; without the monitor: {large.error.partition(':')[0]}"
    return [
        name,
        f"{healthy.steps}",
        "yes" if identical else "NO",
        ", ".join(alarms(healthy)) or "none",
        ", ".join(alarms(tiny)) or "no alarm",
        harm if harmed(large, healthy) else f"does no harm ({harm})",
        f"{price(healthy):.2f}",
        f"{price(tiny):.2f}",
    ]


def summary(results: Sequence[Mapping[str, Run]]) -> str:
    """Return the counts over all libraries, in sentences."""
    healthy, tiny = [runs["healthy"] for runs in results], [runs["tiny"] for runs in results]
    large = [runs["large"] for runs in results if harmed(runs["large"], runs["healthy"])]
    count = len(results)
    identical = sum(all(run.identical for run in runs.values()) for runs in results)
    highest = [f"{max(map(price, runs), default=0.0):.2f}" for runs in (healthy, tiny)]
    return (
        f"Weights are identical in {identical} of {count} libraries. {sum(bool(alarms(run)) for run in healthy)} of "
        f"{count} healthy runs alarm. The rate 1e-7 is named in {sum(named(run, TOO_SMALL) for run in tiny)} of "
        f"{count}, and 1,000 times the rate in {sum(named(run, TOO_LARGE) for run in large)} of the {len(large)} where "
        f"it does harm. The highest price is {highest[0]} times for a healthy run and {highest[1]} times at 1e-7."
    )


def runs_of(result: Mapping[str, Any]) -> dict[str, Run]:
    """Return the runs in the JSON object that `benchmarks.libraries.runs` printed."""
    return {name: Run(**fields) for name, fields in result.items() if name != "versions"}


def table(results: Sequence[Mapping[str, Any]], failures: Mapping[str, str]) -> str:
    """Return the table as Markdown, then the counts, then why libraries are missing."""
    lines = [f"| {' | '.join(HEADERS)} |", f"| {' | '.join('---' for _ in HEADERS)} |"]
    for result in results:
        name = " ".join(list(result["versions"].items())[-1])
        lines.append(f"| {' | '.join(row(name, runs_of(result)))} |")
    if results:
        lines += ["", summary([runs_of(result) for result in results])]
        versions = results[0]["versions"]
        lines += ["", f"Measured with torch {versions['torch']} and lightning {versions['lightning']}, one thread."]
    lines += [f"\nNot measured: {name}. {reason}" for name, reason in failures.items()]
    return "\n".join(lines)
