"""`landscape path`: the loss along the checkpoints of one run."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape.command_line.answer import Answer, Block, CannotLookError, Example, Table, Verb
from lightning_landscape.command_line.run_arguments import add_module_arguments, batches_of, module_of
from lightning_landscape.command_line.working import working

if TYPE_CHECKING:
    from lightning_landscape.evidence import RunPath


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CKPT", help="two or more checkpoints of one run, or their folder"
    )
    add_module_arguments(parser)
    parser.add_argument("--batches", type=int, default=4, help="number of training batches (default: 4)")
    parser.add_argument("--points", type=int, default=5, help="number of points on each line (default: 5)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the figure, such as path.png")


def _run(options: Namespace) -> Answer:
    """Measure the loss along the checkpoints, and save the figure if it was asked for.

    Raises:
        CannotLookError: if an option or a checkpoint cannot be used.
    """
    from lightning_landscape.run_path import run_path

    for option, number, least in (("--batches", options.batches, 1), ("--points", options.points, 3)):
        if number < least:
            raise CannotLookError(f"{option} must be at least {least}, got {number}")
    paths = _files(options.checkpoints)
    with working("Measuring the loss between checkpoints"):
        found = run_path(paths, module_of(options, paths[0]), batches_of(options), num_points=options.points)
    if options.output is not None:
        from lightning_landscape.plots import run_path_figure, save

        save(run_path_figure(found), options.output)
    written = [] if options.output is None else [str(options.output)]
    blocks: list[Block] = [found.sentence(), _table(found), *(f"Written: {path}" for path in written)]
    return Answer({**_document(found), "written": written}, blocks)


def _files(given: Sequence[Path]) -> list[Path]:
    """Return the checkpoint files, those in a folder included.

    Raises:
        CannotLookError: if there are fewer than two.
    """
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            files += sorted(path.glob("*.ckpt"))
        elif path.exists():
            files.append(path)
        else:
            raise CannotLookError(f"{path} does not exist")
    if len(set(files)) < 2:
        raise CannotLookError(f"at least two checkpoints are needed, got {len(set(files))}")
    return list(dict.fromkeys(files))


def _document(path: RunPath) -> dict[str, object]:
    between = [
        {"from": a, "to": b, "losses": list(line), "rise": rise, "monotone": monotone}
        for a, b, line, rise, monotone in zip(
            path.steps, path.steps[1:], path.lines, path.rises, path.monotone, strict=False
        )
    ]
    return {
        "checkpoints": [
            {"checkpoint": name, "step": step, "loss": loss}
            for name, step, loss in zip(path.checkpoints, path.steps, path.losses, strict=True)
        ],
        "lines": between,
        "paid_until": None if path.paid_until is None else path.steps[path.paid_until],
        "samples": path.samples,
        "sentence": path.sentence(),
    }


def _table(path: RunPath) -> Table:
    rows = []
    for i, (name, step, loss) in enumerate(zip(path.checkpoints, path.steps, path.losses, strict=True)):
        change = "" if i == 0 else f"{loss - path.losses[i - 1]:+.3g}"
        rise = "" if i == 0 else "none" if path.monotone[i - 1] else _number(path.rises[i - 1])
        rows.append([Path(name).name, f"{step:,}", _number(loss), change, rise])
    columns = ["checkpoint", "step", "loss", "change", "rise on the way"]
    return Table(columns, rows, numbers=frozenset([1, 2, 3, 4]))


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


VERB = Verb(
    name="path",
    help="show the loss along the checkpoints of a run, and where training stopped paying",
    description="Evaluates the loss at the checkpoints of a run and on the straight lines between two in a row, all on "
    "the same training batches in evaluation mode. A loss that rises on the way shows a barrier. Training has stopped "
    "paying where 95% of the whole fall of the loss was reached.",
    examples=[
        Example(
            "landscape path lightning_logs/version_3/checkpoints --module my.models:Net --data my.data:Digits -o p.png",
            "all checkpoints in a folder, with a figure",
        ),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
