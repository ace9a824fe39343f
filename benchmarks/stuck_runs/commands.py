"""The command line, with three commands: ``score`` (the default), ``ablate`` and ``label``."""

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
from benchmarks.stuck_runs.processes import run_in_processes
from benchmarks.stuck_runs.report import ablation_table, report
from benchmarks.stuck_runs.truth import LABELS, Label, load_labels, measure, save_labels
from benchmarks.stuck_runs.watching import Job, RunResult, watch

Run = tuple[str, int]
"""name of the configuration, and seed"""


def parser() -> ArgumentParser:
    """Return the parser of the options of all commands."""
    options = ArgumentParser(prog="python -m benchmarks.stuck_runs")
    options.add_argument("command", nargs="?", choices=("score", "ablate", "label"), default="score")
    options.add_argument("--split", choices=tuple(SPLITS), action="append", help="default: open; all for labels")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    options.add_argument("--names", nargs="+", choices=tuple(CONFIGURATIONS), metavar="NAME", help="default: all")
    options.add_argument("--jobs", type=int, default=2, help="processes that run at the same time")
    options.add_argument(
        "--mode",
        choices=("default", "no_horizon", "cheap"),
        default="default",
        help="default arguments, default arguments and a run of unknown length, or no probes",
    )
    options.add_argument("--only-monitor", action="store_true", help="leave out the rules and the runs without monitor")
    options.add_argument(
        "--hide",
        nargs="+",
        choices=ABLATIONS,
        metavar="SIGNAL",
        default=ABLATIONS,
        help="for ablate; default: each in turn",
    )
    options.add_argument("--save", type=Path, help="write the alarms and verdicts of every run to this file, as JSON")
    return options


def chosen_runs(options: Namespace, default_splits: Sequence[str]) -> list[Run]:
    """Return the runs that the options name."""
    names = [c.name for split in options.split or default_splits for c in SPLITS[split]]
    return [(name, seed) for name in names if name in (options.names or names) for seed in options.seeds]


def scored_runs(options: Namespace, labels: dict[Run, Label]) -> list[Run]:
    """Return the chosen runs whose label was measured and is not ambiguous; a long run may have one for seed 0 only."""
    return [run for run in chosen_runs(options, ["open"]) if run in labels and labels[run].label != "ambiguous"]


def label_run(run: Run) -> Label:
    """Measure the label of a run."""
    name, seed = run
    return measure(CONFIGURATIONS[name], seed)


def label(options: Namespace) -> None:
    """Measure labels, write them to labels.json, and print which runs differ from their intended label."""
    labels = load_labels() if LABELS.exists() else {}
    for (name, seed), measured in run_in_processes(label_run, chosen_runs(options, list(SPLITS)), options.jobs):
        labels[name, seed] = measured
        save_labels(labels)
        intended = "stuck" if CONFIGURATIONS[name].stuck else "healthy"
        note = "" if measured.label == intended else f"  intended as {intended}"
        stretches = f"stuck {measured.stuck} ambiguous {measured.ambiguous}"
        print(f"{name}/{seed}: {measured.label} ({measured.kind}) {stretches}{note}", flush=True)
    for split, configurations in SPLITS.items():
        names = {c.name for c in configurations}
        print(split, dict(Counter(entry.label for (name, _), entry in labels.items() if name in names)))


def score(options: Namespace) -> None:
    """Train every chosen run that is not labelled as ambiguous with the monitor, and print the tables."""
    labels = load_labels()
    runs = scored_runs(options, labels)
    jobs = [Job(name, seed, options.mode, options.only_monitor) for name, seed in runs]
    results = []
    for _, result in run_in_processes(watch, jobs, options.jobs):
        results.append(result)
        print(f"{len(results)} of {len(jobs)}: {result.name}/{result.seed}", file=sys.stderr)
    if options.save:
        options.save.write_text(json.dumps([asdict(result) for result in results], indent=1), encoding="utf-8")
    print(report(results, labels))


def ablate(options: Namespace) -> None:
    """Train every chosen run that is not labelled as ambiguous once for each hidden signal, and print the table."""
    labels = load_labels()
    runs = scored_runs(options, labels)
    jobs = [Job(*run, options.mode, only_monitor=True, hidden=signal) for signal in options.hide for run in runs]
    results: dict[str, list[RunResult]] = {signal: [] for signal in options.hide}
    for job, result in run_in_processes(watch, jobs, options.jobs):
        results[job.hidden].append(result)
        print(f"{sum(map(len, results.values()))} of {len(jobs)}", end="\r", file=sys.stderr)
    print(ablation_table(results, labels))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    {"score": score, "ablate": ablate, "label": label}[options.command](options)
