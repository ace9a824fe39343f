"""`landscape compare`: the losses at the ends of finished runs, and the barriers between them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import islice
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Verb


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT", help="two or more checkpoint files")
    parser.add_argument("--module", required=True, metavar="PKG.MOD:CLASS", help="the LightningModule that was trained")
    parser.add_argument(
        "--data", required=True, metavar="PKG.MOD:NAME", help="a DataModule class, or a function that returns batches"
    )
    parser.add_argument("--batches", type=int, default=4, help="number of training batches (default: 4)")
    parser.add_argument("--points", type=int, default=11, help="number of points on each line (default: 11)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.1,
        help="largest barrier in one basin, as a share of the larger loss (default: 0.1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed for the order of the batches (default: 0)")
    parser.add_argument("-o", "--figure", type=Path, metavar="FILE", help="file for a heat map of the barriers")


def _run(options: Namespace) -> Answer:
    """Compare the checkpoints, and save the figure if ``--figure`` was given.

    Raises:
        CannotLookError: if an option cannot be used.
    """
    from lightning_landscape.comparison import compare_runs, load_module

    if options.batches < 1:
        raise CannotLookError(f"--batches must be at least 1, got {options.batches}")
    kind = _imported("--module", options.module)
    if not (isinstance(kind, type) and hasattr(kind, "load_from_checkpoint")):
        raise CannotLookError(f"--module must name a LightningModule class, got {options.module!r}, which is {kind!r}")
    module = load_module(kind, options.checkpoints[0])
    batches = _batches(options)
    try:
        comparison = compare_runs(
            options.checkpoints, module, batches, num_points=options.points, tolerance=options.tolerance
        )
    except ValueError as error:  # a number that is out of range
        raise CannotLookError(str(error)) from error
    if options.figure is not None:
        from lightning_landscape.plots import barrier_figure, save

        save(barrier_figure(comparison), options.figure)
    document = {
        "runs": [
            {"run": run, "loss": loss, "barriers": list(barriers)}
            for run, loss, barriers in zip(comparison.runs, comparison.losses, comparison.barriers, strict=True)
        ],
        "basins": [list(basin) for basin in comparison.basins],
        "best": comparison.best,
        "notes": list(comparison.notes),
    }
    return Answer(document, [comparison.to_markdown()])


def _imported(option: str, name: str) -> Any:
    """Return the object of the name ``package.module:Name`` that an option was given.

    Raises:
        CannotLookError: if the name has another form or cannot be imported.
    """
    if ":" not in name:
        raise CannotLookError(f"{option} must look like package.module:Name, got {name!r}")
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise CannotLookError(f"{option} {name!r} cannot be imported: {error}") from error


def _batches(options: Namespace) -> list[Any]:
    """Return the first batches of the training data, shuffled by the seed.

    Raises:
        CannotLookError: if ``--data`` does not name a DataModule class or a function that returns batches.
    """
    import torch

    make = _imported("--data", options.data)
    try:
        data = make()
    except TypeError as error:
        raise CannotLookError(f"--data {options.data!r} must be callable without arguments: {error}") from error
    torch.manual_seed(options.seed)
    if hasattr(data, "train_dataloader"):
        data.prepare_data()
        data.setup("fit")
        data = data.train_dataloader()
    try:
        return list(islice(data, options.batches))
    except TypeError as error:
        raise CannotLookError(
            f"--data {options.data!r} gives no batches but a value of type {type(data).__name__}: {error}"
        ) from error


VERB = Verb(
    name="compare",
    help="tell whether finished runs share a basin",
    description="Prints the losses at the ends of runs, and the barriers on the straight lines between them. "
    "Hidden units are not aligned: a barrier between different seeds does not prove that their basins differ.",
    examples=[
        Example(
            "landscape compare a.ckpt b.ckpt --module my.models:Classifier --data my.data:Digits",
            "is there a barrier between two runs?",
        ),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
