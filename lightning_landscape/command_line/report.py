"""`landscape report`: write one HTML file on all watched runs of log directories."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Verb

if TYPE_CHECKING:
    from lightning_landscape.reporting.event_files import LoggedRun


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="directory of a run, or of many; it is searched for event files with all below it",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("landscape_report.html"),
        metavar="FILE",
        help="the file to write (default: landscape_report.html)",
    )


def _run(options: Namespace) -> Answer:
    """Write the report.

    Raises:
        CannotLookError: if there is no such directory, or no watched run in any.
    """
    from lightning_landscape._files import write_atomically
    from lightning_landscape.clock import SYSTEM_CLOCK
    from lightning_landscape.reporting.event_files import logged_runs
    from lightning_landscape.reporting.page import report_page

    runs: dict[str, LoggedRun] = {}
    for folder in options.runs:
        if not folder.is_dir():
            raise CannotLookError(f"{folder} is no directory")
        found = logged_runs(folder)
        prefix = folder if len(options.runs) > 1 else Path()
        runs |= {(prefix / run).as_posix(): logged for run, logged in found.items()}
    if not runs:
        folders = ", ".join(map(str, options.runs))
        raise CannotLookError(
            f"no run in {folders} has records of LandscapeMonitor; it writes them with a TensorBoardLogger"
        )
    page = report_page(
        {name: run.document for name, run in runs.items()},
        written=SYSTEM_CLOCK.date().timestamp(),
        seen={name: run.seen for name, run in runs.items()},
    )
    write_atomically(options.output, lambda draft: draft.write_text(page, encoding="utf-8"))
    text = f"The report on {len(runs)} run{'s' if len(runs) > 1 else ''} is {options.output}."
    return Answer({"output": str(options.output), "runs": list(runs)}, [text])


VERB = Verb(
    name="report",
    help="write one HTML file on watched runs",
    description="Writes one HTML file with the runs that LandscapeMonitor has watched, from TensorBoard's event files. "
    "The file needs no network. Runs with an alarm come first. A run that was killed is shown as of its last record.",
    examples=[
        Example("landscape report lightning_logs -o report.html", "all runs below a directory"),
        Example(
            "landscape report lightning_logs/version_3 lightning_logs/version_4 -o two.html", "two runs side by side"
        ),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
