"""``python -m lightning_landscape compare A.ckpt B.ckpt --module pkg.mod:Class --data pkg.mod:DataModuleClass``."""

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
    """What was given on the command line cannot be used, and the message says what and why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and print what it found; 2 where the arguments are wrong, 1 where the files are."""
    given = _parser().parse_args(arguments)
    try:
        sys.stdout.write(_compare(given) + "\n")
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
        help="do these runs share a basin?",
        description="Losses at the ends of runs, and the barriers on the straight lines between them. "
        "Hidden units are not aligned: a barrier between different seeds is no proof of different basins.",
    )
    compare.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT", help="two checkpoint files or more")
    compare.add_argument(
        "--module", required=True, metavar="PKG.MOD:CLASS", help="the LightningModule that was trained"
    )
    compare.add_argument(
        "--data", required=True, metavar="PKG.MOD:NAME", help="a DataModule class, or a function that returns batches"
    )
    compare.add_argument("--batches", type=int, default=4, help="training batches to average over (default: 4)")
    compare.add_argument("--points", type=int, default=11, help="positions on each line (default: 11)")
    compare.add_argument("--tolerance", type=float, default=0.1, help="barrier over the higher loss (default: 0.1)")
    compare.add_argument("--seed", type=int, default=0, help="of the order of the batches (default: 0)")
    compare.add_argument("--figure", type=Path, metavar="FILE", help="where to save the heat map of the barriers")
    return parser


def _compare(given: argparse.Namespace) -> str:
    from lightning_landscape.comparison import compare_runs, load_module

    if given.batches < 1:
        raise BadArgumentError(f"--batches must be at least 1, got {given.batches}")
    kind = _found("--module", given.module)
    if not (isinstance(kind, type) and hasattr(kind, "load_from_checkpoint")):
        raise BadArgumentError(f"--module must name a LightningModule class, got {given.module!r}, which is {kind!r}")
    module = load_module(kind, given.checkpoints[0])
    comparison = compare_runs(
        given.checkpoints, module, _batches(given), num_points=given.points, tolerance=given.tolerance
    )
    if given.figure is not None:
        from lightning_landscape.plots import barrier_figure, save

        save(barrier_figure(comparison), given.figure)
    return comparison.to_markdown()


def _found(option: str, name: str) -> Any:
    if ":" not in name:
        raise BadArgumentError(f"{option} must look like package.module:Name, got {name!r}")
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BadArgumentError(f"{option} {name!r} cannot be imported: {error}") from error


def _batches(given: argparse.Namespace) -> list[Any]:
    """The first batches of the training data, in the order that the seed gives.

    Raises:
        BadArgumentError: if the name stands for nothing that gives batches.
    """
    import torch

    make = _found("--data", given.data)
    try:
        data = make()
    except TypeError as error:
        raise BadArgumentError(f"--data {given.data!r} must need no arguments: {error}") from error
    torch.manual_seed(given.seed)
    if hasattr(data, "train_dataloader"):
        data.prepare_data()
        data.setup("fit")
        data = data.train_dataloader()
    try:
        return list(islice(data, given.batches))
    except TypeError as error:
        raise BadArgumentError(f"--data {given.data!r} gives no batches but {type(data).__name__}: {error}") from error


if __name__ == "__main__":
    sys.exit(main())
