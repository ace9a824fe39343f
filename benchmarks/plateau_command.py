"""Score `landscape plateau` on the logged losses of stuck and healthy runs, whose labels `benchmarks.stuck_runs` has.

    python -m benchmarks.plateau_command --split open --split second

Each run is trained without a monitor, its loss is written to a CSV file as `CSVLogger` writes it, and the command
judges the file. Nothing but the loss is known to it. A file that is there already is not written again, so the command
can be interrupted; runs that were not recorded yet are left out with ``--only-recorded``.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stuck_runs.commands import Run
from benchmarks.stuck_runs.configurations import CONFIGURATIONS, SPLITS
from benchmarks.stuck_runs.processes import run_in_processes
from benchmarks.stuck_runs.scoring import GRACE, POOR_MINIMUM, share
from benchmarks.stuck_runs.training import run
from benchmarks.stuck_runs.truth import Label, load_labels
from lightning_landscape.command_line import main as landscape

FOLDER = Path("out/plateau_command")


@dataclass(frozen=True)
class Outcome:
    """What the command said of one run."""

    key: str
    label: Label
    stuck: bool
    """of a stuck run: whether it named a stretch as stuck, or a divergence, within a plateau"""
    stands: bool
    """of a stuck run: whether it named a stretch in which the loss stands still within a plateau"""
    false: bool
    """whether it named a stretch as stuck, or a divergence, outside of all plateaus"""


def record(job: tuple[Run, Path]) -> None:
    """Train the run and write its loss at each optimizer step to the file."""
    (name, seed), path = job
    configuration = CONFIGURATIONS[name]
    losses = [step.loss for step in run(configuration.problem(seed), seed, configuration.horizon)]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".part")
    with draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "train_loss"])
        writer.writerows(enumerate(losses))
    draft.replace(path)


def judged(path: Path, arguments: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return what the command, with these arguments, says of the file.

    Raises:
        RuntimeError: if it could not look at the file.
    """
    with redirect_stdout(io.StringIO()) as printed:
        status = landscape(["plateau", str(path), "--json", *arguments])
    document = json.loads(printed.getvalue())
    if status == 2:
        raise RuntimeError(document["error"])
    (found,) = document["runs"]
    return dict(found)


def outcome(key: str, label: Label, found: Mapping[str, Any]) -> Outcome:
    """Compare what the command said of a run with its label."""
    stretches = list(found["stretches"])
    if found["state"] == "diverged":
        stretches.append({"since": found["since"], "until": None, "stuck": True})

    def within(stretch: Mapping[str, Any], intervals: Sequence[tuple[int, int]]) -> bool:
        until = label.horizon if stretch["until"] is None else stretch["until"]
        return any(stretch["since"] <= b + GRACE * label.horizon and until >= a for a, b in intervals)

    named = [stretch for stretch in stretches if stretch["stuck"]]
    return Outcome(
        key,
        label,
        stuck=any(within(stretch, label.stuck) for stretch in named),
        stands=any(within(stretch, label.stuck) for stretch in stretches),
        false=any(not within(stretch, (*label.stuck, *label.ambiguous)) for stretch in named),
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the figures, and the runs that were missed or alarmed falsely."""
    stuck = [o for o in outcomes if o.label.label == "stuck"]
    healthy = [o for o in outcomes if o.label.label == "healthy"]
    rows = {
        f"{len(stuck)} stuck runs, found: the loss stands still": share([o.stands for o in stuck]),
        "  of them, named as stuck": share([o.stuck for o in stuck]),
        "  of them, named as stuck, without poor minima": share([
            o.stuck for o in stuck if o.label.kind != POOR_MINIMUM
        ]),
        f"{len(healthy)} healthy runs, named as stuck": share([o.false for o in healthy]),
    }
    lines = [f"| {name} | {'-' if value is None else f'{value:.1%}'} |" for name, value in rows.items()]
    lines += [f"missed: {o.key} ({o.label.kind})" for o in stuck if not o.stands]
    lines += [f"not named as stuck: {o.key} ({o.label.kind})" for o in stuck if o.stands and not o.stuck]
    lines += [f"false: {o.key} ({o.label.kind})" for o in healthy if o.false]
    return "\n".join(lines)


def chosen(options: Namespace) -> Iterator[tuple[str, Run, Path]]:
    """Yield the split, the run and its file, of each run that has a label."""
    labels = load_labels()
    for split in options.split or ["open", "second"]:
        for configuration in SPLITS[split]:
            for seed in options.seeds:
                key = (configuration.name, seed)
                if key in labels and labels[key].label != "ambiguous":
                    yield split, key, options.folder / split / f"{configuration.name}-{seed}.csv"


def main(arguments: Sequence[str] | None = None) -> None:
    """Record what is missing, judge every run, and print a table for each split."""
    parser = ArgumentParser(prog="python -m benchmarks.plateau_command")
    parser.add_argument("--split", choices=tuple(SPLITS), action="append", help="default: open and second")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--jobs", type=int, default=2, help="processes that run at the same time")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where the losses are kept (default: {FOLDER})")
    parser.add_argument("--only-recorded", action="store_true", help="train nothing")
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    runs, labels = list(chosen(options)), load_labels()
    if not options.only_recorded:
        missing = [(key, path) for _, key, path in runs if not path.exists()]
        for done, _ in enumerate(run_in_processes(record, missing, options.jobs), 1):
            print(f"{done} of {len(missing)} recorded", end="\r", file=sys.stderr)
    for split in dict.fromkeys(split for split, _, _ in runs):
        recorded = [(key, path) for of_split, key, path in runs if of_split == split and path.exists()]
        for known in ((), ("--floor", "0")):
            outcomes = [outcome(f"{key[0]}/{key[1]}", labels[key], judged(path, known)) for key, path in recorded]
            print(f"\n{split} {' '.join(known)}\n{table(outcomes)}", flush=True)


if __name__ == "__main__":
    main()
