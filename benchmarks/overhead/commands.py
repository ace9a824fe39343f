"""The command line: all tables, some of them, or one for a module of your own."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from benchmarks.overhead import peers, timing
from benchmarks.overhead.floors import HEADERS as FLOORS_HEADERS
from benchmarks.overhead.floors import floors_row
from benchmarks.overhead.models import MODELS, Model, Module, chain, clusters, residual
from benchmarks.overhead.tutorial import HEADERS as TUTORIAL_HEADERS
from benchmarks.overhead.tutorial import tutorial_rows

SECTIONS = ("steps", "runs", "tutorial", "growth", "floors", "import")


def parser() -> ArgumentParser:
    """Return the parser of all options."""
    options = ArgumentParser(prog="python -m benchmarks.overhead")
    options.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="tables to measure; default: all of them")
    options.add_argument("--models", nargs="+", choices=[model.name for model in MODELS], help="default: all")
    options.add_argument("--only-ours", action="store_true", help="leave out the other tools")
    options.add_argument("--shorten", type=float, default=1.0, help="share of the turns to take, from 0 to 1")
    options.add_argument("--seconds", type=float, default=90.0, help="approximate length of the whole runs")
    options.add_argument("--module", help="path.to:name of a class or function that makes your LightningModule")
    options.add_argument(
        "--data", help="path.to:name of a class or function that makes your data module or data loader"
    )
    options.add_argument("--steps", type=int, default=1000, help="steps to train your own module for, in total")
    return options


def steps(options: Namespace) -> str:
    """Return the table of times per step."""
    callbacks, heavy = {**peers.OURS, **peers.PEERS}, peers.HEAVY
    if options.only_ours:
        callbacks, heavy = peers.OURS, {}
    return timing.steps_table(chosen_models(options), callbacks, heavy, options.shorten)


def runs(options: Namespace) -> str:
    """Return the table of whole runs."""
    models = [model for model in chosen_models(options) if model.name in {"tiny MLP", "conv net"}]
    return timing.whole_runs_table(models, options.seconds)


def tutorial(options: Namespace) -> str:
    """Return the table of runs of a few hundred steps."""
    with tempfile.TemporaryDirectory() as folder:
        return timing.markdown(TUTORIAL_HEADERS, tutorial_rows(folder))


def growth(options: Namespace) -> str:
    """Return the table of how the cost grows with parameters, tensors, steps and ranks."""
    cases: dict[str, tuple[Any, Sequence[Any], int]] = {}
    data = clusters(16)(64)
    for width in (32, 320, 1000, 3200):
        count = sum(p.numel() for p in chain(width).parameters())
        cases[f"{count:,} parameters in 6 tensors"] = (lambda w=width: Module(chain(w)), data, 20_000)
    for layers in (8, 32, 128):
        cases[f"{2 * layers} tensors of 64 numbers or 64x64"] = (
            lambda n=layers: Module(residual(n)),
            clusters(64)(64),
            20_000,
        )
    for horizon in (1000, 10_000, 100_000):
        cases[f"tiny MLP in a run of {horizon:,} steps"] = (lambda: Module(chain(32)), data, horizon)
    table = timing.growth_table(cases, max(4, round(9 * options.shorten)), 50)
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead.ranks"], capture_output=True, text=True, check=False
    )
    ranks = [line for line in process.stdout.splitlines() if line.startswith("| 2 ranks")]
    return "\n".join([table, *(ranks or ["| 2 ranks | | did not run | |"])])


def floors(options: Namespace) -> str:
    """Return the table of a measured step and its floor."""
    return timing.markdown(FLOORS_HEADERS, [floors_row(model) for model in chosen_models(options)])


def imports(options: Namespace) -> str:
    """Return the table of imports."""
    return timing.import_table()


def own_module(options: Namespace) -> str:
    """Return the table of times per step for a module of the user's own."""
    make, data = import_name(options.module), import_name(options.data)()
    if hasattr(data, "train_dataloader"):
        data.prepare_data()
        data.setup("fit")
        data = data.train_dataloader()
    batches = list(islice(data, 32))
    turn = max(1, options.steps // 11)
    timings = timing.compare(make, peers.OURS, batches, turns=11, turn=turn, horizon=options.steps)
    return timing.markdown(timing.HEADERS, timing.rows(options.module, len(batches), timings))


def import_name(path: str) -> Any:
    """Import a module and return one of its names, given as ``package.module:name``.

    Raises:
        ValueError: if the path has no colon.
    """
    module, colon, name = path.partition(":")
    if not colon:
        raise ValueError(f"expected package.module:name, got {path!r}")
    return getattr(importlib.import_module(module), name)


def chosen_models(options: Namespace) -> list[Model]:
    """Return the models that the options name, or all models."""
    return [model for model in MODELS if model.name in (options.models or [model.name])]


PARTS: Mapping[str, tuple[str, str, Callable[[Namespace], str]]] = {
    "steps": (
        "A step",
        "Median, with quartiles, over the rounds of the ratio within a round; in the last column, the ratio of all "
        "turns together. The data loaders announce runs of about a minute. Times are processor time of the process; "
        "on a GPU, wall-clock time. There is no logger.",
        steps,
    ),
    "runs": (
        "A whole run",
        "`LandscapeMonitor()` with TensorBoard's logger, from the beginning of the fit to its end. This includes "
        "scheduled lines, records, pictures and the report, and the diagnosis of the run that cannot learn.",
        runs,
    ),
    "tutorial": (
        "A run as long as a tutorial's",
        "300 steps, `LandscapeMonitor()` with TensorBoard's logger, wall-clock time. The unit of work is one "
        "gradient of one batch; the limit is twice the budget of the first diagnosis plus 1% of the steps. A training "
        "step takes as long when a probe evaluates it.",
        tutorial,
    ),
    "growth": ("Growth", "The time with `LandscapeMonitor(probes=())` over that with an empty callback.", growth),
    "floors": (
        "A measured step and its floor",
        "Norms: the norms of all gradients, over one norm of a single tensor that has as many numbers. Update: a copy "
        "of the weights (of large tensors, a sample), and after the step their norm, the norm of the change and its "
        "inner product with the gradient, over one copy and one inner product of such a tensor.",
        floors,
    ),
    "import": ("Import", "Medians of the processor time in a new interpreter.", imports),
}


def report(options: Namespace) -> Iterable[str]:
    """Measure one table after the other.

    Yields:
        each part of the report in Markdown, as soon as it is measured.
    """
    yield f"Measured with {timing.environment()}."
    if options.module:
        yield own_module(options)
        return
    for section in options.sections or SECTIONS:
        title, note, make = PARTS[section]
        yield f"### {title}\n\n{note}\n\n{make(options)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    options = parser().parse_args(sys.argv[1:] if arguments is None else arguments)
    timing.silence()
    for part in report(options):
        print(part, end="\n\n", flush=True)
