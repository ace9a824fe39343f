"""The command line, for example ``python -m lightning_landscape compare A.ckpt B.ckpt --module a.b:C --data a.b:D``."""

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
        sys.stdout.write(_compare(options) + "\n")
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
    return parser


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
