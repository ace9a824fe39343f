"""The table of all runs, and the page of the docs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.long_runs.runs import RUNS
from benchmarks.long_runs.watching import Result
from benchmarks.overhead.timing import markdown

HEADERS = (
    "run", "what is wrong", "steps", "minutes", "before → after", "stuck from", "reported at", "delay", "price", "twin"
)  # fmt: skip

NOTE = """All runs have `LandscapeMonitor()` with default arguments, one core, and TensorBoard's logger. *Stuck from* is
the share of the run from which on the mistake acts and the loss never falls again by more than 5% of all that it has
fallen. *Delay* is the share of the run from there to the first alarm. *Price* is the time of the run with the monitor
over that without it, by the monitor's own account and with the report at the end. *Twin* is this ratio as measured, in
processor time, against a run on the same batches without a monitor, with which it takes turns."""


def percent(step: int, result: Result) -> str:
    """Return a step as a share of the run."""
    return f"{step / result.steps:.0%}"


def stretch(result: Result) -> str:
    """Return from where a run is stuck, and until where if it may recover; nothing for a healthy run."""
    if result.stuck_from is None:
        return ""
    until = RUNS[result.name].until
    return percent(result.stuck_from, result) + (f" (to {until:.0%})" if until < 1 else "")


def delay(result: Result) -> str:
    """Return after which share of the run a stuck run had its first alarm."""
    alarms = [verdict.step for verdict in result.verdicts if verdict.stuck]
    if result.stuck_from is None:
        return f"**{len(alarms)} false alarm{'s' * (len(alarms) > 1)}**" if alarms else ""
    if not alarms:
        return "**no alarm**"
    late = [step for step in alarms if step >= (result.mistake_from or 0)]
    if not late:
        return "**only before the mistake**"
    return percent(late[0] - result.stuck_from, result) if late[0] >= result.stuck_from else "0%, while it still fell"


def row(result: Result) -> list[str]:
    """Return the row of a run."""
    run = RUNS[result.name]
    reported = [f"{v.title} at {percent(v.step, result)}{'' if v.stuck else ' (no alarm)'}" for v in result.verdicts]
    reported += [f"{finding} as a note" for note in result.notes for finding in re.findall(r"^\[(LL.*?)\]", note)]
    return [
        run.title,
        run.mistake or "nothing",
        f"{result.steps:,}",
        f"{result.training_seconds / 60:.1f}",
        f"{result.quality[0]:.3g} → {result.quality[1]:.3g} {run.unit}",
        stretch(result),
        result.error or "; ".join(reported) or "nothing",
        delay(result),
        f"{1 + result.price:.3f}" if result.ratio is None else "",
        "" if result.ratio is None else f"{result.ratio:.3f}",
    ]


def table(results: Sequence[Result]) -> str:
    """Return the table of the runs, healthy ones first, and a line of totals."""
    ordered = sorted(results, key=lambda result: RUNS[result.name].stuck)
    stuck = [result for result in results if result.stuck_from is not None]
    healthy = [result for result in results if result.stuck_from is None]
    found, alarmed = (sum(any(v.stuck for v in result.verdicts) for result in part) for part in (stuck, healthy))
    totals = f"{found} of {len(stuck)} stuck runs have an alarm, and {alarmed} of {len(healthy)} healthy ones."
    return f"{markdown(HEADERS, [row(result) for result in ordered])}\n\n{totals}"


def page(results: Sequence[Result], images: Path, at: Path) -> str:
    """Return the page of the docs, with the pictures in the folder `images`, for the file `at`."""
    folder = os.path.relpath(images, at.parent)
    parts = [
        "# Long runs",
        f"Written by `python -m benchmarks.long_runs --page docs/{at.name}`, not by hand: {results[0].environment}.",
        NOTE,
        table(results),
        f"![The learning curves of all runs]({folder}/all.png)",
        "The band below each curve shows what the monitor saw of the run. A dotted line is a verdict; a dashed line is "
        "the step from which on the mistake acts.",
    ]
    for result in results:
        run = RUNS[result.name]
        wrong = f"What is wrong: {run.mistake}." if run.stuck else "Nothing is wrong."
        verdicts = [f"Step {v.step:,}: **{v.title}**. {v.reason} Try: {v.advice}" for v in result.verdicts]
        findings = [f"In the report: {note}" for note in result.notes if note.startswith("[")]
        parts += [
            f"## {run.title}",
            wrong,
            *verdicts,
            *findings,
            f"![Learning curve: {run.title}]({folder}/{result.name}.png)",
        ]
    return "\n\n".join(parts) + "\n"
