"""`landscape plateau`: does a loss that was logged still fall, and if not, since when?"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from lightning_landscape._text import capitalised
from lightning_landscape.command_line.answer import Answer, Block, CannotLookError, Example, Panel, Table, Verb
from lightning_landscape.command_line.logged import LoggedRun, judged_run, name_below, reason_of
from lightning_landscape.command_line.progress import Progress
from lightning_landscape.errors import LogError
from lightning_landscape.logs.reading import read_log, read_standard_input, run_directories, size_of
from lightning_landscape.logs.words import STATES, sentences, since_in_words, title

ADVICE = (
    "To find out why: `landscape examine` makes a diagnosis from a checkpoint, and `LandscapeMonitor()` does while a "
    "run goes on."
)


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "log",
        metavar="FILE|LOGDIR",
        help="an event file of TensorBoard, a CSV or JSON-lines file, a directory with runs, or - for standard input",
    )
    parser.add_argument("--tag", help="name of the loss (default: the training loss, such as train_loss)")
    parser.add_argument(
        "--horizon",
        type=_positive,
        metavar="N",
        help="steps that the run will take; what counts as standing still depends on it (default: those in the log)",
    )
    parser.add_argument(
        "--floor",
        type=float,
        metavar="LOSS",
        help="lowest possible loss, such as 0 for cross-entropy, from which percentages are measured (default: assumed "
        "from how far the loss has fallen and how much it scatters)",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="file for a picture, such as loss.png")


def _positive(text: str) -> float:
    number = float(text.replace("_", ""))
    if not 0 < number < float("inf"):
        raise ValueError(text)
    return number


def _run(options: Namespace) -> Answer:
    """Judge the loss of each run.

    Raises:
        CannotLookError: if there is no run, if none can be judged, or if a picture of several runs is asked for.
    """
    failed: list[tuple[str, str]] = []
    wanted = (options.tag, options.horizon, options.floor)
    if options.log == "-":
        runs = [judged_run("standard input", read_standard_input(), *wanted)]
    else:
        runs, failed = _judged(Path(options.log), options)
    if options.output is not None:
        if len(runs) != 1:
            raise CannotLookError(f"-o draws one run, and {options.log} holds {len(runs)}; name one of them")
        _draw(runs[0], options.output)
    document = {
        "runs": [run.to_dict() for run in runs],
        "not_judged": [{"run": run, "reason": reason} for run, reason in failed],
    }
    return Answer(document, _blocks(runs, failed, options.output), any(run.judged.alarm for run in runs))


def _judged(path: Path, options: Namespace) -> tuple[list[LoggedRun], list[tuple[str, str]]]:
    """Return the judged runs, alarms first, and the others with the reasons.

    Raises:
        CannotLookError: if there is no run.
        LogError: if no run can be judged, and there is only one.
    """
    folders = run_directories(path) if path.is_dir() else [path]
    if not folders:
        raise CannotLookError(f"{path} holds no event file, CSV or JSON lines, nor does any directory below it")
    runs: list[LoggedRun] = []
    failed: list[tuple[str, str]] = []
    wanted = (options.tag, options.horizon, options.floor)
    with Progress("Reading logs", sum(map(size_of, folders))) as progress:
        for folder in folders:
            name = name_below(path, folder) if path.is_dir() else str(path)
            try:
                runs.append(judged_run(name, read_log(folder, progress.advance), *wanted))
            except LogError as error:
                if len(folders) == 1:
                    raise
                failed.append((name, reason_of(error, folder)))
    if not runs:
        name, reason = failed[0]
        raise CannotLookError(f"none of {len(failed)} runs can be judged; {name}: {reason}")
    return sorted(runs, key=lambda run: not run.judged.alarm), failed


def _blocks(runs: Sequence[LoggedRun], failed: Sequence[tuple[str, str]], picture: Path | None) -> list[Block]:
    blocks: list[Block] = []
    if len(runs) == 1 and not failed:
        (run,) = runs
        about = f"{run.tag} of {run.run}: {run.judged.values:,} values to step {run.judged.last_step:,.0f}"
        lines = [title(run.judged), *(f"  {sentence}" for sentence in sentences(run.judged))]
        blocks.append(Panel("\n".join(lines), about, alarm=run.judged.alarm))
        blocks += ["\n".join(run.notes)] if run.notes else []
    else:
        rows = [
            [run.run, STATES[run.judged.state], since_in_words(run.judged), f"{run.judged.last_step:,.0f}",
             f"{run.judged.level.now:.4g}", run.pace]
            for run in runs
        ]  # fmt: skip
        rows += [[run, "not judged", "", "", "", capitalised(f"{reason}.")] for run, reason in failed]
        alarms = frozenset(i for i, run in enumerate(runs) if run.judged.alarm)
        columns = ["run", "loss", "since", "steps", "now", "further"]
        blocks.append(Table(columns, rows, alarms=alarms, numbers=frozenset([3, 4])))
    blocks += [ADVICE] if any(run.judged.alarm for run in runs) else []
    return [*blocks, *([f"The picture is {picture}."] if picture is not None else [])]


def _draw(run: LoggedRun, path: Path) -> None:
    from lightning_landscape.plots import save
    from lightning_landscape.plots.logged_loss import logged_loss_figure

    judged = run.judged
    ends = judged.divergence is not None
    stretches = [(s.since, judged.last_step if s.until is None else s.until, s.stuck) for s in judged.stretches]
    if ends and judged.since is not None:
        stretches = [s for s in stretches if s[1] <= judged.since]
        stretches.append((judged.since, judged.last_step, True))
    save(logged_loss_figure(run.loss.steps, run.loss.values, stretches, title(judged), [run.tag, run.pace]), path)


VERB = Verb(
    name="plateau",
    help="tell whether a logged loss still falls, and since when not",
    description="Tests whether the loss in a log still falls. The test knows the noise of the loss: it says that the "
    "loss stands still only where it would have noticed a fall. The log may come from TensorBoard, Lightning's "
    "CSVLogger, an export of W&B or MLflow as CSV, or be JSON lines or one number in each line. The exit status is 1 "
    "if the loss has diverged, or stands still near its start.",
    examples=[
        Example("landscape plateau lightning_logs/version_3", "the training loss of one run"),
        Example("landscape plateau metrics.csv --tag val_loss --horizon 20000 -o loss.png", "another loss, drawn"),
        Example("landscape plateau lightning_logs --json", "all runs below a directory, for a script"),
        Example("tail -n 5000 log.jsonl | landscape plateau - --tag loss", "from another program"),
    ],
    add_arguments=_add_arguments,
    run=_run,
)
