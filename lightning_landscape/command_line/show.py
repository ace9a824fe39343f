"""`landscape show`: what was said of one run: the verdict, what to try, and what was measured."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape._text import listed
from lightning_landscape.clock import SYSTEM_CLOCK
from lightning_landscape.command_line.answer import Answer, Block, CannotLookError, Example, Panel, Table, Verb
from lightning_landscape.evidence.message import with_since

if TYPE_CHECKING:
    from lightning_landscape.reporting.watched import SaidVerdict, WatchedRun


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of a run that LandscapeMonitor has watched")


def _run(options: Namespace) -> Answer:
    """Return what was said of the run.

    Raises:
        CannotLookError: if there is no such directory, or not exactly one watched run in it.
    """
    from lightning_landscape.reporting.watched import status_in_words, watched_runs

    folder: Path = options.run
    folder = folder.parent if folder.name == "events.jsonl" and folder.is_file() else folder
    if not folder.is_dir():
        raise CannotLookError(f"{folder} is no directory of a run")
    runs = watched_runs(folder)
    if folder in runs:
        runs = {folder: runs[folder]}
    if not runs:
        raise CannotLookError(
            f"{folder} has no records of LandscapeMonitor; `landscape plateau {folder}` judges its loss"
        )
    if len(runs) > 1:
        raise CannotLookError(f"{folder} holds {len(runs)} watched runs: {listed([*map(str, runs)])}; name one of them")
    ((directory, run),) = runs.items()
    status = status_in_words(run.status, run.seen, SYSTEM_CLOCK.date().timestamp())
    return Answer(_document(directory, run, status), _blocks(directory, run, status), run.alarm)


def _document(directory: Path, run: WatchedRun, status: str) -> dict[str, object]:
    present = run.present
    return {
        "run": str(directory),
        "state": run.state,
        "title": run.words,
        "alarm": run.alarm,
        "verdict": None if present is None else _as_dict(present),
        "verdicts": [_as_dict(verdict) for verdict in run.verdicts],
        "steps": run.steps,
        "horizon": run.horizon,
        "loss": dict(run.loss),
        "status": status,
        "seen": run.seen,
        "notes": list(run.notes),
    }


def _as_dict(verdict: SaidVerdict) -> dict[str, object]:
    return {
        **asdict(verdict),
        "finding": verdict.finding or None,
        "tries": list(verdict.tries),
        "measured": [list(row) for row in verdict.measured],
        "metric": verdict.metric or None,
    }


def _blocks(directory: Path, run: WatchedRun, status: str) -> list[Block]:
    blocks: list[Block] = []
    if run.present is not None:
        blocks.append(Panel(_text(run.present), str(directory), alarm=run.alarm))
    else:
        blocks.append(Panel(f"{run.words}.", str(directory)))
    if run.present is not None and run.present.measured:
        blocks.append(Table(["measured", "value"], [list(row) for row in run.present.measured]))
    steps = f"{run.steps:,}" + (f" of {run.horizon:,}" if run.horizon else "")
    lines = [f"Steps: {steps} ({status})."]
    if {"start", "now"} <= run.loss.keys():
        lines.append(f"Training loss: from {run.loss['start']:.4g} to {run.loss['now']:.4g}.")
    earlier = [verdict for verdict in run.verdicts if verdict is not run.present]
    lines += [f"Earlier: step {verdict.step:,}: {verdict.title} [{verdict.code}]." for verdict in earlier[-5:]]
    lines += list(run.notes)
    blocks.append("\n".join(lines))
    if run.present is not None:
        blocks.append(f"`landscape explain {run.present.code.split()[0]}` explains this verdict.")
    return blocks


def _text(verdict: SaidVerdict) -> str:
    """Return the verdict as the terminal shows it during training, whole."""
    since = "" if verdict.since >= verdict.step else f" since step {verdict.since}"
    since = " from the start" if since and verdict.since <= 0 else since
    title = verdict.title.removesuffix(f": {verdict.finding}") if verdict.finding else verdict.title
    finding = f": {verdict.finding}" if verdict.finding else ""
    lines = [f"[{verdict.code}] step {verdict.step}: {with_since(title, since)}{finding}."]
    tries = list(verdict.tries)
    if len(tries) > 1:
        tries = [f"{i}. {line}" for i, line in enumerate(tries, 1)]
    for word, of_section in (("Try", tries), ("Why", verdict.reason.splitlines()), ("Tried", [verdict.tried])):
        starts = [f"  {word}: ", " " * (len(word) + 4)]
        lines += [starts[i > 0] + line for i, line in enumerate(of_section) if line]
    return "\n".join(lines)


VERB = Verb(
    name="show",
    help="show the verdict on one run, what to try, and what was measured",
    description="Shows what LandscapeMonitor has said of one run: the verdict, what to try, why, what was tried on a "
    "copy of the run, and what was measured, from its event files or its events.jsonl.",
    examples=[
        Example("landscape show lightning_logs/version_3", "one run"),
        Example("landscape show lightning_logs/version_3 --json", "the same for a script"),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
