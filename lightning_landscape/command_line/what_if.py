"""`landscape try`: go on from a checkpoint with other settings, on a copy."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Table, Verb
from lightning_landscape.command_line.run_arguments import add_run_arguments, run_of
from lightning_landscape.command_line.working import working

if TYPE_CHECKING:
    from lightning_landscape.evidence import Course, WhatIf


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="a checkpoint of the run")
    add_run_arguments(parser)
    parser.add_argument("--lr", type=float, help="the learning rate to try")
    parser.add_argument("--optimizer", metavar="NAME", help="the optimizer to try, a class in torch.optim")
    parser.add_argument("--batch-size", type=int, metavar="N", help="the batch size to try")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps of each copy (default: 200)")
    parser.add_argument("--batches", type=int, default=8, help="held-out batches (default: 8)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the figure, such as try.png")


def _run(options: Namespace) -> Answer:
    """Train both copies, and save the figure if it was asked for.

    Raises:
        CannotLookError: if an option, the checkpoint or the module cannot be used.
    """
    from lightning_landscape.from_checkpoint import Change, what_if

    if options.lr is None and options.optimizer is None and options.batch_size is None:
        raise CannotLookError("name what to try: --lr, --optimizer or --batch-size")
    for option, number in (("--steps", options.steps), ("--batches", options.batches)):
        if number < 1:
            raise CannotLookError(f"{option} must be at least 1, got {number}")
    if options.batch_size is not None and options.batch_size < 1:
        raise CannotLookError(f"--batch-size must be at least 1, got {options.batch_size}")
    if options.lr is not None and not 0 <= options.lr < math.inf:
        raise CannotLookError(f"--lr must be a learning rate of 0 or more, got {options.lr}")
    change = Change(options.lr, options.optimizer, options.batch_size)
    with working("Training two copies"):
        found = what_if(
            lambda: run_of(options, options.checkpoint),
            change,
            steps=options.steps,
            batches=options.batches,
            seed=options.seed,
        )
    written = []
    if options.output is not None:
        from lightning_landscape.plots import save, what_if_figure

        save(what_if_figure(found), options.output)
        written = [str(options.output)]
    document = {
        "step": found.step,
        "as_it_is": _document(found.as_it_is),
        "changed": _document(found.changed),
        "advantage": found.advantage,
        "margin": found.margin,
        "sentence": found.sentence(),
        "written": written,
    }
    note = (
        "Both copies keep the learning rate of the checkpoint, unless another one is tried. The margin is 2.5 standard "
        "errors of the difference on single batches."
    )
    return Answer(document, [found.sentence(), _table(found), note, *(f"Written: {path}" for path in written)])


def _document(course: Course) -> dict[str, object]:
    return {"settings": course.settings, "steps": list(course.steps), "losses": list(course.losses)}


def _table(found: WhatIf) -> Table:
    rows = [
        [course.settings, f"{course.losses[0]:.4g}", f"{course.losses[-1]:.4g}"]
        for course in (found.as_it_is, found.changed)
    ]
    rows.append(["difference", "", f"{-found.advantage:+.3g} (give or take {found.margin:.2g})"])
    last = found.changed.steps[-1]
    return Table(["held-out loss", f"at step {found.step:,}", f"{last} steps later"], rows, numbers=frozenset([1, 2]))


VERB = Verb(
    name="try",
    help="try other settings from a checkpoint, on a copy",
    description="Trains two copies of a run from a checkpoint, one as it is and one with other settings, and compares "
    "their losses on the same held-out batches. The checkpoint and the run stay as they are.",
    examples=[
        Example(
            "landscape try last.ckpt --module my.models:Net --data my.data:Digits --lr 1e-4",
            "would a smaller learning rate help?",
        ),
        Example(
            "landscape try last.ckpt --module my.models:Net --data my.data:Digits --optimizer AdamW --batch-size 256 "
            "--steps 500 -o try.png",
            "another optimizer and larger batches, with a figure",
        ),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
