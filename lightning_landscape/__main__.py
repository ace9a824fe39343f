"""The command line: ``python -m lightning_landscape compare`` for checkpoints, ``report`` for TensorBoard's logs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from lightning_landscape.errors import LandscapeError


class BadArgumentError(Exception):
    """An argument of the command line cannot be used; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, print its result, and return the exit status: 0, 2 for wrong arguments, 1 for unusable files."""
    options = _parser().parse_args(arguments)
    try:
        sys.stdout.write(options.run(options) + "\n")
    except (BadArgumentError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except LandscapeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lightning_landscape", description="Tools for finished runs.")
    commands = parser.add_subparsers(required=True, metavar="command")
    compare = commands.add_parser(
        "compare",
        help="tell whether finished runs share a basin",
        description="Print the losses at the ends of runs, and the barriers on the straight lines between them. "
        "Hidden units are not aligned: a barrier between different seeds does not prove that their basins differ.",
    )
    compare.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT", help="two or more checkpoint files")
    compare.add_argument(
        "--module", required=True, metavar="PKG.MOD:CLASS", help="the LightningModule that was trained"
    )
    compare.add_argument(
        "--data", required=True, metavar="PKG.MOD:NAME", help="a DataModule class, or a function that returns batches"
    )
    compare.add_argument("--batches", type=int, default=4, help="number of training batches (default: 4)")
    compare.add_argument("--points", type=int, default=11, help="number of points on each line (default: 11)")
    compare.add_argument(
        "--tolerance",
        type=float,
        default=0.1,
        help="largest barrier in one basin, as a share of the larger loss (default: 0.1)",
    )
    compare.add_argument("--seed", type=int, default=0, help="seed for the order of the batches (default: 0)")
    compare.add_argument("--figure", type=Path, metavar="FILE", help="file for a heat map of the barriers")
    compare.set_defaults(run=_compare)
    report = commands.add_parser(
        "report",
        help="write one HTML report on all runs in a log directory",
        description="Write one HTML file with the runs that LandscapeMonitor has watched, from TensorBoard's event "
        "files. The file needs no network. Runs with an alarm come first; a run that was killed has no news.",
    )
    report.add_argument("logdir", type=Path, help="directory of TensorBoard's event files, searched with all below it")
    report.add_argument(
        "--output",
        type=Path,
        default=Path("landscape_report.html"),
        metavar="FILE",
        help="the file to write (default: landscape_report.html)",
    )
    report.set_defaults(run=_report)
    return parser


def _report(options: argparse.Namespace) -> str:
    """Write the report on all runs in a directory, and return a sentence that says where it is.

    Raises:
        BadArgumentError: if there is no such directory, or no watched run in it.
    """
    from lightning_landscape._files import write_atomically
    from lightning_landscape.clock import SYSTEM_CLOCK
    from lightning_landscape.reporting.event_files import logged_runs
    from lightning_landscape.reporting.page import report_page

    if not options.logdir.is_dir():
        raise BadArgumentError(f"{options.logdir} is no directory")
    runs = logged_runs(options.logdir)
    if not runs:
        raise BadArgumentError(
            f"no run in {options.logdir} has records of LandscapeMonitor; it writes them with a TensorBoardLogger"
        )
    page = report_page(
        {name: run.document for name, run in runs.items()},
        written=SYSTEM_CLOCK.date().timestamp(),
        seen={name: run.seen for name, run in runs.items()},
    )
    write_atomically(options.output, lambda draft: draft.write_text(page, encoding="utf-8"))
    return f"The report on {len(runs)} run{'s' if len(runs) > 1 else ''} is {options.output}."


def _compare(options: argparse.Namespace) -> str:
    """Return the result of the command `compare` as Markdown, and save the figure if ``--figure`` was given.

    Raises:
        BadArgumentError: if an option cannot be used.
    """
    from lightning_landscape.comparison import compare_runs, load_module

    if options.batches < 1:
        raise BadArgumentError(f"--batches must be at least 1, got {options.batches}")
    kind = _imported("--module", options.module)
    if not (isinstance(kind, type) and hasattr(kind, "load_from_checkpoint")):
        raise BadArgumentError(f"--module must name a LightningModule class, got {options.module!r}, which is {kind!r}")
    module = load_module(kind, options.checkpoints[0])
    comparison = compare_runs(
        options.checkpoints, module, _batches(options), num_points=options.points, tolerance=options.tolerance
    )
    if options.figure is not None:
        from lightning_landscape.plots import barrier_figure, save

        save(barrier_figure(comparison), options.figure)
    return comparison.to_markdown()


def _imported(option: str, name: str) -> Any:
    """Return the object of the name ``package.module:Name`` that an option was options.

    Raises:
        BadArgumentError: if the name has another form or cannot be imported.
    """
    if ":" not in name:
        raise BadArgumentError(f"{option} must look like package.module:Name, got {name!r}")
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadArgumentError(f"{option} {name!r} cannot be imported: {error}") from error


def _batches(options: argparse.Namespace) -> list[Any]:
    """Return the first batches of the training data, shuffled by the seed.

    Raises:
        BadArgumentError: if ``--data`` does not name a DataModule class or a function that returns batches.
    """
    import torch

    make = _imported("--data", options.data)
    try:
        data = make()
    except TypeError as error:
        raise BadArgumentError(f"--data {options.data!r} must be callable without arguments: {error}") from error
    torch.manual_seed(options.seed)
    if hasattr(data, "train_dataloader"):
        data.prepare_data()
        data.setup("fit")
        data = data.train_dataloader()
    try:
        return list(islice(data, options.batches))
    except TypeError as error:
        raise BadArgumentError(
            f"--data {options.data!r} gives no batches but a value of type {type(data).__name__}: {error}"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
