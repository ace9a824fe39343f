"""The command line: ``score`` (the default), ``ablate`` and ``label``."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.stuck_runs.configurations import CONFIGURATIONS, SPLITS
from benchmarks.stuck_runs.hiding import ABLATIONS
from benchmarks.stuck_runs.processes import in_processes
from benchmarks.stuck_runs.report import ablations, report
from benchmarks.stuck_runs.truth import LABELS, Label, load_labels, measure, save_labels
from benchmarks.stuck_runs.watching import Order, Watched, watch

Run = tuple[str, int]


def parser() -> ArgumentParser:
    """Every option of both commands."""
    options = ArgumentParser(prog="python -m benchmarks.stuck_runs")
    options.add_argument("command", nargs="?", choices=("score", "ablate", "label"), default="score")
    options.add_argument("--split", choices=tuple(SPLITS), action="append", help="default: open; all for labels")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--names", nargs="+", choices=tuple(CONFIGURATIONS), metavar="NAME")
    options.add_argument("--jobs", type=int, default=2)
    options.add_argument("--mode", choices=("default", "no_horizon", "cheap"), default="default")
    options.add_argument("--only-monitor", action="store_true", help="without the baselines and the unwatched runs")
    options.add_argument("--save", type=Path, help="write what was said about every run to this file")
    return options


def chosen(options: Namespace, splits: Sequence[str]) -> list[Run]:
    """The runs that were asked for."""
    names = [c.name for split in options.split or splits for c in SPLITS[split]]
    return [(name, seed) for name in names if name in (options.names or names) for seed in options.seeds]


def label_one(run: Run) -> Label:
    """The measured label of a run."""
    name, seed = run
    return measure(CONFIGURATIONS[name], seed)


def label(options: Namespace) -> None:
    """Measure labels, replace those in labels.json, and say which runs are not what they were meant to be."""
    labels = load_labels() if LABELS.exists() else {}
    for (name, seed), measured in in_processes(label_one, chosen(options, list(SPLITS)), options.jobs):
        labels[name, seed] = measured
        save_labels(labels)
        meant = "stuck" if CONFIGURATIONS[name].stuck else "healthy"
        unlike = "" if measured.label == meant else f"  meant {meant}"
        stretches = f"stuck {measured.stuck} ambiguous {measured.ambiguous}"
        print(f"{name}/{seed}: {measured.label} ({measured.kind}) {stretches}{unlike}", flush=True)
    for split, configurations in SPLITS.items():
        names = {c.name for c in configurations}
        print(split, dict(Counter(entry.label for (name, _), entry in labels.items() if name in names)))


def score(options: Namespace) -> None:
    """Watch every run that has a certain label and print the tables."""
    labels = load_labels()
    runs = [run for run in chosen(options, ["open"]) if labels[run].label != "ambiguous"]
    orders = [Order(name, seed, options.mode, options.only_monitor) for name, seed in runs]
    seen = []
    for _, watched in in_processes(watch, orders, options.jobs):
        seen.append(watched)
        print(f"{len(seen)} of {len(orders)}: {watched.name}/{watched.seed}", file=sys.stderr)
    if options.save:
        options.save.write_text(json.dumps([asdict(watched) for watched in seen], indent=1), encoding="utf-8")
    print(report(seen, labels))


def ablate(options: Namespace) -> None:
    """Watch every run that has a certain label once for each signal, which is hidden, and print the table."""
    labels = load_labels()
    runs = [run for run in chosen(options, ["open"]) if labels[run].label != "ambiguous"]
    orders = [Order(*run, options.mode, only_monitor=True, hidden=what) for what in ABLATIONS for run in runs]
    seen: dict[str, list[Watched]] = {what: [] for what in ABLATIONS}
    for order, watched in in_processes(watch, orders, options.jobs):
        seen[order.hidden].append(watched)
        print(f"{sum(map(len, seen.values()))} of {len(orders)}", end="\r", file=sys.stderr)
    print(ablations(seen, labels))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    {"score": score, "ablate": ablate, "label": label}[options.command](options)
