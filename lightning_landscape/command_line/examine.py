"""`landscape examine`: a whole diagnosis of a run at one of its checkpoints."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_landscape.command_line.answer import Answer, Block, CannotLookError, Example, Panel, Table, Verb
from lightning_landscape.command_line.run_arguments import add_run_arguments, run_of
from lightning_landscape.command_line.working import working

if TYPE_CHECKING:
    from lightning_landscape.evidence import Verdict
    from lightning_landscape.from_checkpoint import Examined


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, metavar="CKPT", help="a checkpoint of the run")
    add_run_arguments(parser)
    parser.add_argument(
        "--anchors",
        nargs="+",
        type=Path,
        default=[],
        metavar="CKPT",
        help="other checkpoints of the run, to which lines are drawn",
    )
    parser.add_argument(
        "--effort",
        choices=("standard", "thorough"),
        default="standard",
        help="how much is computed: 500 gradients of one batch, or 1500 (default: standard)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the report, one HTML file")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the pictures, as PNG files")


def _run(options: Namespace) -> Answer:
    """Examine the checkpoint, and write what was asked for.

    Raises:
        CannotLookError: if an option, the checkpoint or the module cannot be used.
    """
    from lightning_landscape.from_checkpoint import examine

    for path in options.anchors:
        if not path.is_file():
            raise CannotLookError(f"--anchors {path} is no file")
    with working("Examining the checkpoint"):
        run = run_of(options, options.checkpoint)
        examined = examine(run, effort=options.effort, anchors=[str(path) for path in options.anchors])
    written = _written(examined, options)
    verdict = examined.verdict
    measured = {} if verdict is None else verdict.evidence.to_dict()
    document: dict[str, Any] = {
        "checkpoint": str(options.checkpoint),
        "step": run.step,
        "watched": examined.watched,
        "verdict": None if verdict is None else verdict.to_dict(),
        "code": None if verdict is None else verdict.code,
        "measured": sorted(measured),
        "skipped": dict(examined.skipped),
        "notes": examined.report.to_dict()["notes"],
        "written": [str(path) for path in written],
    }
    return Answer(document, _blocks(examined, written), alarm=verdict is not None and verdict.stuck)


def _blocks(examined: Examined, written: list[Path]) -> list[Block]:
    from lightning_landscape._text import capitalised

    verdict, notes = examined.verdict, examined.report.to_dict()["notes"]
    blocks: list[Block] = []
    if verdict is None:
        blocks.append("No verdict was reached; the notes below say why.")
    else:
        more = f"`landscape explain {verdict.finding.code if verdict.finding else verdict.code}` says more of it. "
        more += "`landscape try` with the same options tells whether a change helps, such as `--lr 0.01`."
        blocks += [_panel(verdict), _measured(verdict), more]
    if notes:
        blocks.append("\n".join(f"- {capitalised(note)}" for note in notes))
    if written:
        blocks.append("\n".join(f"Written: {path}" for path in written))
    return blocks


def _panel(verdict: Verdict) -> Panel:
    from lightning_landscape.reporting.messages import message

    title = "alarm" if verdict.stuck else "no alarm"
    return Panel(message(verdict), title=title, alarm=verdict.stuck)


def _measured(verdict: Verdict) -> Table:
    from lightning_landscape.reporting.numbers import evidence_rows

    return Table(["measured", "value"], [list(row) for row in evidence_rows(verdict.evidence)])


def _written(examined: Examined, options: Namespace) -> list[Path]:
    """Write the report and the pictures that were asked for, and return their paths."""
    from lightning_landscape._files import write_atomically
    from lightning_landscape.clock import SYSTEM_CLOCK
    from lightning_landscape.reporting.page import report_page

    paths: list[Path] = []
    if options.output is not None:
        name = f"{options.checkpoint.name}, examined"
        page = report_page({name: examined.report.document}, written=SYSTEM_CLOCK.date().timestamp())
        write_atomically(options.output, lambda draft: draft.write_text(page, encoding="utf-8"))
        paths.append(options.output)
    if options.pictures is not None:
        from lightning_landscape.plots import save

        options.pictures.mkdir(parents=True, exist_ok=True)
        for name, figure in examined.figures().items():
            path = options.pictures / f"{Path(name.replace(' ', '_')).name}.png"
            save(figure, path)
            paths.append(path)
    return paths


VERB = Verb(
    name="examine",
    help="say why a run is stuck, from one of its checkpoints",
    description="Loads a checkpoint of Lightning with its optimizers, schedulers and precision, takes batches from the "
    "training loader, and makes the whole diagnosis of LandscapeMonitor at that point. 32 optimizer steps are taken on "
    "a copy and undone, to measure gradients and updates; the diagnosis itself is made at the weights of the "
    "checkpoint. That the run stands still is taken from you: nothing tests it first. Nothing is written but what is "
    "asked for.",
    examples=[
        Example("landscape examine last.ckpt --module my.models:Net --data my.data:Digits", "why is this run stuck?"),
        Example(
            "landscape examine last.ckpt --module my.models:Net --loader my.data:loader --init width=64 -o report.html",
            "with an argument of the module, and a report",
        ),
        Example("landscape examine last.ckpt --config config.yaml --pictures pictures", "a run of LightningCLI"),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
