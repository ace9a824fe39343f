"""The command line: train the runs, a few at a time, and print one table."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.long_runs import report
from benchmarks.long_runs.pictures import pictures
from benchmarks.long_runs.runs import RUNS
from benchmarks.long_runs.watching import Job, is_finished, results, watch
from benchmarks.stuck_runs.processes import run_in_processes

EXAMPLES = """
python -m benchmarks.long_runs                                  # eight runs, two at a time, 12 minutes each
python -m benchmarks.long_runs --paired --resume                # two of them beside a twin; keep what is finished
python -m benchmarks.long_runs --names classifier --minutes 1
python -m benchmarks.long_runs --resume --page docs/long_runs.md
"""


def parser() -> ArgumentParser:
    """Return the parser of all options."""
    paired = [run.name for run in RUNS.values() if run.paired]
    options = ArgumentParser(
        prog="python -m benchmarks.long_runs", epilog=EXAMPLES, formatter_class=RawDescriptionHelpFormatter
    )
    options.add_argument("--names", nargs="+", choices=tuple(RUNS), metavar="NAME", help=", ".join(RUNS))
    options.add_argument("--jobs", type=int, default=2, help="runs at the same time, one core each; default: 2")
    options.add_argument("--minutes", type=float, default=12.0, help="length of a run, roughly; default: 12")
    options.add_argument("--out", type=Path, default=Path("out/long_runs"), help="folder of the results")
    options.add_argument("--resume", action="store_true", help="leave out the runs whose result is in the folder")
    options.add_argument(
        "--paired",
        nargs="*",
        choices=[name for name in RUNS if name != "cart_pole"],  # its batches depend on the network
        metavar="NAME",
        help=f"train these in turn with a twin without a monitor; without names: {', '.join(paired)}",
    )
    options.add_argument("--page", type=Path, help="write a page to this file, and its pictures to images/ beside it")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    names = options.names or list(RUNS)
    paired = options.paired
    if paired is not None and not paired:
        paired = [run.name for run in RUNS.values() if run.paired]
    jobs = [Job(name, options.minutes, options.out, paired=name in (paired or ())) for name in names]
    jobs = [job for job in jobs if not (options.resume and is_finished(job))]
    jobs.sort(key=lambda job: not job.paired)  # the longest first
    for job, result in run_in_processes(watch, jobs, options.jobs):
        said = "; ".join(f"{verdict.code} at step {verdict.step:,}" for verdict in result.verdicts)
        print(f"{job.name}: {result.error or said or 'no verdict'}", file=sys.stderr, flush=True)
    finished = results(options.out, names)
    images = options.page.parent / "images" / "long_runs" if options.page else options.out / "images"
    pictures(finished, images)
    if options.page and finished:
        options.page.write_text(report.page(finished, images, options.page), encoding="utf-8")
    print(report.table(finished))
