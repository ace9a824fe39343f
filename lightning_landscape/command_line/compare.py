"""`landscape compare`: the losses at the ends of finished runs, and the barriers between them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Table, Verb
from lightning_landscape.command_line.run_arguments import add_module_arguments, batches_of, module_of
from lightning_landscape.command_line.working import working

if TYPE_CHECKING:
    from lightning_landscape.evidence import RunComparison


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CKPT", help="two or more checkpoint files")
    add_module_arguments(parser)
    parser.add_argument("--batches", type=int, default=4, help="number of training batches (default: 4)")
    parser.add_argument("--points", type=int, default=11, help="number of points on each line (default: 11)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.1,
        help="largest barrier in one basin, as a share of the larger loss (default: 0.1)",
    )
    parser.add_argument("-o", "--figure", type=Path, metavar="FILE", help="file for a heat map of the barriers")


def _run(options: Namespace) -> Answer:
    """Compare the checkpoints, and save the figure if ``--figure`` was given.

    Raises:
        CannotLookError: if an option cannot be used.
    """
    from lightning_landscape.comparison import compare_runs

    if options.batches < 1:
        raise CannotLookError(f"--batches must be at least 1, got {options.batches}")
    with working("Measuring the loss between runs"):
        module, batches = module_of(options, options.checkpoints[0]), batches_of(options)
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
    notes = "\n".join(f"- {note}" for note in comparison.limits)
    return Answer(document, [comparison.sentence(), _table(comparison), notes])


def _table(comparison: RunComparison) -> Table:
    """Return the loss of each run, its basin, and its barriers; the run with the lowest loss is marked."""
    basin_of = {run: i for i, basin in enumerate(comparison.basins, 1) for run in basin}
    rows = []
    for i, (run, loss, barriers) in enumerate(
        zip(comparison.runs, comparison.losses, comparison.barriers, strict=True), 1
    ):
        name = f"{i}. {run}{' (lowest loss)' if run == comparison.best else ''}"
        others = ["" if i - 1 == j else f"{barrier:.3g}" for j, barrier in enumerate(barriers)]
        rows.append([name, f"{loss:.4g}", str(basin_of[run]), *others])
    columns = ["run", "loss", "basin", *(f"barrier to {i}" for i in range(1, len(rows) + 1))]
    return Table(columns, rows, numbers=frozenset(range(1, len(columns))))


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
        Example(
            "landscape compare seed_0.ckpt seed_1.ckpt seed_2.ckpt --config config.yaml -o barriers.png",
            "do restarts of one run end in the same basin?",
        ),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
