"""`landscape ask`: ask a running fit for a diagnosis, and wait for its answer."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Panel, Verb
from lightning_landscape.command_line.progress import Progress

if TYPE_CHECKING:
    from lightning_landscape.clock import Clock

EVERY = 0.5
"""seconds between two looks into the file of events"""


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="directory of the run, which holds landscape/")
    parser.add_argument("--now", action="store_true", help="ask for a diagnosis also while the loss still falls")
    parser.add_argument(
        "--timeout", type=float, default=1800.0, metavar="SECONDS", help="how long to wait (default: 1800)"
    )


def _run(options: Namespace) -> Answer:
    """Ask, and wait for the answer.

    Raises:
        CannotLookError: if no monitor watches the run, or it does not answer.
    """
    from lightning_landscape.reporting.events import FILE
    from lightning_landscape.reporting.questions import IN_ANY_CASE, UNLESS_IT_FALLS, Asked, put_question

    folder = next((f for f in (options.run / "landscape", options.run) if (f / FILE).is_file()), None)
    if folder is None:
        where = options.run if options.run.exists() else f"{options.run}, which does not exist"
        raise CannotLookError(f"no {FILE} in {where}; LandscapeMonitor writes it into landscape/ of a run it watches")
    if (ended := _end(folder)) is not None:
        raise CannotLookError(f"the run in {options.run} is over: it {ended}; `landscape show` has its verdict")
    asked = Asked(uuid4().hex, IN_ANY_CASE if options.now else UNLESS_IT_FALLS)
    put_question(folder, asked)
    answer = waited_for(folder, asked.id, options.timeout)
    return _told(answer, options.run)


def waited_for(
    folder: Path,
    question: str,
    timeout: float,
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> Mapping[str, Any]:
    """Return the event that answers a question; the question is withdrawn if there is none in time.

    Args:
        folder: the directory of the run's events.
        question: the id of the question.
        timeout: seconds after which the question is withdrawn.
        clock: measures the time; None for that of the system.
        sleep: waits for a number of seconds.

    Raises:
        CannotLookError: if the run ends or does not answer in time.
    """
    from lightning_landscape.clock import SYSTEM_CLOCK
    from lightning_landscape.reporting.events import read_events
    from lightning_landscape.reporting.questions import withdraw_question

    clock = SYSTEM_CLOCK if clock is None else clock
    end = clock.now() + timeout
    try:
        with Progress("Waiting for the next check of the run") as progress:
            while clock.now() < end:
                for event in read_events(folder):
                    if event["event"] == "answer" and event.get("id") == question:
                        return event
                if (ended := _end(folder)) is not None:
                    raise CannotLookError(f"the run {ended} before it could answer")
                sleep(EVERY)
                progress.advance(EVERY)
    finally:
        unheard = withdraw_question(folder)
    what = "it never looked at the question" if unheard else "it has heard the question but found no answer yet"
    raise CannotLookError(f"the run gave no answer within {timeout:g} seconds: {what}")


def _end(folder: Path) -> str | None:
    """Return how the latest fit ended, in words; None while it runs."""
    from lightning_landscape.reporting.events import read_events

    fits = [event for event in read_events(folder) if event["event"] in {"start", "end"}]
    return str(fits[-1].get("status", "ended")) if fits and fits[-1]["event"] == "end" else None


def _told(answer: Mapping[str, Any], run: Path) -> Answer:
    """Return the answer of the run as that of the command."""
    from lightning_landscape.evidence import Verdict
    from lightning_landscape.reporting.messages import message

    stored = answer.get("verdict")
    verdict = None if stored is None else Verdict.from_dict(stored)
    why = str(answer.get("why") or "")
    code = None if verdict is None else verdict.code
    document = {"run": str(run), "step": answer["step"], "verdict": stored, "code": code, "why": why}
    if verdict is None:
        return Answer(document, [f"Step {answer['step']:,}: {why}"])
    panel = Panel(message(verdict), title="alarm" if verdict.stuck else "no alarm", alarm=verdict.stuck)
    return Answer(document, [panel], alarm=verdict.stuck)


VERB = Verb(
    name="ask",
    help="ask a running fit why its loss does not fall",
    description="Puts a small file with a question into the directory of a run that LandscapeMonitor watches, and "
    "waits for the answer. The run sees it at its next check, at the latest after 100 steps, captures batches and "
    "makes a diagnosis at the check after that, within the budget of its monitor. Training is not changed. While the "
    "loss clearly falls, nothing is examined, unless with --now.",
    examples=[
        Example("landscape ask lightning_logs/version_3", "why has this run stopped falling?"),
        Example("landscape ask lightning_logs/version_3 --now", "examine it although its loss still falls"),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
